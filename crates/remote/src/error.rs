//! What can go wrong with a remote, in words that name it and the way out.

use std::time::Duration;

use fedact_artifact::ArtifactError;

/// Why a remote, or a key for it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// An address that says no place.
    #[error(
        "`{address}` is not the address of a remote: {reason}; give `s3://BUCKET/PREFIX`, `https://HOST/PATH`, or a folder"
    )]
    Address {
        /// As given, without a password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client could not be set up.
    #[error("the remote {remote} cannot be used: {reason}")]
    Setup {
        /// Where it is.
        remote: String,
        /// Why not.
        reason: String,
    },
    /// It does not answer, or answers with a failure of its own.
    #[error("the remote {remote} cannot be reached: {reason}")]
    Unreachable {
        /// Where it is.
        remote: String,
        /// Why not.
        reason: String,
    },
    /// It answers, but not in a time in which the work is better had from it than done again.
    #[error("the remote {remote} is too slow: {bytes} bytes took more than {} s", limit.as_secs())]
    TooSlow {
        /// Where it is.
        remote: String,
        /// How much was asked for.
        bytes: u64,
        /// The limit.
        limit: Duration,
    },
    /// It refuses what was asked.
    #[error("the remote {remote} refuses to {act} ({reason}): check the credentials")]
    Denied {
        /// Where it is.
        remote: String,
        /// What it refuses.
        act: &'static str,
        /// What it said.
        reason: String,
    },
    /// It gave something else than what was asked for.
    #[error("the remote {remote} gave a wrong {what}: {reason}")]
    Lying {
        /// Where it is.
        remote: String,
        /// What was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A key for signatures that is none.
    #[error(
        "this is not a {kind} key: it must be `{prefix}` and {digits} digits from 0-9 and a-f; `fedact remote keygen` makes a pair"
    )]
    Key {
        /// Public or signing.
        kind: &'static str,
        /// How it begins.
        prefix: &'static str,
        /// How many digits follow.
        digits: usize,
    },
    /// The system has no random numbers for a new key.
    #[error("no random numbers for a key: {reason}")]
    Random {
        /// What the system said.
        reason: String,
    },
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] ArtifactError),
}

impl RemoteError {
    /// Whether further requests are as good as certain to fail, too.
    pub fn lasting(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TooSlow { .. }
                | Self::Denied { .. }
                | Self::Setup { .. }
        )
    }
}
