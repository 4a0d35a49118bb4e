//! Questions over a connection that may be lost at any moment.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use rustls::CertificateError;
use serde::Deserialize;
use tokio::sync::watch;

use super::{PATIENCE, PATIENCE_FOR_LAST, PATIENCE_FOR_PIECE, Trouble, certificate};
use crate::wire::Subjects;

/// Codes of JetStream's errors: a stream, and a consumer, that is not there.
const STREAM_NOT_FOUND: u64 = 10059;
const CONSUMER_NOT_FOUND: u64 = 10014;

/// How often a connection that is being made again is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What has happened to a connection so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    /// How often it was made.
    pub made: u64,
    /// How often it was lost.
    pub lost: u64,
    /// Whether the server has said that it knows the key no longer.
    pub shut: bool,
    /// What TLS had against the certificate of the server that was tried last.
    pub against: Option<CertificateError>,
}

/// A connection that comes back by itself. What was asked before it was lost is never answered, so nobody waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub client: Client,
    pub(super) standing: watch::Receiver<Standing>,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    description: String,
    #[serde(default)]
    err_code: u64,
}

impl Line {
    /// Whether a server that let this key in before no longer does.
    pub fn is_shut(&self) -> bool {
        self.standing.borrow().shut
    }

    /// Whether there is a connection now.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Why there is no connection, if that is because of the server's certificate.
    pub fn disbelief(&self) -> Option<String> {
        let standing = self.standing.borrow();
        let against = standing.against.as_ref().filter(|_| !self.is_up())?;
        let words = certificate::out_of_date(against);
        Some(words.unwrap_or_else(|| format!("its certificate is not believed: {against}")))
    }

    /// How often the connection was made so far: what was learned over an earlier one may no longer be so.
    pub fn times_made(&self) -> u64 {
        self.standing.borrow().made
    }

    /// Returns when the connection is made again after so many times.
    pub async fn made_again(&self, times: u64) {
        let mut standing = self.standing.clone();
        if standing.wait_for(|now| now.made > times).await.is_err() {
            // The connection is gone for good, and will not be made again.
            std::future::pending::<()>().await;
        }
    }

    /// What something comes to, unless the connection is lost or patience ends before. Begins when there is a connection.
    pub async fn unless_lost<T>(
        &self,
        patience: Duration,
        something: impl Future<Output = T>,
    ) -> Result<T, Trouble> {
        let all = async {
            while !self.is_up() {
                tokio::time::sleep(LOOK).await;
            }
            let mut standing = self.standing.clone();
            let lost = standing.borrow().lost;
            tokio::select! {
                it = something => Ok(it),
                _ = standing.wait_for(|now| now.lost > lost) => Err(Trouble::Silent),
            }
        };
        tokio::time::timeout(patience, all)
            .await
            .unwrap_or(Err(Trouble::Silent))
    }

    /// Asks the server, and gives its answer with status and headers.
    async fn ask(
        &self,
        subject: String,
        payload: Bytes,
        patience: Duration,
    ) -> Result<async_nats::Message, Trouble> {
        let asking = self.client.request(subject, payload);
        self.unless_lost(patience, asking)
            .await?
            .map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Trouble::NoStream,
                RequestErrorKind::TimedOut => Trouble::Silent,
                _ => Trouble::Refused(error.to_string()),
            })
    }

    /// Asks JetStream's own interface, or publishes into a stream, which it answers in the same form. Gives its answer.
    pub async fn command(&self, subject: String, payload: Bytes) -> Result<Bytes, Trouble> {
        self.command_within(PATIENCE, subject, payload).await
    }

    /// The same, with another patience.
    pub async fn command_within(
        &self,
        patience: Duration,
        subject: String,
        payload: Bytes,
    ) -> Result<Bytes, Trouble> {
        let message = self.ask(subject, payload, patience).await?;
        let unknown = |_| Trouble::Refused("its answer is no JSON".into());
        let answer: Answer = serde_json::from_slice(&message.payload).map_err(unknown)?;
        match answer.error {
            None => Ok(message.payload),
            Some(Reason { err_code, .. })
                if [STREAM_NOT_FOUND, CONSUMER_NOT_FOUND].contains(&err_code) =>
            {
                Err(Trouble::NoStream)
            }
            Some(reason) => Err(Trouble::Refused(reason.description)),
        }
    }

    /// The last message of a subject in a stream; nothing if there is none.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Bytes>, Trouble> {
        self.last_within(PATIENCE_FOR_LAST, stream, subject).await
    }

    /// The same, with another patience.
    pub async fn last_within(
        &self,
        patience: Duration,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Bytes>, Trouble> {
        let question = Subjects::last(stream, subject);
        let message = self.ask(question, Bytes::new(), patience).await?;
        match message.status.map(|status| status.as_u16()) {
            None | Some(200) => Ok(Some(message.payload)),
            Some(404) => Ok(None),
            Some(status) => Err(Trouble::Refused(format!("status {status}"))),
        }
    }

    /// The number of the last message of a subject in a stream; nothing if there is none.
    pub async fn last_sequence(&self, stream: &str, subject: &str) -> Result<Option<u64>, Trouble> {
        let question = Subjects::last(stream, subject);
        let message = self.ask(question, Bytes::new(), PATIENCE_FOR_PIECE).await?;
        let headers = message.headers.as_ref();
        let number = headers.and_then(|headers| headers.get("Nats-Sequence"));
        Ok(number.and_then(|number| number.as_str().parse().ok()))
    }
}
