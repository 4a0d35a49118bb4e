//! Stage distill: clips, and teachers where given, to a model.

