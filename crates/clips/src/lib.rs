//! The clip-set format: safetensors shards of RGB clips with an index, written by extract and read by training.

