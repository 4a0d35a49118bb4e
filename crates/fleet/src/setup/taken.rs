//! Whether the servers go by the configuration that was written for them last.
//!
//! A server that is told to read its configuration again answers nobody, and refuses all of it where one thing in it cannot be changed
//! while it runs. So every configuration has a user of its own who may do nothing: a server that lets that one in has read it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Fleet, server};
use crate::FleetError;
use crate::identity::{Key, Roster};
use crate::link::{self, Door};

/// How long a server may take to go by what it was told to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one may take to answer that was not told.
const PATIENCE_UNTOLD: Duration = Duration::from_secs(2);

const LOOK: Duration = Duration::from_millis(50);

/// What has become of a new configuration at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The server goes by it.
    Read,
    /// The server was told to read it, and goes by an older one: something in it cannot be changed while the server runs.
    Refused,
    /// The server goes by an older one, and runs elsewhere, so that it was not told.
    Untold,
    /// The server cannot be reached. It reads it when it is started.
    Away,
}

/// A server of a fleet, and what it goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is, as in `tls://fl.example:4222`.
    pub address: String,
    /// What has become of its new configuration.
    pub taken: Taken,
}

/// A change of the servers' configurations, which no server reads before all that belongs to the change was written.
pub(super) struct Change<'fleet> {
    fleet: &'fleet Fleet,
    roster: &'fleet Roster,
    reader: Key,
}

impl<'fleet> Change<'fleet> {
    /// Writes the configurations; no server reads them yet.
    pub fn write(fleet: &'fleet Fleet, roster: &'fleet Roster) -> Result<Self, FleetError> {
        let reader = Key::generate();
        server::rewrite(fleet.folder(), roster, &reader.public())?;
        Ok(Self {
            fleet,
            roster,
            reader,
        })
    }

    /// Has the servers that run here read their configurations, and looks which ones go by them.
    pub fn tell(&self) -> Result<Vec<Server>, FleetError> {
        let authority = self.fleet.authority()?;
        let mut told = Vec::new();
        for place in server::places(self.fleet.folder(), self.roster) {
            told.push((place.address, server::tell_to_reload(&place.folder)?));
        }
        let looks = told.into_iter().map(|(address, told)| {
            let door = Door {
                addresses: vec![address],
                authority: authority.as_deref(),
                key: &self.reader,
                inbox: "_INBOX.reader".into(),
                name: "configuration".into(),
            };
            async move {
                Server {
                    address: address.to_owned(),
                    taken: look(&door, told).await,
                }
            }
        });
        // Whoever asks may be a task of a runtime already, in which no other can be waited for.
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(FleetError::file(self.fleet.folder()))?;
                Ok(runtime.block_on(join_all(looks)))
            });
            let away = |_| {
                Err(FleetError::file(self.fleet.folder())(
                    std::io::Error::other("no thread"),
                ))
            };
            looking.join().unwrap_or_else(away)
        })
    }
}

/// Tries to get in until that is so, or patience ends.
async fn look(door: &Door<'_>, told: bool) -> Taken {
    let limit = Instant::now() + if told { PATIENCE } else { PATIENCE_UNTOLD };
    let mut answered = false;
    loop {
        match timeout_at(limit, link::connect(door)).await {
            Ok(Ok(_)) => return Taken::Read,
            Ok(Err(_)) => answered = true,
            Err(_) => break,
        }
        if !told {
            break;
        }
        sleep(LOOK).await;
    }
    match (answered, told) {
        (true, true) => Taken::Refused,
        (true, false) => Taken::Untold,
        (false, _) => Taken::Away,
    }
}
