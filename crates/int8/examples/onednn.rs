//! How long a quantized network takes for a clip by oneDNN alone. `onednn FOLDER BATCH THREADS REPEATS` times the model of a folder
//! and prints a line of JSON, as the example `inference` of `fedact-nets` does for other ways.

#[path = "../../nets/examples/process/mod.rs"]
mod process;

use std::path::Path;
use std::time::Instant;

use fedact_int8::Int8Network;
use process::{peak_kib, used};

/// Batches that are not timed.
const WARM_UP: usize = 3;

#[allow(clippy::print_stdout)] // Printing is what it is for.
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, numbers @ ..] = words.as_slice() else {
        panic!("onednn FOLDER BATCH THREADS REPEATS");
    };
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|word| word.parse().expect("a whole number"))
        .collect();
    let [batch, threads, repeats] = numbers[..] else {
        panic!("onednn FOLDER BATCH THREADS REPEATS");
    };
    let mut network = Int8Network::open(Path::new(folder)).expect("a quantized model, and oneDNN");
    network.set_threads(threads);
    // Pixels that look like noise; what takes time does not hang on them.
    let pixels =
        (0..batch * network.clip_bytes()).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8);
    let pixels: Vec<u8> = pixels.collect();
    let mut milliseconds = Vec::with_capacity(repeats);
    let mut before = used();
    for round in 0..WARM_UP + repeats {
        if round == WARM_UP {
            before = used();
        }
        let started = Instant::now();
        let _ = network.logits(&pixels).expect("logits");
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
