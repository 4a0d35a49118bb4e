//! What a clip set costs: opening 300,000 clips, reading and decoding them.
//!
//! ```text
//! cargo bench -p fedact-clips                opening, beside Python; reading generated scenes
//! cargo bench -p fedact-clips -- FOLDER      reading the clips of a raw clip set
//! ```
//!
//! Opening is measured in processes of their own, so that each says how much memory it took: its own, without the
//! pages of mapped files, which the system takes back whenever it likes.

#![allow(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Encoding, Split, files};

const CLIPS: usize = 300_000;
/// As many as 300,000 clips of 16 frames of 112 x 112 pixels fill.
const SHARDS: usize = 700;
const ROUNDS: usize = 5;
/// Pixels that reading goes through, at most.
const PIXEL_BYTES: usize = 512 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--open", folder] => open(Path::new(folder)),
        // `cargo test --benches` only wants to know that it starts.
        ["--test", ..] => {}
        [folder] => reading(&ClipSet::open(Path::new(folder)).expect("a clip set")),
        _ => {
            let room = tempfile::tempdir_in(room()).expect("a folder to work in");
            opening(room.path());
            let scenes = room.path().join("scenes");
            write(
                &scenes,
                scene_dataset(Encoding::Raw),
                400,
                usize::MAX,
                scene,
            );
            reading(&ClipSet::open(&scenes).expect("a clip set"));
        }
    }
}

/// On a real disk, and gone with the build.
fn room() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(target).expect("the target folder");
    target.to_owned()
}

fn opening(room: &Path) {
    let folder = room.join("many");
    let classes = (0..400).map(|class| format!("class {class:03}")).collect();
    let dataset = Dataset::new(classes, 1, 4, 4);
    let shard_bytes = CLIPS.div_ceil(SHARDS) * dataset.clip_bytes();
    write(&folder, dataset, CLIPS, shard_bytes, |number, dataset| {
        vec![number as u8; dataset.clip_bytes()]
    });
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    println!(
        "{CLIPS} clips in {SHARDS} shards; clips.jsonl {:.1} MB, index {:.1} MB",
        size(files::CLIPS) as f64 / 1e6,
        size(files::INDEX) as f64 / 1e6
    );
    println!(
        "{:<52} {:>9} {:>9} {:>9}",
        "opening", "best ms", "median", "MB taken"
    );
    measure("with the index", &folder, &[]);
    let index = folder.join(files::INDEX);
    std::fs::remove_file(&index).expect("the index");
    measure("without: every line read and checked", &folder, &[]);
    let script = "
import json, sys, time
def own(): return sum(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('RssAnon')) * 1.024e-3
before, start = own(), time.perf_counter()
clips = [json.loads(line) for line in open(sys.argv[1] + '/clips.jsonl')]
print((time.perf_counter() - start) * 1e3, own() - before)
";
    measure(
        "Python: json.loads of every line",
        &folder,
        &["python3", "-c", script],
    );
}

/// Runs the program with the folder behind its arguments, or this benchmark; it prints milliseconds and megabytes.
fn measure(name: &str, folder: &Path, program: &[&str]) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut command = match program {
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            [] => {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                command.arg("--open");
                command
            }
        };
        let Ok(output) = command.arg(folder).output() else {
            println!("{name:<52} cannot be started");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let figures: Vec<f64> = text
            .split_whitespace()
            .map(|figure| figure.parse().expect("a figure"))
            .collect();
        rounds.push((figures[0], figures[1]));
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let memory = rounds.iter().map(|round| round.1).fold(0.0, f64::max);
    println!(
        "{name:<52} {:>9.1} {:>9.1} {memory:>9.1}",
        rounds[0].0,
        rounds[ROUNDS / 2].0
    );
}

/// Opens a set once and asks what training asks first.
fn open(folder: &Path) {
    let before = own();
    let start = Instant::now();
    let set = ClipSet::open(folder).expect("a clip set");
    let opened = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(set.len(), CLIPS);
    println!("{opened} {}", own() - before);
}

/// The memory that this process has to itself, in megabytes.
fn own() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map_or(0.0, |kibibytes: f64| kibibytes * 1.024e-3)
}

