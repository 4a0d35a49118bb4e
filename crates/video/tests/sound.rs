//! The sound of a video, copied into pictures of it: what is heard when, and what cannot be.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "maker/film.rs"]
mod film;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fedact_video::{Codec, Copied, Size, SoundError, Video, VideoError, VideoWriter};
use film::{Film, Heard, heard};

const LIMIT: Duration = Duration::from_secs(60);

/// How far sound may be from its picture, in seconds.
const IN_STEP: f64 = 0.025;

/// Writes the pictures of a video again, as `fedact predict --render` does, and copies its sound into them.
fn copied(source: &Path, codec: Codec) -> Result<(PathBuf, Copied), SoundError> {
    let mut video = Video::open(source, LIMIT).unwrap();
    let size = Size {
        width: 320,
        height: 240,
    };
    let pictures = source.with_extension(format!("pictures.{}", codec.extension()));
    let output = source.with_extension(format!("copied.{}", codec.extension()));
    let timeline = video.timeline().clone();
    let mut writer =
        VideoWriter::create_timed(&pictures, size, timeline.frame_rate(), codec).unwrap();
    let see = |number: usize, pixels: &mut [u8]| -> Result<(), VideoError> {
        writer.write_until(pixels, timeline.end(number)).unwrap();
        Ok(())
    };
    video.show(size, see).unwrap();
    writer.finish().unwrap();
    let sound = video.sound()?.expect("there is sound");
    let result = sound.join(&pictures, &output, codec, || Ok::<_, SoundError>(()));
    assert_eq!(result.is_ok(), output.exists(), "{result:?}");
    let result = result?;
    // The pictures are the same, packet by packet.
    assert_eq!(pictures_of(&output), pictures_of(&pictures));
    Ok((output, result))
}

/// The packets of the pictures, with when they are shown and for how long.
fn pictures_of(path: &Path) -> Vec<(Vec<u8>, i64, i64)> {
    let mut input = ffmpeg_next::format::input(path).unwrap();
    let micros = ffmpeg_next::Rational(1, 1_000_000);
    let mut found = Vec::new();
    for (stream, mut packet) in input.packets() {
        if stream.index() == 0 {
            packet.rescale_ts(stream.time_base(), micros);
            let data = packet.data().unwrap().to_vec();
            found.push((data, packet.dts().unwrap(), packet.duration()));
        }
    }
    found
}

fn codecs() -> Vec<Codec> {
    let there = |codec: &Codec| {
        let there = codec.encoder_name().is_some();
        if !there {
            eprintln!("SKIPPED: this FFmpeg has no encoder for {}", codec.name());
        }
        there
    };
    [Codec::H264, Codec::Mpeg4]
        .into_iter()
        .filter(there)
        .collect()
}

/// Copies, and expects sound in step with the pictures, of packets that are those of the source.
#[track_caller]
fn in_step(film: &Film, codec: Codec) -> Option<(Heard, Heard)> {
    if !film.possible() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    film.make(&source);
    let (output, result) = copied(&source, codec).unwrap();
    let (before, after) = (heard(&source).unwrap(), heard(&output).unwrap());
    let case = format!("{film:?} in {codec:?}: {before:?} {after:?}");
    assert_eq!(result.damaged, 0, "{case}");
    assert_eq!(result.packets, after.packets.len(), "{case}");
    assert!(
        before
            .packets
            .windows(after.packets.len())
            .any(|part| part == after.packets),
        "other packets: {case}"
    );
    for heard in [&before, &after] {
        let apart = heard.tone - heard.white;
        let case = format!("{apart} s: tone {}, white {}", heard.tone, heard.white);
        assert!(apart.abs() < IN_STEP, "{case}, {film:?} in {codec:?}");
    }
    let frame = 1.5 / 25.0;
    assert!(after.end < after.last_picture + frame + IN_STEP, "{case}");
    Some((before, after))
}

