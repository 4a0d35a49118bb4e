//! How long clips take, as a line of JSON.

use std::time::Instant;

use crate::process::{peak_kib, used};

/// Batches that are not timed: memory is touched and programs are compiled in the first ones.
const WARM_UP: usize = 3;

/// Runs a batch so many times, and prints a line of JSON: milliseconds a clip of each, processor time and faults of a clip, most memory.
#[allow(clippy::print_stdout)] // Printing is what it is for.
pub fn tell(batch: usize, repeats: usize, mut run: impl FnMut()) {
    let mut milliseconds = Vec::with_capacity(repeats);
    let mut before = used();
    for round in 0..WARM_UP + repeats {
        if round == WARM_UP {
            before = used();
        }
        let started = Instant::now();
        run();
        if round >= WARM_UP {
            milliseconds.push(1e3 * started.elapsed().as_secs_f64() / batch as f64);
        }
    }
    let (after, clips) = (used(), (repeats * batch) as f64);
    let line = serde_json::json!({
        "milliseconds": milliseconds,
        "processor": (after.0 - before.0) / clips,
        "faults": (after.1 - before.1) / clips,
        "peak_kib": peak_kib(),
    });
    println!("{line}");
}
