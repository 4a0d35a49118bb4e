//! `fedact doctor`: what this machine has, and what is wrong with it.

use std::fmt;
use std::path::{Path, PathBuf};

use fedact_code::{Loaded, LoadedFfmpeg, LoadedLibtorch, LoadedOnednn};
use fedact_federation::device::Measurement;
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::{Code, Refusal};
use crate::work::{Unusable, Work};

/// Memory below which the default pipeline does not run well, in bytes.
const ENOUGH_MEMORY: u64 = 4 << 30;
/// Free disk below which the default pipeline may not finish, in bytes.
const ENOUGH_DISK: u64 = 4 << 30;

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub struct Examination {
    fedact: &'static str,
    processor: Processor,
    memory: Memory,
    disk: Disk,
    libtorch: Libtorch,
    /// None where the library of the stages cannot be loaded.
    ffmpeg: Option<LoadedFfmpeg>,
    /// Likewise.
    onednn: Option<LoadedOnednn>,
    /// Empty where all is well.
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Processor {
    architecture: &'static str,
    model: Option<String>,
    cores: usize,
    features: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Memory {
    total_bytes: u64,
    available_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Disk {
    folder: PathBuf,
    free_bytes: Option<u64>,
    writable: bool,
}

#[derive(Debug, Serialize)]
struct Libtorch {
    built_with: &'static str,
    #[serde(flatten)]
    loaded: Option<LoadedLibtorch>,
}

/// Something that will not work, or not well.
#[derive(Debug, Serialize)]
struct Problem {
    what: String,
    remedy: String,
}

/// Examines the machine; `artifacts` is the folder that the store would stand in.
pub fn examine(artifacts: &Path) -> Examination {
    let (loaded, unusable) = match load() {
        Ok(loaded) => (Some(loaded), None),
        Err(unusable) => (None, Some(unusable)),
    };
    let (libtorch, ffmpeg, onednn) = match loaded {
        Some(loaded) => (
            Some(loaded.libtorch),
            Some(loaded.ffmpeg),
            Some(loaded.onednn),
        ),
        None => (None, None, None),
    };
    let mut examination = Examination {
        fedact: env!("CARGO_PKG_VERSION"),
        processor: processor(),
        memory: memory(),
        disk: disk(artifacts),
        libtorch: Libtorch {
            built_with: fedact_code::LIBTORCH,
            loaded: libtorch,
        },
        ffmpeg,
        onednn,
        problems: Vec::new(),
    };
    examination.problems = problems(&examination);
    examination
        .problems
        .extend(unusable.map(|Unusable { message, remedy }| Problem {
            what: message,
            remedy: remedy.to_owned(),
        }));
    examination
}

/// Loads the library that does the work of stages, and asks it what came with it.
fn load() -> Result<Loaded, Unusable> {
    Work::find()?.load()?.inspect().ok_or(Unusable {
        message: "the library of the stages does not say what it was loaded with".to_owned(),
        remedy: "build it again with `cargo build`",
    })
}

/// Measures this machine with the reference model of the device profiles; takes some seconds.
///
/// # Errors
/// The library that does it cannot be loaded, or fails.
pub fn measure() -> Result<Measurement, Refusal> {
    let refused = |message: String, help: Option<String>| Refusal {
        code: Code::Failed,
        message,
        help,
        others: Vec::new(),
    };
    let library = Work::find().and_then(|work| work.load());
    let library = library
        .map_err(|Unusable { message, remedy }| refused(message, Some(remedy.to_owned())))?;
    let pace = library
        .reference()
        .map_err(|message| refused(message, None))?;
    let processor = processor();
    Ok(Measurement {
        processor: processor
            .model
            .unwrap_or_else(|| processor.architecture.to_owned()),
        threads: pace.threads,
        training_clips_per_second: pace.training_clips_per_second,
        inference_clips_per_second: pace.inference_clips_per_second,
        memory_bytes: memory().total_bytes,
        jitter: pace.jitter,
    })
}

/// A measured machine as a profile among the params of `federate`.
pub fn profiles(name: &str, machine: &Measurement) -> Value {
    json!({"profiles": {name: machine.profile()}})
}

impl Examination {
    /// Whether nothing was found that needs mending.
    pub fn healthy(&self) -> bool {
        self.problems.is_empty()
    }
}

fn processor() -> Processor {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Processor {
        architecture: std::env::consts::ARCH,
        model: field(&info, "model name").or_else(|| field(&info, "Model")),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        features: features(),
    }
}

/// The value of the first `key : value` line.
fn field(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

/// The instruction sets that decide how fast training, int8 and hashing are here.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! present {
        ($($name:tt),*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    present!(
        "avx2",
        "fma",
        "avx512f",
        "avx512vnni",
        "avx512bf16",
        "avxvnni",
        "sha"
    )
    .into_iter()
    .filter_map(|(name, found)| found.then_some(name))
    .collect()
}

/// The instruction sets that decide how fast training, int8 and hashing are here.
#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    macro_rules! present {
        ($($name:tt),*) => {
            [$(($name, std::arch::is_aarch64_feature_detected!($name))),*]
        };
    }
    present!("neon", "dotprod", "i8mm", "bf16", "fp16", "sha2")
        .into_iter()
        .filter_map(|(name, found)| found.then_some(name))
        .collect()
}

/// Nothing is known about other architectures.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

fn memory() -> Memory {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key| {
        field(&info, key)
            .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kibibytes| kibibytes << 10)
    };
    Memory {
        total_bytes: bytes("MemTotal"),
        available_bytes: bytes("MemAvailable"),
    }
}

fn disk(artifacts: &Path) -> Disk {
    // The store may not exist yet: its nearest parent that does decides.
    let absolute = std::path::absolute(artifacts).unwrap_or_else(|_| artifacts.to_owned());
    let folder = absolute
        .ancestors()
        .find(|folder| folder.is_dir())
        .unwrap_or(Path::new("/"))
        .to_owned();
    Disk {
        free_bytes: rustix::fs::statvfs(&folder)
            .ok()
            .map(|state| state.f_bavail * state.f_frsize),
        writable: tempfile::tempfile_in(&folder).is_ok(),
        folder,
    }
}

fn problems(examination: &Examination) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |what: String, remedy: &str| {
        problems.push(Problem {
            what,
            remedy: remedy.to_owned(),
        });
    };
    let memory = &examination.memory;
    if memory.available_bytes < ENOUGH_MEMORY {
        problem(
            format!("{} of memory are free", Bytes(memory.available_bytes)),
            "close other programs: the default pipeline uses up to 4 GiB",
        );
    }
    let disk = &examination.disk;
    if !disk.writable {
        problem(
            format!("{} cannot be written to", disk.folder.display()),
            "change its permissions, or put the artifacts elsewhere with --artifacts",
        );
    }
    if let Some(free) = disk.free_bytes.filter(|free| *free < ENOUGH_DISK) {
        problem(
            format!("{} free on {}", Bytes(free), disk.folder.display()),
            "make room, or drop old results with `fedact gc`",
        );
    }
    let ffmpeg = examination.ffmpeg.as_ref();
    for decoder in ["h264", "mpeg4"] {
        if ffmpeg.is_some_and(|ffmpeg| !ffmpeg.decoders.iter().any(|name| name == decoder)) {
            problem(
                format!("FFmpeg has no {decoder} decoder"),
                "install an FFmpeg with the usual codecs, then build fedact again",
            );
        }
    }
    #[cfg(target_arch = "x86_64")]
    if !examination.processor.features.contains(&"avx2") {
        problem(
            "the processor has no AVX2".to_owned(),
            "expect training to take several times as long",
        );
    }
    problems
}

impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            memory,
            disk,
            libtorch,
            ffmpeg,
            onednn,
            ..
        } = self;
        writeln!(f, "fedact     {}", self.fedact)?;
        writeln!(
            f,
            "processor  {}, {} cores, {} ({})",
            processor.model.as_deref().unwrap_or("unknown model"),
            processor.cores,
            processor.architecture,
            list(&processor.features)
        )?;
        writeln!(
            f,
            "memory     {} free of {}",
            Bytes(memory.available_bytes),
            Bytes(memory.total_bytes)
        )?;
        writeln!(
            f,
            "disk       {} free on {}",
            disk.free_bytes
                .map_or("unknown".to_owned(), |free| Bytes(free).to_string()),
            disk.folder.display()
        )?;
        let built_with = libtorch.built_with;
        match &libtorch.loaded {
            Some(loaded) => writeln!(
                f,
                "libtorch   {built_with}, {}, {}",
                match loaded.cuda_devices {
                    0 => "no CUDA".to_owned(),
                    devices => format!("{devices} CUDA devices"),
                },
                loaded
                    .loaded_from
                    .as_ref()
                    .map_or("linked statically".to_owned(), |path| path
                        .display()
                        .to_string())
            )?,
            None => writeln!(f, "libtorch   {built_with}, not loaded")?,
        }
        match ffmpeg {
            Some(ffmpeg) => {
                writeln!(f, "FFmpeg     {}", ffmpeg.version)?;
                writeln!(f, "  decodes  {}", list(&ffmpeg.decoders))?;
                writeln!(f, "  encodes  {}", list(&ffmpeg.encoders))?;
            }
            None => writeln!(f, "FFmpeg     {}, not loaded", fedact_code::FFMPEG)?,
        }
        if let Some(LoadedOnednn { version, missing }) = onednn {
            let words = version
                .as_deref()
                .or(missing.as_deref())
                .unwrap_or("unknown");
            writeln!(f, "oneDNN     {words}")?;
        }
        if self.healthy() {
            return writeln!(f, "\nNothing is wrong.");
        }
        for Problem { what, remedy } in &self.problems {
            writeln!(f, "\nproblem: {what}\n   help: {remedy}")?;
        }
        Ok(())
    }
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(" ")
}

/// Bytes in GiB or MiB.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBIBYTE: f64 = (1u64 << 20) as f64;
        let mebibytes = self.0 as f64 / MEBIBYTE;
        if mebibytes >= 1024.0 {
            write!(f, "{:.1} GiB", mebibytes / 1024.0)
        } else {
            write!(f, "{mebibytes:.0} MiB")
        }
    }
}