#[test]
fn sound_is_copied_packet_by_packet_and_in_step() {
    for codec in codecs() {
        for sounds in [&["aac"][..], &["libmp3lame"], &["ac3"], &["mp2"]] {
            for (container, rate) in [
                ("matroska", 44_100),
                ("mp4", 48_000),
                ("mp4", 44_100),
                ("mpegts", 48_000),
            ] {
                // A transport stream has headers in its AAC that other containers do without.
                if container == "mpegts" && sounds == ["aac"] {
                    continue;
                }
                let film = Film {
                    container,
                    sounds,
                    rate,
                    ..Film::default()
                };
                if let Some((before, after)) = in_step(&film, codec) {
                    let missing = before.samples.abs_diff(after.samples);
                    assert!(missing <= 1536, "{missing}: {film:?} in {codec:?}");
                }
            }
        }
    }
}

#[test]
fn each_container_takes_codecs_that_the_other_does_not() {
    for codec in codecs() {
        let sounds = match codec {
            Codec::H264 => [
                ("matroska", &["libopus"]),
                ("matroska", &["flac"]),
                ("mov", &["alac"]),
                ("matroska", &["libvorbis"]),
                ("matroska", &["eac3"]),
            ],
            Codec::Mpeg4 => [
                ("matroska", &["pcm_s16le"]),
                ("avi", &["pcm_s24le"]),
                ("mov", &["pcm_alaw"]),
                ("avi", &["adpcm_ms"]),
                ("mov", &["aac"]),
            ],
        };
        for (container, sounds) in sounds {
            let film = Film {
                container,
                sounds,
                ..Film::default()
            };
            if let Some((before, after)) = in_step(&film, codec) {
                let missing = before.samples.abs_diff(after.samples);
                assert!(missing <= 4608, "{missing}: {film:?} in {codec:?}");
            }
        }
    }
}

#[test]
fn a_codec_that_the_container_cannot_hold_is_named_with_one_that_can() {
    let folder = tempfile::tempdir().unwrap();
    for (sounds, codec, held) in [
        // Later versions of FFmpeg write other PCM into MP4.
        (&["pcm_alaw"][..], Codec::H264, ".avi"),
        (&["libopus"], Codec::Mpeg4, ".mp4"),
        (&["libvorbis"], Codec::Mpeg4, ".mp4"),
        (&["alac"], Codec::Mpeg4, ".mp4"),
        (&["flac"], Codec::Mpeg4, ".mp4"),
    ] {
        let film = Film {
            container: if sounds == ["alac"] {
                "mov"
            } else {
                "matroska"
            },
            sounds,
            ..Film::default()
        };
        if !film.possible() || codec.encoder_name().is_none() {
            continue;
        }
        let source = folder.path().join("source");
        film.make(&source);
        let error = copied(&source, codec).unwrap_err();
        assert!(matches!(error, SoundError::Container { .. }), "{error:?}");
        let text = error.to_string();
        let name = sounds[0].trim_start_matches("lib");
        assert!(text.contains(name) && text.contains(held), "{text}");
    }
}

