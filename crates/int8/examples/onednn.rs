//! How long a quantized network takes for a clip by oneDNN alone. `onednn FOLDER BATCH THREADS REPEATS` times the model of a folder
//! and prints a line of JSON, as the example `inference` of `fedact-nets` does for other ways.

#[path = "../../nets/examples/process/mod.rs"]
mod process;
#[path = "../../nets/examples/process/timing.rs"]
mod timing;

use std::path::Path;

use fedact_int8::Int8Network;

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
    timing::tell(batch, repeats, || {
        let _ = network.logits(&pixels).expect("logits");
    });
}
