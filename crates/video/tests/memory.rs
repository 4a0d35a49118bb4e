//! Files that want more memory than one file may take. In a process of its own, whose memory is looked at.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fedact_video::{Codec, Geometry, Limits, Video, VideoError, VideoWriter, sample};

const MIB: u64 = 1 << 20;
const GEOMETRY: Geometry = Geometry {
    resize: 64,
    size: 64,
};

fn limits(memory: u64) -> Limits {
    Limits {
        time: Duration::from_secs(60),
        memory,
    }
}

fn write(folder: &Path, codec: Codec, width: u32, height: u32, frames: usize) -> PathBuf {
    let path = folder.join(format!("{width}x{height}.{}", codec.extension()));
    let mut writer = VideoWriter::create(&path, width, height, 25, codec).unwrap();
    for frame in 0..frames {
        let level = (20 + 4 * frame) as u8;
        let pixels = vec![level; (width * height * 3) as usize];
        writer.write(&pixels).unwrap();
    }
    writer.finish().unwrap();
    path
}

fn decode(path: &Path, memory: u64) -> Result<usize, VideoError> {
    let mut video = Video::open(path, limits(memory))?;
    let wanted = sample::segments(video.timeline(), 4, 0, 1);
    Ok(video.frames(&wanted, GEOMETRY)?.pixels.len())
}

#[track_caller]
fn too_much(path: &Path, memory: u64) -> String {
    let error = decode(path, memory).unwrap_err();
    assert!(matches!(error, VideoError::MemoryLimit { .. }), "{error:?}");
    error.to_string()
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

/// Writes over the numbers that follow a name in a file, big-endian, `skip` bytes behind it.
fn overwrite(path: &Path, name: &[u8], skip: usize, numbers: &[u32]) {
    let mut bytes = fs::read(path).unwrap();
    let found = bytes.windows(name.len()).position(|window| window == name);
    let mut at = found.unwrap() + name.len() + skip;
    for number in numbers {
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        at += 4;
    }
    fs::write(path, bytes).unwrap();
}

/// One test, because FFmpeg's limit of a single allocation is that of the process.
#[test]
fn what_a_file_may_take_is_limited_and_the_error_says_for_what() {
    let folder = tempfile::tempdir().unwrap();

    // Pictures by the header of the container.
    let large = write(folder.path(), Codec::Mpeg4, 2048, 2048, 6);
    let text = too_much(&large, 60 * MIB);
    assert!(
        text.contains("2048x2048.avi") && text.contains("60 MiB") && text.contains("pictures"),
        "{text}"
    );
    assert_eq!(
        decode(&large, 100 * MIB).unwrap(),
        4 * GEOMETRY.frame_bytes()
    );

    if Codec::H264.encoder_name().is_none() {
        eprintln!("skipped: this FFmpeg has no encoder for H.264");
        return;
    }
    // An index of 33 million frames out of a few bytes: frames of one byte each, all in one chunk.
    let before = peak();
    let promising = write(folder.path(), Codec::H264, 64, 64, 8);
    overwrite(&promising, b"stsz", 4, &[1, 1 << 25]);
    overwrite(&promising, b"stsc", 12, &[1 << 25]);
    let outcome = decode(&promising, 256 * MIB);
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(
        peak() < before + 300 * MIB,
        "{} MiB",
        (peak() - before) / MIB
    );
}
