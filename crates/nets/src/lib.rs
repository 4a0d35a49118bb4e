//! 3-D convolutional networks: architectures, weights in and out, losses, training, quantized layers.

