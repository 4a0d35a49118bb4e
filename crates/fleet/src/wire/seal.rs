//! Signed messages: header, signature, JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::turned::Turned;
use crate::identity::{Key, PublicKey};

/// The version that is written, and the only one that is read.
pub const FORMAT_VERSION: u8 = 4;
pub(super) const MAGIC: [u8; 4] = *b"FDFL";
pub(super) const HEAD: usize = 8;
pub(super) const SIGNATURE: usize = 64;

/// No signature for this can be taken for one of something else.
const DOMAIN: &[u8] = b"fedact-fleet";

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Alive = 1,
    Offer = 2,
    Failed = 3,
    Chunk = 4,
    Orders = 5,
    Description = 6,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Alive,
            Self::Offer,
            Self::Failed,
            Self::Chunk,
            Self::Orders,
            Self::Description,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    pub(super) fn head(self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&MAGIC);
        head[4] = FORMAT_VERSION;
        head[5] = self as u8;
        head
    }
}

/// The kind of a message and what follows its first 8 bytes.
pub(super) fn kind_of(bytes: &[u8]) -> Result<(Kind, &[u8]), Turned> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Turned::NoMessage)?;
    if head[..4] != MAGIC {
        return Err(Turned::NoMessage);
    }
    if head[4] != FORMAT_VERSION {
        return Err(Turned::OtherFormatVersion);
    }
    let kind = Kind::of(head[5]).ok_or(Turned::Malformed)?;
    if head[6..] != [0, 0] {
        return Err(Turned::Malformed);
    }
    Ok((kind, rest))
}

/// A signed message.
pub(super) fn seal<T: Serialize>(kind: Kind, body: &T, key: &Key) -> Vec<u8> {
    let head = kind.head();
    // The bodies are structures of numbers, texts and maps with text keys, which JSON always has words for.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let signature = key.sign(&[DOMAIN, &head, &body]);
    [&head[..], &signature, &body].concat()
}

/// The body of a message whose kind is known, its signature verified before anything of it is looked at.
pub(super) fn open<T: DeserializeOwned>(
    kind: Kind,
    rest: &[u8],
    signer: &PublicKey,
    most: usize,
) -> Result<T, Turned> {
    let (signature, body) = rest
        .split_first_chunk::<SIGNATURE>()
        .ok_or(Turned::Malformed)?;
    if body.len() > most {
        return Err(Turned::TooLarge);
    }
    if !signer.verifies(&[DOMAIN, &kind.head(), body], signature) {
        return Err(Turned::WrongSignature);
    }
    serde_json::from_slice(body).map_err(|_| Turned::Malformed)
}
