//! What random numbers are drawn for: the first word that [`derived_rng`](crate::clock::derived_rng) is given. No two are
//! alike, so that one draw never tells of another.

/// How long a client's task takes, and whether it is lost.
pub const TASK_TIMES: u64 = 1;
/// Who is asked in a round of FedAvg.
pub const ROUND_SELECTION: u64 = 2;
/// The noise of differential privacy.
pub const PRIVACY_NOISE: u64 = 3;
/// At which times of its own a client comes.
pub const WINDOW_SHIFT: u64 = 4;
/// Which way a number of a message is rounded.
pub const ROUNDING: u64 = 5;
/// Which client holds which clips.
pub const PARTITION: u64 = 6;
/// In which order a client learns its clips, and in which views.
pub const CLIENT_ORDER: u64 = 11;
