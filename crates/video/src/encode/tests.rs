use ffmpeg_next::codec;

use super::notice::strip_user_data;
use super::*;

const SIDE: u32 = 64;

/// A bright square that moves to the right over a dark gradient.
fn picture(index: usize) -> Vec<u8> {
    (0..SIDE as usize * SIDE as usize)
        .flat_map(|pixel| {
            let (x, y) = (pixel % SIDE as usize, pixel / SIDE as usize);
            if (index * 2..index * 2 + 16).contains(&x) && (20..36).contains(&y) {
                [230, 60, 40]
            } else {
                [x as u8, 90, y as u8]
            }
        })
        .collect()
}

fn write_video(path: &Path, codec: Codec, frames: usize) {
    let mut writer = VideoWriter::create(path, SIDE, SIDE, 25, codec).unwrap();
    for index in 0..frames {
        writer.write(&picture(index)).unwrap();
    }
    writer.finish().unwrap();
}

fn codecs() -> Vec<Codec> {
    [Codec::H264, Codec::Mpeg4]
        .into_iter()
        .filter(|codec| codec.encoder_name().is_some())
        .collect()
}

/// Decodes everything into RGB frames and says the average frame rate.
fn read_back(path: &Path) -> (Vec<Vec<u8>>, Rational) {
    let mut input = format::input(path).unwrap();
    let stream = input.streams().next().unwrap();
    let rate = stream.avg_frame_rate();
    let mut decoder = codec::context::Context::from_parameters(stream.parameters())
        .unwrap()
        .decoder()
        .video()
        .unwrap();
    let mut scaler = scaling::Context::get(
        format::Pixel::YUV420P,
        SIDE,
        SIDE,
        format::Pixel::RGB24,
        SIDE,
        SIDE,
        scaling::Flags::BILINEAR,
    )
    .unwrap();
    let mut frames = Vec::new();
    let mut collect = |decoder: &mut ffmpeg::decoder::Video| {
        let mut decoded = frame::Video::empty();
        while decoder.receive_frame(&mut decoded).is_ok() {
            let mut rgb = frame::Video::empty();
            scaler.run(&decoded, &mut rgb).unwrap();
            let row = SIDE as usize * 3;
            frames.push(
                rgb.data(0)
                    .chunks(rgb.stride(0))
                    .flat_map(|line| line[..row].to_vec())
                    .collect::<Vec<u8>>(),
            );
        }
    };
    for (_, packet) in input.packets() {
        decoder.send_packet(&packet).unwrap();
        collect(&mut decoder);
    }
    decoder.send_eof().unwrap();
    collect(&mut decoder);
    (frames, rate)
}

#[test]
fn frames_come_back_in_number_rate_and_colour() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let path = folder.path().join("a").with_extension(codec.extension());
        write_video(&path, codec, 20);
        let (frames, rate) = read_back(&path);
        assert_eq!(frames.len(), 20, "{codec:?}");
        assert_eq!(f64::from(rate), 25.0, "{codec:?}");
        for (index, frame) in frames.iter().enumerate() {
            let expected = picture(index);
            let error: f64 = frame
                .iter()
                .zip(&expected)
                .map(|(a, b)| f64::from(a.abs_diff(*b)))
                .sum::<f64>()
                / frame.len() as f64;
            assert!(error < 6.0, "{codec:?}, frame {index}: {error}");
        }
    }
}

/// When each packet of a file is shown and for how long, in seconds.
fn times(path: &Path) -> Vec<(f64, f64)> {
    let mut input = format::input(path).unwrap();
    let base = f64::from(input.stream(0).unwrap().time_base());
    input
        .packets()
        .map(|(_, packet)| {
            let start = packet.pts().unwrap() as f64 * base;
            (start, packet.duration() as f64 * base)
        })
        .collect()
}

/// Ends of frames that come as phones record them, now sooner and now later.
const ENDS: [f64; 6] = [0.033, 0.066, 0.133, 0.134, 0.5, 0.75];

fn write_timed(path: &Path, codec: Codec) {
    let size = Size {
        width: SIDE,
        height: SIDE,
    };
    let mut writer = VideoWriter::create_timed(path, size, 8.0, codec).unwrap();
    for (index, end) in ENDS.into_iter().enumerate() {
        writer.write_until(&picture(index), end).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn frames_are_shown_as_long_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("timed.mp4");
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    write_timed(&path, Codec::H264);
    let found = times(&path);
    assert_eq!(found.len(), ENDS.len());
    let mut began = 0.0;
    for ((start, duration), end) in found.into_iter().zip(ENDS) {
        assert!((start - began).abs() < 1e-6, "{start} is not {began}");
        assert!((start + duration - end).abs() < 1e-6, "{end}");
        began = end;
    }
}

#[test]
fn frames_of_no_duration_are_kept_where_times_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("at-once.mp4");
    if Codec::H264.encoder_name().is_none() {
        return;
    }
    let size = Size {
        width: SIDE,
        height: SIDE,
    };
    let mut writer = VideoWriter::create_timed(&path, size, 30.0, Codec::H264).unwrap();
    for end in [0.5, 0.5, 0.5, 1.0] {
        writer.write_until(&picture(0), end).unwrap();
    }
    writer.finish().unwrap();
    let found = times(&path);
    assert_eq!(found.len(), 4);
    let (start, duration) = found[3];
    assert!((start + duration - 1.0).abs() < 1e-6);
}

