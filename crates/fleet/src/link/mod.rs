//! The connection to the NATS server, and the few questions that are asked of it.

mod certificate;
mod connect;
mod line;

pub(crate) use connect::{Door, connect};
pub(crate) use line::Line;

use std::time::Duration;

/// How long the server may take to answer before it is asked again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The same for a small value that is asked for by subject. Short, because of a stream that is not there nobody says
/// so: questions to JetStream's interface are taken by the server, whatever they are about.
pub(crate) const PATIENCE_FOR_LAST: Duration = Duration::from_secs(1);

/// The same for a piece of a model or an update, which a slow line may carry for long. A connection that is lost in
/// the meantime ends the wait at once.
pub(crate) const PATIENCE_FOR_PIECE: Duration = Duration::from_secs(30);

/// Why something was not done now. All of it passes, or is said to whoever waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no stream for it (yet), or no consumer: the coordinator has not been there.
    NoStream,
    /// The server answered with a refusal: a stream or a window in it is full, or the disk is.
    Refused(String),
    /// No answer, or the connection was lost before it came.
    Silent,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoStream => f.write_str("the fleet's streams are not there yet"),
            Self::Refused(reason) => write!(f, "the NATS server refuses: {reason}"),
            Self::Silent => f.write_str("the NATS server does not answer"),
        }
    }
}
