//! What a sender who means harm can make: any body under a signature that is right.

use arbitrary::Arbitrary;
use fedact_fleet::Name;
use fedact_fleet::identity::PublicKey;
use fedact_fleet::wire::FORMAT_VERSION;
use nkeys::KeyPair;

/// A message as it comes, or signed by whoever is expected to.
#[derive(Debug, Arbitrary)]
pub struct Message {
    /// Whether it is signed; the kind and the body are the sender's in either case.
    pub signed: bool,
    kind: u8,
    body: Vec<u8>,
}

/// Who is expected.
pub struct Sender {
    pair: KeyPair,
    /// By which the receiver knows the sender.
    pub key: PublicKey,
    /// The fleet that the receiver belongs to.
    pub fleet: Name,
    /// The device that the message is from or to.
    pub device: Name,
}

impl Sender {
    /// A device `nano-1` of a fleet `lab`, or its coordinator.
    pub fn new() -> Self {
        let pair = KeyPair::new_user();
        Self {
            key: PublicKey::try_from(pair.public_key()).expect("a user's key"),
            pair,
            fleet: Name::new("lab").expect("a name"),
            device: Name::new("nano-1").expect("a name"),
        }
    }

    /// The bytes of a message.
    pub fn bytes_of(&self, message: &Message) -> Vec<u8> {
        if !message.signed {
            return message.body.clone();
        }
        let head = [
            b'F',
            b'D',
            b'F',
            b'L',
            FORMAT_VERSION,
            message.kind % 8,
            0,
            0,
        ];
        let covered = [&b"fedact-fleet"[..], &head, &message.body].concat();
        let signature = self.pair.sign(&covered).expect("a pair with both halves");
        [&head[..], &signature, &message.body].concat()
    }
}
