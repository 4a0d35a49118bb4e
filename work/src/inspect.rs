//! What was loaded with this library.

use std::path::PathBuf;

use fedact_code::{Loaded, LoadedFfmpeg, LoadedLibtorch, LoadedOnednn};

/// What this process has of libtorch and FFmpeg.
pub fn loaded() -> Loaded {
    Loaded {
        libtorch: libtorch(),
        ffmpeg: ffmpeg(),
        onednn: onednn(),
    }
}

fn onednn() -> LoadedOnednn {
    let version = fedact_int8::version().map(str::to_owned);
    LoadedOnednn {
        missing: version.as_ref().err().map(ToString::to_string),
        version: version.ok(),
    }
}

fn libtorch() -> LoadedLibtorch {
    let cuda_devices = if tch::Cuda::is_available() {
        tch::Cuda::device_count()
    } else {
        0
    };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    LoadedLibtorch {
        loaded_from: maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .find(|path| path.ends_with("/libtorch_cpu.so"))
            .map(PathBuf::from),
        cuda_devices,
        threads: tch::get_num_threads(),
    }
}

fn ffmpeg() -> LoadedFfmpeg {
    let capabilities = fedact_video::capabilities();
    LoadedFfmpeg {
        version: fedact_video::version().to_string(),
        decoders: capabilities
            .iter()
            .filter_map(|capability| capability.decoder.clone())
            .collect(),
        encoders: capabilities
            .iter()
            .filter_map(|capability| capability.encoder.clone())
            .collect(),
    }
}