#[test]
fn sound_and_pictures_may_begin_apart_and_pictures_be_reordered() {
    for codec in codecs() {
        let films = [
            // The sound begins later, earlier by whole seconds, and earlier by less than a packet.
            (0, 0.61, 1.0),
            (10, 0.0, 3.0),
            (0, -0.31, 3.0),
            (1, 0.03, 3.0),
        ];
        for (picture_start, sound_start, seconds) in films {
            for (container, pictures) in [
                ("mp4", "libx264"),
                ("mp4", "mpeg4"),
                ("matroska", "libx264"),
                ("mpegts", "libx264"),
            ] {
                for sounds in [&["libmp3lame"], &["ac3"]] {
                    let film = Film {
                        container,
                        pictures,
                        sounds,
                        picture_start,
                        sound_start,
                        seconds,
                        ..Film::default()
                    };
                    if let Some((before, after)) = in_step(&film, codec) {
                        // Nothing but what nobody saw a picture of is missing.
                        let end = before.end.min(before.last_picture + 0.04);
                        assert!((after.end - end).abs() < 0.05, "{film:?} in {codec:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn sound_ends_with_the_pictures_or_before_them() {
    for codec in codecs() {
        for seconds in [1.3, 9.0] {
            let film = Film {
                seconds,
                ..Film::default()
            };
            if let Some((before, after)) = in_step(&film, codec) {
                let end = before.end.min(3.0);
                assert!((after.end - end).abs() < 0.04, "{} is not {end}", after.end);
            }
        }
    }
}

#[test]
fn of_several_streams_the_best_is_copied() {
    for codec in codecs() {
        let film = Film {
            sounds: &["ac3", "aac"],
            ..Film::default()
        };
        if let Some((before, after)) = in_step(&film, codec) {
            assert_eq!(before.codec, after.codec);
        }
    }
}

#[test]
fn packets_that_are_missing_leave_the_rest_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let film = Film {
        container: "matroska",
        sounds: &["ac3"],
        ..Film::default()
    };
    if !film.possible() {
        return;
    }
    for codec in codecs() {
        // A packet lasts 32 ms.
        for (missing, pauses) in [(8..11, false), (4..28, true)] {
            film.edit(&source, |number, _| !missing.contains(&number));
            match (copied(&source, codec), pauses && codec == Codec::Mpeg4) {
                (Ok((output, _)), false) => {
                    let heard = heard(&output).unwrap();
                    let apart = heard.tone - heard.white;
                    assert!(apart.abs() < 0.033, "{apart} s in {codec:?}");
                }
                (Err(error @ SoundError::Pause { .. }), true) => {
                    let text = error.to_string();
                    assert!(text.contains("0.1 s") && text.contains(".mp4"), "{text}");
                }
                (other, _) => panic!("{other:?} in {codec:?}"),
            }
        }
    }
}

#[test]
fn sound_with_holes_stays_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.ts");
    let film = Film {
        container: "mpegts",
        sounds: &["libmp3lame"],
        ..Film::default()
    };
    if !film.possible() {
        return;
    }
    film.make(&source);
    let whole = heard(&source).unwrap();
    let mut bytes = fs::read(&source).unwrap();
    // A transport stream is made of pieces of 188 bytes, which say what they belong to. Some of the sound never came.
    let is_sound = |piece: &[u8]| u16::from_be_bytes([piece[1], piece[2]]) & 0x1fff == 0x101;
    let pieces = bytes.chunks_exact_mut(188).filter(|piece| is_sound(piece));
    let mut lost = 0;
    for piece in pieces.skip(8).step_by(40) {
        piece[1..3].copy_from_slice(&[0x1f, 0xff]);
        lost += 1;
    }
    assert!(lost > 2, "{lost}");
    fs::write(&source, bytes).unwrap();
    for codec in codecs() {
        let (output, _) = copied(&source, codec).unwrap();
        let heard = heard(&output).unwrap();
        assert!(
            heard.packets.len() + 5 * lost > whole.packets.len(),
            "{heard:?}"
        );
        let apart = heard.tone - heard.white;
        assert!(apart.abs() < IN_STEP, "{apart} s in {codec:?}");
    }
}

#[test]
fn a_packet_that_breaks_off_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.avi");
    let film = Film {
        container: "avi",
        sounds: &["aac"],
        ..Film::default()
    };
    if !film.possible() {
        return;
    }
    film.make(&source);
    let whole = heard(&source).unwrap();
    let bytes = fs::read(&source).unwrap();
    let mut chunks = bytes.windows(4).enumerate();
    chunks.find(|(_, name)| name == b"movi");
    let (last, _) = chunks.filter(|(_, name)| name == b"01wb").nth(49).unwrap();
    fs::write(&source, &bytes[..last + 100]).unwrap();
    for codec in codecs() {
        let (output, result) = copied(&source, codec).unwrap();
        assert_eq!((result.packets, result.damaged), (49, 1), "{codec:?}");
        assert!(
            heard(&output).unwrap().packets == whole.packets[..49],
            "{codec:?}"
        );
    }
}

#[test]
fn of_a_file_that_is_cut_short_what_is_there_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    for (container, sounds) in [
        ("matroska", &["aac"][..]),
        ("mpegts", &["ac3"]),
        ("avi", &["pcm_s16le"]),
    ] {
        let film = Film {
            container,
            sounds,
            ..Film::default()
        };
        if !film.possible() {
            continue;
        }
        film.make(&source);
        let bytes = fs::read(&source).unwrap();
        fs::write(&source, &bytes[..bytes.len() * 6 / 10]).unwrap();
        for codec in codecs() {
            if codec == Codec::H264 && sounds == ["pcm_s16le"] {
                continue;
            }
            let (output, _) = copied(&source, codec).unwrap();
            let heard = heard(&output).unwrap();
            let apart = heard.tone - heard.white;
            assert!(apart.abs() < IN_STEP, "{apart} s, {film:?} in {codec:?}");
            assert!(
                heard.end > 1.2 && heard.end < heard.last_picture + 0.1,
                "{heard:.2?}"
            );
        }
    }
}

#[test]
fn a_video_without_sound_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let film = Film {
        sounds: &[],
        ..Film::default()
    };
    film.make(&source);
    assert!(
        Video::open(&source, LIMIT)
            .unwrap()
            .sound()
            .unwrap()
            .is_none()
    );
}

#[test]
fn sound_that_is_heard_after_the_pictures_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let film = Film {
        sound_start: 4.0,
        ..Film::default()
    };
    film.make(&source);
    for codec in codecs() {
        let error = copied(&source, codec).unwrap_err();
        assert!(matches!(error, SoundError::Apart), "{error:?}");
    }
}

