//! What the environment says about the remote.
//!
//! | variable | |
//! | --- | --- |
//! | `FEDACT_REMOTE` | its address |
//! | `FEDACT_REMOTE_MODE` | `read` or `read-write` |
//! | `FEDACT_REMOTE_TRUST` | public keys, separated by commas |
//! | `FEDACT_REMOTE_TOKEN` | a token for an HTTP cache |
//! | `FEDACT_SIGNING_KEY`, `FEDACT_SIGNING_KEY_FILE` | the key that signs, or a file that holds it |
//! | `AWS_*` | who asks an S3 server, and where that is |

use std::env;
use std::str::FromStr;

use fedact_remote::{Access, PublicKey, RemoteError, SigningKey};

use super::usage;
use crate::exit::Refusal;

/// All of it.
pub(super) struct Variables {
    pub(super) remote: Option<String>,
    pub(super) read_only: Option<bool>,
    pub(super) trust: Option<Vec<PublicKey>>,
    pub(super) signing: Option<SigningKey>,
    pub(super) access: Access,
}

impl Variables {
    pub(super) fn read() -> Result<Self, Refusal> {
        Ok(Self {
            remote: value("FEDACT_REMOTE")?,
            read_only: read_only()?,
            trust: trust()?,
            signing: signing()?,
            access: Access {
                aws: env::vars_os()
                    .filter_map(|(name, value)| {
                        Some((name.into_string().ok()?, value.into_string().ok()?))
                    })
                    .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
                    .collect(),
                bearer: value("FEDACT_REMOTE_TOKEN")?,
            },
        })
    }
}

/// The value of a variable; an empty one is none.
fn value(name: &str) -> Result<Option<String>, Refusal> {
    match env::var(name) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(usage(&format!("{name} is not UTF-8 text"))),
    }
}

fn read_only() -> Result<Option<bool>, Refusal> {
    match value("FEDACT_REMOTE_MODE")?.as_deref() {
        None => Ok(None),
        Some("read") => Ok(Some(true)),
        Some("read-write") => Ok(Some(false)),
        Some(other) => Err(usage(&format!(
            "FEDACT_REMOTE_MODE is `{other}`, but must be `read` or `read-write`"
        ))),
    }
}

fn trust() -> Result<Option<Vec<PublicKey>>, Refusal> {
    let Some(text) = value("FEDACT_REMOTE_TRUST")? else {
        return Ok(None);
    };
    let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.map(|key| parse("FEDACT_REMOTE_TRUST", key))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn signing() -> Result<Option<SigningKey>, Refusal> {
    if let Some(text) = value("FEDACT_SIGNING_KEY")? {
        return parse("FEDACT_SIGNING_KEY", &text).map(Some);
    }
    let Some(file) = env::var_os("FEDACT_SIGNING_KEY_FILE").filter(|file| !file.is_empty()) else {
        return Ok(None);
    };
    let name = format!("FEDACT_SIGNING_KEY_FILE: {}", file.to_string_lossy());
    let text = std::fs::read_to_string(&file)
        .map_err(|error| usage(&format!("{name} cannot be read: {error}")))?;
    parse(&name, &text).map(Some)
}

fn parse<T: FromStr<Err = RemoteError>>(name: &str, text: &str) -> Result<T, Refusal> {
    text.parse()
        .map_err(|error| usage(&format!("{name}: {error}")))
}
