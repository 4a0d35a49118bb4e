//! Stage extract: videos to clips.

