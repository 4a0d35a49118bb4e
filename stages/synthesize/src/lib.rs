//! Stage synthesize: labelled videos of moving human figures.

