//! Stage federate: fine-tune a model on unequal devices, asynchronously, synchronously or at the centre.

