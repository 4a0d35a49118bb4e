//! The connection to the NATS server, and the few questions that are asked of it.

mod connect;

use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;

use crate::wire::Subjects;

pub(crate) use connect::{Door, connect};

/// How long the server may take to answer before it is asked again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Why something was not done now. All of it passes, or is said to whoever waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no stream for it (yet): the coordinator has not been there.
    NoStream,
    /// The server answered with a refusal: a stream or a window in it is full, or the disk is.
    Refused(String),
    /// No answer.
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

#[derive(Deserialize)]
struct Answer {
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    description: String,
}

/// Asks the server, and gives its answer with status and headers.
pub(crate) async fn ask(
    client: &Client,
    subject: String,
    payload: Bytes,
) -> Result<async_nats::Message, Trouble> {
    let asked = tokio::time::timeout(PATIENCE, client.request(subject, payload)).await;
    match asked {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Err(Trouble::NoStream),
        Ok(Err(error)) => match error.kind() {
            RequestErrorKind::TimedOut => Err(Trouble::Silent),
            _ => Err(Trouble::Refused(error.to_string())),
        },
        Err(_) => Err(Trouble::Silent),
    }
}

/// Asks JetStream's own interface, or publishes into a stream, which it answers in the same form. Gives its answer.
pub(crate) async fn command(
    client: &Client,
    subject: String,
    payload: Bytes,
) -> Result<Bytes, Trouble> {
    let message = ask(client, subject, payload).await?;
    let unknown = |_| Trouble::Refused("its answer is no JSON".into());
    let answer: Answer = serde_json::from_slice(&message.payload).map_err(unknown)?;
    match answer.error {
        None => Ok(message.payload),
        Some(reason) => Err(Trouble::Refused(reason.description)),
    }
}

/// The last message of a subject in a stream; nothing if there is none.
pub(crate) async fn last(
    client: &Client,
    stream: &str,
    subject: &str,
) -> Result<Option<Bytes>, Trouble> {
    let message = ask(client, Subjects::last(stream, subject), Bytes::new()).await?;
    match message.status.map(|status| status.as_u16()) {
        None | Some(200) => Ok(Some(message.payload)),
        Some(404) => Ok(None),
        Some(status) => Err(Trouble::Refused(format!("status {status}"))),
    }
}
