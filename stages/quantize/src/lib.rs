//! Stage quantize: a model and calibration clips to an int8 model.

