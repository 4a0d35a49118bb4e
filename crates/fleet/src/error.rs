//! What can go wrong with a fleet, in words that name it and the way out.

use std::path::{Path, PathBuf};

use crate::Name;
use crate::wire::Excess;

/// Why a fleet cannot be set up, served or joined. Hostile or broken messages are no errors: they are
/// [`Turned`](crate::wire::Turned) away and counted.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A name that cannot be part of a subject.
    #[error(
        "`{name}` is no name for a fleet or a device; take 1 to 32 of a-z, 0-9 and -, the first one no -"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// Two devices have one name.
    #[error("device `{name}` is named twice; give every device a name of its own")]
    Twice {
        /// The name.
        name: Name,
    },
    /// A device that is to be added has a name that another one has or had.
    #[error(
        "{} `{name}`; give the new device a name of its own",
        if *revoked { "the fleet has sent away a device" } else { "the fleet has a device" }
    )]
    NameTaken {
        /// The name.
        name: Name,
        /// Whether it is that of a device that was revoked.
        revoked: bool,
    },
    /// Certificates are to be renewed where there are none.
    #[error("the fleet `{fleet}` is on loopback alone and has no certificates to renew")]
    NoCertificates {
        /// Which.
        fleet: Name,
    },
    /// A host that nobody can be found at.
    #[error("`{host}` is no host; give its name or address alone, as in fl.example or 192.168.1.5")]
    Host {
        /// As given.
        host: String,
    },
    /// A number of servers of which no majority can be told from the rest.
    #[error(
        "{count} servers make no fleet; take 1, or 3 or 5, of which a majority goes on without the others"
    )]
    Servers {
        /// How many.
        count: usize,
    },
    /// A new fleet would get into the way of something.
    #[error("{} {reason}; take a new folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// What is there.
        reason: String,
    },
    /// A file that holds a secret can be read by others.
    #[error(
        "{} can be read by others (mode {mode:o}) and holds a secret key; run: chmod 600 {}",
        path.display(), path.display()
    )]
    OpenToOthers {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A key cannot be used. The key itself is never shown.
    #[error("{what} is no key of the right kind: {reason}")]
    Key {
        /// Whose key, or where it stands.
        what: String,
        /// Why.
        reason: String,
    },
    /// The certificates cannot be made or read.
    #[error("a certificate for {host} cannot be made or used: {reason}")]
    Certificate {
        /// For which host.
        host: String,
        /// Why.
        reason: String,
    },
    /// A file of the run is damaged where nothing can be done without losing what was acknowledged.
    #[error(
        "{} is damaged at byte {offset}: {reason}; restore it from a copy: events after that place were acknowledged",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The folder of a run belongs to other rules.
    #[error(
        "{} holds a run under other rules ({reason}); go on with those, or begin anew in another folder",
        folder.display()
    )]
    OtherRules {
        /// The run's folder.
        folder: PathBuf,
        /// Which differ.
        reason: String,
    },
    /// Another process serves this run.
    #[error("{} is served by another process; stop that one first", folder.display())]
    Served {
        /// The run's folder.
        folder: PathBuf,
    },
    /// The server refused the connection for good.
    #[error("{address} lets nobody in with this key or certificate: {reason}")]
    NotLetIn {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// What every device must know of the run does not fit into a message.
    #[error(
        "what every device must be told of the run takes {bytes} bytes, most of them `{part}`, and a message \
         holds {most}; give the run less of it"
    )]
    TooMuchToTell {
        /// Bytes that it takes.
        bytes: usize,
        /// The most that it may take.
        most: usize,
        /// The part that most of them are.
        part: String,
    },
    /// The server's certificate is out of date, or this machine's clock is.
    #[error("the server at {address} is not believed: {reason}")]
    OutOfDate {
        /// Where.
        address: String,
        /// What is out of date, and what to do.
        reason: String,
    },
    /// The coordinator's judge failed.
    #[error("the model of version {version} cannot be tested: {reason}")]
    Judge {
        /// Which.
        version: u64,
        /// Why not.
        reason: String,
    },
    /// The trainer panicked in a task, which was given back, and cannot be asked again.
    #[error("the trainer broke off in the midst of a task; start the device again")]
    TrainerBroke,
    /// An update cannot be made into a message.
    #[error("the update cannot be encoded")]
    Message(#[from] fedact_federation::message::MessageError),
}

impl From<Excess> for FleetError {
    fn from(excess: Excess) -> Self {
        let Excess { bytes, most, part } = excess;
        Self::TooMuchToTell { bytes, most, part }
    }
}

impl FleetError {
    /// Whether a file that somebody gave or kept is at fault, and not this machine or a server.
    pub fn invalid_input(&self) -> bool {
        matches!(
            self,
            Self::Name { .. }
                | Self::Twice { .. }
                | Self::NameTaken { .. }
                | Self::NoCertificates { .. }
                | Self::Host { .. }
                | Self::Servers { .. }
                | Self::Occupied { .. }
                | Self::OpenToOthers { .. }
                | Self::Invalid { .. }
                | Self::Key { .. }
                | Self::OtherRules { .. }
                | Self::TooMuchToTell { .. }
                | Self::Damaged { .. }
        )
    }

    /// For `map_err`: what went wrong with this file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }
}