/// Reads a raw set's clips as they are and as JPEG of several qualities.
fn reading(raw: &ClipSet) {
    let dataset = raw.dataset();
    assert_eq!(dataset.encoding, Encoding::Raw, "a raw clip set is needed");
    let clips = raw.len().min(PIXEL_BYTES / dataset.clip_bytes());
    println!(
        "\n{clips} clips of {} frames of {} x {} pixels",
        dataset.frames, dataset.width, dataset.height
    );
    println!(
        "{:<12} {:>9} {:>9} {:>12} {:>14} {:>14}",
        "encoding", "times less", "PSNR dB", "written/s", "read/s 1 thread", "2 threads"
    );
    let mut room = Vec::new();
    let encodings = [75, 85, 90, 95].map(|quality| Encoding::Jpeg { quality });
    for encoding in std::iter::once(Encoding::Raw).chain(encodings) {
        let folder = tempfile::tempdir_in(self::room()).expect("a folder to work in");
        let start = Instant::now();
        let dataset = Dataset {
            encoding,
            ..dataset.clone()
        };
        let mut writer = ClipSetWriter::create(folder.path(), dataset).expect("a writer");
        for clip in 0..clips {
            let pixels = raw.pixels(clip, &mut room).expect("pixels");
            writer
                .push(raw.clip(clip).expect("a clip"), pixels)
                .expect("room on the disk");
        }
        writer.finish().expect("room on the disk");
        let written = clips as f64 / start.elapsed().as_secs_f64();
        let set = ClipSet::open(folder.path()).expect("a clip set");
        let paces = [1, 2].map(|threads| {
            let best = (0..3).map(|_| pace(&set, threads));
            best.fold(0.0, f64::max)
        });
        println!(
            "{:<12} {:>9.1} {:>9.1} {written:>12.0} {:>14.0} {:>14.0}",
            match encoding {
                Encoding::Raw => "raw".to_owned(),
                Encoding::Jpeg { quality } => format!("jpeg {quality}"),
            },
            shard_bytes(raw.folder()) / shard_bytes(folder.path()) * clips as f64
                / raw.len() as f64,
            psnr(raw, &set),
            paces[0],
            paces[1],
        );
    }
}

/// Clips a second, read (and summed, so that raw ones are read at all) on so many threads.
fn pace(set: &ClipSet, threads: usize) -> f64 {
    let start = Instant::now();
    let clips: Vec<usize> = (0..set.len()).collect();
    let share = clips.len().div_ceil(threads);
    let sums: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = clips
            .chunks(share)
            .map(|clips| {
                scope.spawn(move || {
                    let mut room = Vec::new();
                    let sum = |clip: &usize| {
                        let pixels = set.pixels(*clip, &mut room).expect("pixels");
                        pixels.iter().map(|value| u64::from(*value)).sum::<u64>()
                    };
                    clips.iter().map(sum).sum::<u64>()
                })
            })
            .collect();
        let sums = workers
            .into_iter()
            .map(|worker| worker.join().expect("a sum"));
        sums.sum()
    });
    std::hint::black_box(sums);
    clips.len() as f64 / start.elapsed().as_secs_f64()
}

/// Peak signal to noise ratio over all clips, in decibels.
fn psnr(raw: &ClipSet, set: &ClipSet) -> f64 {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let (mut squares, mut count) = (0.0, 0);
    for clip in 0..set.len() {
        let original = raw.pixels(clip, &mut one).expect("pixels");
        let found = set.pixels(clip, &mut other).expect("pixels");
        let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
        squares += original.iter().zip(found).map(square).sum::<u64>() as f64;
        count += found.len();
    }
    10.0 * (255.0 * 255.0 * count as f64 / squares).log10()
}

fn shard_bytes(folder: &Path) -> f64 {
    let sizes = (0..).map_while(|number| std::fs::metadata(folder.join(files::shard(number))).ok());
    sizes.map(|file| file.len() as f64).sum()
}

fn scene_dataset(encoding: Encoding) -> Dataset {
    Dataset {
        encoding,
        ..Dataset::new(vec!["scene".to_owned()], 16, 112, 112)
    }
}

/// A smooth picture in motion.
fn scene(number: usize, dataset: &Dataset) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(dataset.clip_bytes());
    for frame in 0..dataset.frames {
        for at in 0..dataset.height * dataset.width {
            let (x, y) = (
                (at % dataset.width + 2 * frame) as f32,
                (at / dataset.width) as f32,
            );
            let wave =
                |speed: f32| (128.0 + 100.0 * (x * speed + y * 0.15 + number as f32).sin()) as u8;
            pixels.extend([wave(0.2), wave(0.12), wave(0.05)]);
        }
    }
    pixels
}

fn write(
    folder: &Path,
    dataset: Dataset,
    clips: usize,
    shard_bytes: usize,
    pixels: impl Fn(usize, &Dataset) -> Vec<u8>,
) {
    let classes = dataset.classes.clone();
    let mut writer =
        ClipSetWriter::with_shard_bytes(folder, dataset.clone(), shard_bytes).expect("a writer");
    for number in 0..clips {
        let label = number * classes.len() / clips;
        let video = format!("{}/v_{number:07}_recording.mp4", classes[label]);
        let clip = Clip {
            id: format!("{video}#00"),
            video_digest: format!("{number:064x}"),
            label,
            // Every video is a group of its own: the most that there can be.
            group: video.clone(),
            video,
            split: if number % 5 == 0 {
                Split::Test
            } else {
                Split::Train
            },
            start_seconds: 0.25,
            end_seconds: 9.75,
            shard: 0,
            row: 0,
        };
        writer
            .push(clip, &pixels(number, &dataset))
            .expect("room on the disk");
    }
    writer.finish().expect("room on the disk");
}
