//! Video files through FFmpeg: probe, decode, sample, scale and encode.