#[test]
fn sound_of_which_nobody_knows_what_it_is_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let film = Film::default();
    film.make(&source);
    let mut bytes = fs::read(&source).unwrap();
    for name in [b"mp4a", b"esds"] {
        let at = bytes.windows(4).rposition(|four| four == name).unwrap();
        bytes[at..at + 4].copy_from_slice(b"zzzz");
    }
    fs::write(&source, bytes).unwrap();
    for codec in codecs() {
        let error = copied(&source, codec).unwrap_err();
        assert!(matches!(error, SoundError::Damaged { .. }), "{error:?}");
    }
}

#[test]
fn whoever_is_asked_may_end_it_and_a_full_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.avi");
    let film = Film {
        container: "avi",
        sounds: &["pcm_s16le"],
        ..Film::default()
    };
    film.make(&source);
    let join = |output: &Path, packets: usize| {
        let mut left = packets;
        let go_on = || match left {
            0 => Err(Ended::Enough),
            _ => {
                left -= 1;
                Ok(())
            }
        };
        let sound = Video::open(&source, LIMIT)
            .unwrap()
            .sound()
            .unwrap()
            .unwrap();
        sound.join(&source, output, Codec::Mpeg4, go_on)
    };
    let output = folder.path().join("output.avi");
    assert!(matches!(join(&output, 20), Err(Ended::Enough)));
    assert!(!output.exists());
    join(&output, usize::MAX).unwrap();
    assert!(output.exists());
    #[cfg(target_os = "linux")]
    match join(Path::new("/dev/full"), usize::MAX) {
        Err(Ended::Sound(SoundError::Write(error))) => assert!(error.disk_full(), "{error:?}"),
        other => panic!("{other:?}"),
    }
}

#[derive(Debug)]
enum Ended {
    Enough,
    Sound(SoundError),
}

impl From<SoundError> for Ended {
    fn from(error: SoundError) -> Self {
        Self::Sound(error)
    }
}
