//! Updates as messages: what comes back, what is refused, and what error feedback makes up for.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

use fedact_federation::layout::{Layout, TensorLayout};
use fedact_federation::message::{
    Channel, Codec, DecodeError, Decoder, Encoder, Feedback, Header, Message, MessageError,
    Numbers, apply, delta,
};
use proptest::prelude::*;

const HEADER: Header = Header {
    run: 0x1122_3344_5566_7788,
    task: 9,
    client: 4,
    base_version: 7,
    samples: 36,
};

fn codec() -> impl proptest::strategy::Strategy<Value = Codec> {
    let numbers = prop_oneof![
        Just(Numbers::Fp32),
        Just(Numbers::Fp16),
        Just(Numbers::Int8)
    ];
    let keep = prop::option::of(0.001..=1.0_f64);
    (numbers, keep, 8..600_u32, prop::option::of(1..6_i32)).prop_map(
        |(numbers, keep, block, zstd)| Codec {
            numbers,
            keep,
            block,
            zstd,
        },
    )
}

/// Deltas as training makes them: of mixed magnitudes, some zeros.
fn numbers() -> impl proptest::strategy::Strategy<Value = Vec<f32>> {
    let number = prop_oneof![
        4 => -1e-2..1e-2_f32,
        1 => -3.0..3.0_f32,
        1 => Just(0.0_f32),
        1 => (-30..4_i32, -1.0..1.0_f32).prop_map(|(power, sign)| sign * 10.0_f32.powi(power)),
    ];
    prop::collection::vec(number, 1..1500)
}

fn pair(codec: &Codec, length: usize) -> (Encoder, Decoder) {
    let layout = Layout::vector(length);
    let encoder = Encoder::new(&layout, codec.clone()).unwrap();
    (encoder, Decoder::new(&layout))
}

fn encoded(codec: &Codec, delta: &[f32], seed: u64) -> Vec<u8> {
    let (encoder, _) = pair(codec, delta.len());
    encoder.encode(&HEADER, delta, seed).unwrap()
}

/// A checksum that is right: what somebody hostile sends has one.
fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= 64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..8]);
        hasher.update(&bytes[12..]);
        let checksum = hasher.finalize();
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
}