#[test]
fn a_container_of_one_rate_repeats_frames_and_leaves_some_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("timed.avi");
    write_timed(&path, Codec::Mpeg4);
    let (frames, rate) = read_back(&path);
    assert_eq!((frames.len(), f64::from(rate)), (6, 8.0));
    // The ends lie next to ticks 0, 1, 1, 1, 4 and 6.
    let shows = |frame: &[u8], index: usize| {
        let pairs = frame.iter().zip(picture(index));
        pairs.map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>()
    };
    let nearest = |frame: &Vec<u8>| (0..ENDS.len()).min_by_key(|index| shows(frame, *index));
    let seen: Vec<_> = frames.iter().filter_map(nearest).collect();
    assert_eq!(seen, [1, 4, 4, 4, 5, 5]);
}

#[test]
fn equal_frames_give_equal_bytes_without_version_strings() {
    let folder = tempfile::tempdir().unwrap();
    for codec in codecs() {
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            write_video(path, codec, 12);
        }
        let [a, b] = paths.map(|path| std::fs::read(path).unwrap());
        assert_eq!(a, b, "{codec:?}");
        for word in [&b"x264"[..], b"Lavf", b"Lavc"] {
            assert!(
                !a.windows(word.len()).any(|window| window == word),
                "{codec:?} names its encoder"
            );
        }
    }
}

#[test]
fn a_writer_that_is_not_finished_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.avi");
    let mut writer = VideoWriter::create(&path, SIDE, SIDE, 25, Codec::Mpeg4).unwrap();
    writer.write(&picture(0)).unwrap();
    assert!(path.exists());
    drop(writer);
    assert!(!path.exists());
    let writer = VideoWriter::create(&path, SIDE, SIDE, 25, Codec::Mpeg4).unwrap();
    assert!(matches!(writer.finish(), Err(EncodeError::Empty { .. })));
    assert!(!path.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named_as_such_and_the_device_survives() {
    let path = Path::new("/dev/full");
    for codec in codecs() {
        let attempt = || -> Result<(), EncodeError> {
            let mut writer = VideoWriter::create(path, SIDE, SIDE, 25, codec)?;
            for index in 0..10 {
                writer.write(&picture(index))?;
            }
            writer.finish()
        };
        let error = attempt().unwrap_err();
        assert!(error.disk_full(), "{codec:?}: {error:?}");
        assert_eq!(error.path(), path);
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }
    assert!(path.exists());
}

#[test]
fn what_cannot_be_encoded_is_refused_before_a_file_appears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.avi");
    for (width, height, rate) in [(63, 64, 25), (64, 8, 25), (64, 64, 0)] {
        let error = VideoWriter::create(&path, width, height, rate, Codec::Mpeg4).unwrap_err();
        assert!(matches!(error, EncodeError::Geometry { .. }), "{error}");
        assert!(error.to_string().contains("odd.avi"), "{error}");
    }
    assert!(!path.exists());
    let missing = folder.path().join("no/such/folder.avi");
    let error = VideoWriter::create(&missing, 64, 64, 25, Codec::Mpeg4).unwrap_err();
    assert!(matches!(error, EncodeError::Write { .. }), "{error}");
    let mut writer = VideoWriter::create(&path, 64, 64, 25, Codec::Mpeg4).unwrap();
    let error = writer.write(&[0; 10]).unwrap_err();
    assert!(matches!(error, EncodeError::FrameSize { given: 10, .. }));
}

#[test]
fn only_the_version_notice_is_cut_off() {
    let notice = [0, 0, 0, 1, 0x06, 5, 9, 9, 9, 0x80];
    let slice = [0, 0, 0, 1, 0x65, 1, 2, 3];
    let with_notice = [&notice[..], &slice].concat();
    assert_eq!(strip_user_data(&with_notice).as_deref(), Some(&slice[..]));
    assert_eq!(strip_user_data(&slice), None);
    let timing = [0, 0, 1, 0x06, 1, 9, 0x80, 0, 0, 1, 0x65, 1];
    assert_eq!(strip_user_data(&timing), None);
}
