//! Who is who: keys, the roster of a fleet, and what a device is given to join it.

mod join;
mod key;
mod roster;

pub use join::Join;
pub use key::{Key, PublicKey};
pub use roster::{Device, Roster};

/// All servers, the first one and the others of its cluster.
fn addresses<'a>(first: &'a str, others: &'a [String]) -> Vec<&'a str> {
    let others = others.iter().map(String::as_str);
    std::iter::once(first).chain(others).collect()
}