proptest! {
    #[test]
    fn every_number_comes_back_within_its_codecs_error(
        codec in codec(),
        delta in numbers(),
        seed in any::<u64>(),
    ) {
        let (_, decoder) = pair(&codec, delta.len());
        let message = decoder.decode(&encoded(&codec, &delta, seed)).unwrap();
        prop_assert_eq!(message.header, HEADER);
        prop_assert_eq!(message.delta.len(), delta.len());
        // Which numbers were sent: those of the largest magnitude, as many as the codec says.
        let kept = codec.kept(delta.len());
        let mut magnitudes: Vec<f32> = delta.iter().map(|number| number.abs()).collect();
        magnitudes.sort_by(|a, b| b.total_cmp(a));
        let (least, largest) = (magnitudes[kept - 1], magnitudes[0]);
        let mut at_threshold = magnitudes[..kept].iter().filter(|number| **number == least).count();
        for (number, back) in delta.iter().zip(&message.delta) {
            let sent = number.abs() > least || (number.abs() == least && at_threshold > 0);
            if number.abs() == least && at_threshold > 0 {
                at_threshold -= 1;
            }
            if !sent {
                prop_assert_eq!(*back, 0.0);
                continue;
            }
            let error = f64::from((number - back).abs());
            let magnitude = f64::from(number.abs());
            let most = match codec.numbers {
                Numbers::Fp32 => 0.0,
                Numbers::Fp16 if magnitude > 65504.0 => magnitude,
                Numbers::Fp16 => (magnitude * 2_f64.powi(-11)).max(2_f64.powi(-25)),
                // The block's largest is at most the message's; a hair for the division.
                Numbers::Int8 => f64::from(largest) / 127.0 * (1.0 + 1e-5) + 1e-40,
            };
            prop_assert!(error <= most, "{number} came back as {back}");
        }
    }

    #[test]
    fn int8_errs_by_no_more_than_the_scale_of_its_own_block(
        delta in numbers(),
        block in 8..100_u32,
        seed in any::<u64>(),
    ) {
        let codec = Codec { numbers: Numbers::Int8, block, ..Codec::default() };
        let (_, decoder) = pair(&codec, delta.len());
        let back = decoder.decode(&encoded(&codec, &delta, seed)).unwrap().delta;
        for (block, back) in delta.chunks(block as usize).zip(back.chunks(block as usize)) {
            let scale = block.iter().fold(0.0_f32, |most, number| most.max(number.abs())) / 127.0;
            for (number, back) in block.iter().zip(back) {
                prop_assert!((number - back).abs() <= scale * 1.0001 + 1e-40, "{number} {back}");
            }
        }
    }

    #[test]
    fn a_message_follows_from_its_seed_and_takes_the_bytes_foretold(
        codec in codec(),
        delta in numbers(),
        seed in any::<u64>(),
    ) {
        let bytes = encoded(&codec, &delta, seed);
        prop_assert_eq!(&bytes, &encoded(&codec, &delta, seed));
        let nominal = codec.nominal_bytes(delta.len());
        if codec.keep.is_none() {
            // zstd is left out where it does not help.
            prop_assert!(bytes.len() as u64 <= nominal);
            prop_assert!(codec.zstd.is_some() || bytes.len() as u64 == nominal);
        } else {
            // A gap of up to 1500 may take a second byte.
            prop_assert!(bytes.len() as u64 <= nominal + codec.kept(delta.len()) as u64);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        length in 1..200_usize,
    ) {
        let (_, decoder) = pair(&Codec::default(), length);
        prop_assert!(decoder.decode(&bytes).is_err());
    }

    #[test]
    fn hostile_bodies_under_a_right_header_give_a_reason_or_a_model_of_the_right_size(
        codec in codec(),
        length in 1..300_usize,
        body in prop::collection::vec(any::<u8>(), 0..1300),
        announced in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
    ) {
        let (_, decoder) = pair(&codec, length);
        let mut bytes = encoded(&codec, &vec![0.5; length], 1);
        bytes.truncate(64);
        let announced = announced.unwrap_or(body.len() as u32);
        bytes[20..24].copy_from_slice(&announced.to_le_bytes());
        bytes.extend(&body);
        reseal(&mut bytes);
        match decoder.decode(&bytes) {
            Ok(message) => prop_assert_eq!(message.delta.len(), length),
            Err(error) => prop_assert!(!error.code().is_empty() && !error.to_string().is_empty()),
        }
    }

    #[test]
    fn a_message_cut_short_or_too_long_is_refused(
        codec in codec(),
        delta in numbers(),
        cut in any::<prop::sample::Index>(),
        resealed in any::<bool>(),
    ) {
        let (_, decoder) = pair(&codec, delta.len());
        let bytes = encoded(&codec, &delta, 1);
        let mut short = bytes[..cut.index(bytes.len())].to_vec();
        let mut long = bytes.clone();
        long.push(0);
        if resealed {
            reseal(&mut short);
            reseal(&mut long);
        }
        prop_assert!(decoder.decode(&short).is_err());
        prop_assert!(decoder.decode(&long).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed_wherever_it_is(
        codec in codec(),
        delta in numbers(),
        place in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let (_, decoder) = pair(&codec, delta.len());
        let mut bytes = encoded(&codec, &delta, 1);
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        prop_assert!(decoder.decode(&bytes).is_err());
        prop_assert!(decoder.header(&bytes).is_err());
    }

    #[test]
    fn with_feedback_what_was_sent_in_all_is_the_truth_but_for_the_last_residual(
        codec in codec(),
        deltas in (2..40_usize).prop_flat_map(|length| {
            prop::collection::vec(prop::collection::vec(-1.0..1.0_f32, length), 1..40)
        }),
        restart in any::<prop::sample::Index>(),
    ) {
        let length = deltas[0].len();
        let (encoder, decoder) = pair(&codec, length);
        let mut feedback = Feedback::default();
        let (mut truth, mut sent) = (vec![0.0_f64; length], vec![0.0_f64; length]);
        let restart = restart.index(deltas.len());
        for (task, delta) in deltas.iter().enumerate() {
            if task == restart {
                // Through a checkpoint.
                feedback = Feedback::resume(feedback.residual().to_vec());
            }
            let header = Header { task: task as u64, ..HEADER };
            let bytes = feedback.encode(&encoder, &decoder, &header, delta.clone(), 3).unwrap();
            let back = decoder.decode(&bytes).unwrap().delta;
            for index in 0..length {
                truth[index] += f64::from(delta[index]);
                sent[index] += f64::from(back[index]);
            }
        }
        for index in 0..length {
            let left = f64::from(feedback.residual().get(index).copied().unwrap_or(0.0));
            // fp32 sums of up to 40 numbers of at most 40.
            prop_assert!((truth[index] - sent[index] - left).abs() < 1e-3);
        }
        // Karimireddy et al. 2019, lemma 3: with a compressor that leaves out at most 1-d of the square, the residual's square
        // is at most 4(1-d)/d² of the largest delta's. Top-k leaves out 1 - kept/length; fp32 adds nothing to it.
        if codec.numbers == Numbers::Fp32 {
            let square = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            let largest = deltas.iter().map(|row| square(row)).fold(0.0, f64::max);
            let share = codec.kept(length) as f64 / length as f64;
            let most = 4.0 * (1.0 - share) / share.powi(2) * largest;
            prop_assert!(square(feedback.residual()) <= most + 1e-9);
        }
    }
}

#[test]
fn a_message_for_another_network_is_refused_for_that() {
    let bytes = encoded(&Codec::default(), &[1.0; 6], 1);
    let decoder = Decoder::new(&Layout::vector(7));
    assert_eq!(decoder.decode(&bytes).unwrap_err().code(), "wrong-layout");
    let other = Layout::new(vec![TensorLayout {
        name: "y".into(),
        shape: vec![2, 3],
    }]);
    let error = Decoder::new(&other).decode(&bytes).unwrap_err();
    assert!(matches!(error, MessageError::Layout { .. }), "{error}");
    let encoder = Encoder::new(&other, Codec::default()).unwrap();
    let error = encoder.encode(&HEADER, &[1.0; 7], 1).unwrap_err();
    assert!(
        error.to_string().contains("7 numbers for a model of 6"),
        "{error}"
    );
}

#[test]
fn a_body_that_unpacks_to_more_than_it_announces_is_refused() {
    // 40 MB of zeros in a few kilobytes, under a header that announces the 4,000 bytes of the model.
    let bomb = zstd::bulk::compress(&vec![0; 40 << 20], 3).unwrap();
    let codec = Codec {
        zstd: Some(1),
        ..Codec::default()
    };
    let mut bytes = encoded(&codec, &[0.0; 1000], 1);
    assert_eq!(bytes[6], 2, "compressed");
    bytes.truncate(64);
    bytes.extend(&bomb);
    reseal(&mut bytes);
    let decoder = Decoder::new(&Layout::vector(1000));
    let error = decoder.decode(&bytes).unwrap_err();
    assert!(matches!(error, MessageError::Compression(_)), "{error}");
    // Announcing it does not help: the model is not that large.
    bytes[20..24].copy_from_slice(&(40_u32 << 20).to_le_bytes());
    reseal(&mut bytes);
    let error = decoder.decode(&bytes).unwrap_err();
    assert!(matches!(error, MessageError::BodyLength { .. }), "{error}");
}

#[test]
fn version_1_is_read_as_it_was_written() {
    // Kept bytes: a change of the format must change its version.
    let codec = Codec {
        numbers: Numbers::Int8,
        keep: Some(0.5),
        block: 8,
        zstd: None,
    };
    let bytes = encoded(&codec, &[127.0, 0.25, -3.0, 0.0], 1);
    let written = "46445550010201\
        00acbb1608040000000400000010000000\
        88776655443322110900000000000000070000000000000024000000000000009a546df2ace26a23\
        020000000001080000000000803f7ffd";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, written.replace(' ', ""));
    let decoder = Decoder::new(&Layout::vector(4));
    assert_eq!(
        decoder.decode(&bytes).unwrap().delta,
        [127.0, 0.0, -3.0, 0.0]
    );
}

#[test]
fn the_server_has_the_clients_model_again() {
    let (base, trained) = ([1.0, -2.0, 0.5], [1.5, -2.25, 0.5]);
    let bytes = encoded(&Codec::default(), &delta(&base, &trained), 1);
    let message = Decoder::new(&Layout::vector(3)).decode(&bytes).unwrap();
    assert_eq!(apply(&base, message.delta), trained);
}

#[test]
fn rubbish_of_one_task_does_not_spoil_the_next() {
    let codec = Codec {
        numbers: Numbers::Int8,
        ..Codec::default()
    };
    let (encoder, decoder) = pair(&codec, 3);
    let mut feedback = Feedback::default();
    let rubbish = vec![1.0, f32::NAN, 2.0];
    let bytes = feedback
        .encode(&encoder, &decoder, &HEADER, rubbish, 1)
        .unwrap();
    let sent = decoder.decode(&bytes).unwrap().delta;
    assert!(sent.iter().any(|number| !number.is_finite()));
    assert!(feedback.residual().iter().all(|number| number.is_finite()));
}

#[test]
fn a_channel_resumed_from_its_residuals_goes_on_bit_for_bit() {
    let codec = Codec {
        numbers: Numbers::Int8,
        keep: Some(0.4),
        ..Codec::default()
    };
    let layout = Layout::vector(5);
    let channel = || Channel::new(&layout, codec.clone(), true, 7).unwrap();
    let base = [0.5_f32; 5];
    let send = |channel: &mut Channel, task: u64| {
        let trained = std::array::from_fn::<f32, 5, _>(|i| 0.5 + 0.1 * (i as f32 - task as f32));
        let header = Header {
            task,
            client: (task % 3) as u32,
            ..HEADER
        };
        channel.carry(&header, &base, &trained).unwrap()
    };
    let mut whole = channel();
    let mut killed = channel();
    for task in 0..7 {
        assert_eq!(send(&mut whole, task), send(&mut killed, task));
    }
    let kept: Vec<(u32, Vec<f32>)> = killed
        .residuals()
        .map(|(client, residual)| (client, residual.to_vec()))
        .collect();
    assert_eq!(kept.len(), 3);
    let mut resumed = channel();
    resumed.restore(kept);
    for task in 7..20 {
        assert_eq!(send(&mut whole, task), send(&mut resumed, task));
    }
    let error = resumed.carry(&HEADER, &base, &[0.0; 4]).unwrap_err();
    assert_eq!(error.code(), "not-sendable");
}

/// Reads a message from where it lies, and says how much was read at a time at most.
fn from_a_file(decoder: &Decoder, file: &[u8]) -> (Result<Message, DecodeError>, usize) {
    let mut most = 0;
    let decoded = decoder.decode_from(file.len() as u64, |bytes, place| {
        most = most.max(bytes.len());
        let place = place as usize;
        let there = file.get(place..place + bytes.len());
        bytes.copy_from_slice(there.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    });
    (decoded, most)
}

/// What came of reading, to be compared.
fn outcome<E>(
    read: Result<Message, E>,
    code: impl Fn(E) -> &'static str,
) -> Result<(Header, Vec<u32>), &'static str> {
    let bits = |message: Message| {
        message
            .delta
            .iter()
            .map(|number| number.to_bits())
            .collect()
    };
    read.map(|message| (message.header, bits(message)))
        .map_err(code)
}

fn code(error: DecodeError) -> &'static str {
    match error {
        DecodeError::Message(error) => error.code(),
        DecodeError::Read(error) => panic!("{error}"),
    }
}

proptest! {
    #[test]
    fn a_message_in_a_file_is_what_it_is_in_memory_whole_or_damaged(
        codec in codec(),
        numbers in numbers(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        cut in any::<prop::sample::Index>(),
        honest in any::<bool>(),
    ) {
        let (_, decoder) = pair(&codec, numbers.len());
        let whole = encoded(&codec, &numbers, 3);
        let mut changed = whole.clone();
        let place = at.index(changed.len());
        changed[place] ^= 1 << bit;
        if !honest {
            reseal(&mut changed);
        }
        let cut = &whole[..cut.index(whole.len())];
        for bytes in [&whole[..], &changed, cut] {
            let in_memory = outcome(decoder.decode(bytes), |error| error.code());
            let in_a_file = outcome(from_a_file(&decoder, bytes).0, code);
            prop_assert_eq!(in_a_file, in_memory);
        }
    }
}

#[test]
fn every_bit_of_a_header_means_the_same_in_a_file() {
    let numbers = [0.5, -1.0, 3.0];
    let (_, decoder) = pair(&Codec::default(), numbers.len());
    let whole = encoded(&Codec::default(), &numbers, 3);
    for bit in 0..8 * 64 {
        for honest in [true, false] {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if !honest {
                reseal(&mut bytes);
            }
            let in_memory = outcome(decoder.decode(&bytes), |error| error.code());
            let in_a_file = outcome(from_a_file(&decoder, &bytes).0, code);
            assert_eq!(in_a_file, in_memory, "bit {bit}");
        }
    }
}

#[test]
fn a_message_as_long_as_the_model_is_never_in_memory_as_a_whole() {
    let numbers: Vec<f32> = (0..200_001).map(|nth| (nth as f32).sin()).collect();
    let (_, decoder) = pair(&Codec::default(), numbers.len());
    let file = encoded(&Codec::default(), &numbers, 3);
    let (read, most) = from_a_file(&decoder, &file);
    assert_eq!(read.unwrap().delta, numbers);
    assert!(most <= 1 << 16, "{most}");
    // A disk that does not give what it took is said to be one.
    let torn = decoder.decode_from(file.len() as u64, |bytes, place| {
        let there = &file[place as usize..];
        if place > 500_000 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.copy_from_slice(&there[..bytes.len()]);
        Ok(())
    });
    assert!(matches!(torn, Err(DecodeError::Read(_))), "{torn:?}");
}
