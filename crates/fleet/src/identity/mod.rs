//! Who is who: keys, the roster of a fleet, and what a device is given to join it.

mod join;
mod key;
mod roster;

pub use join::Join;
pub use key::{Key, PublicKey};
pub use roster::{Device, Roster};
