//! Messages and journals as bytes, whole and damaged.
#![allow(clippy::unwrap_used)] // helpers are outside of test functions

#[path = "process/problem.rs"]
#[allow(dead_code)]
mod problem;

use std::num::NonZeroU64;

use fedact_federation::message::{Codec, Encoder, Header};
use fedact_fleet::engine::{Engine, replay};
use fedact_fleet::identity::{Key, PublicKey};
use fedact_fleet::journal::{Happened, Journal, Record};
use fedact_fleet::wire::{
    Alive, Assignment, Chunk, Difference, Down, FORMAT_VERSION, Failed, Offer, Orders, Took,
    Turned, Up, Verdict, Wanted,
};
use fedact_fleet::{Digest, Name};
use proptest::prelude::*;

const SEED: &str = "SUAJGA2D4K3MLKRQFTGWIIBEKM3M3N4HNHVHYLJHOHQ7JPN4HX2EIUN5LA";

fn key() -> Key {
    // Any seed does; a fixed one lets a failure come again.
    Key::from_seed(SEED, "the test").unwrap_or_else(|_| Key::generate())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn offer() -> impl Strategy<Value = Offer> {
    let (numbers, holds) = (any::<[u64; 10]>(), prop::option::of(digest()));
    (numbers, digest(), holds).prop_map(|(numbers, digest, holds)| {
        let [
            run,
            task,
            base_version,
            samples,
            bytes,
            from,
            clips,
            took @ ..,
        ] = numbers;
        let [fetched_bytes, fetching_ms, training_ms] = took;
        Offer {
            fleet: name("lab"),
            run,
            device: name("nano-1"),
            task,
            base_version,
            samples,
            bytes,
            digest,
            took: Took {
                fetched_bytes,
                fetching_ms,
                training_ms,
            },
            clips: NonZeroU64::new(clips),
            holds,
            from,
        }
    })
}

fn assignment() -> impl Strategy<Value = Assignment> {
    (any::<[u64; 7]>(), any::<u32>(), digest()).prop_map(|(numbers, client, model)| {
        let [
            task,
            version,
            samples,
            nth,
            samples_before,
            spent_samples,
            budget_samples,
        ] = numbers;
        Assignment {
            task,
            client,
            version,
            samples,
            nth,
            samples_before,
            spent_samples,
            budget_samples,
            model,
        }
    })
}

fn difference() -> impl Strategy<Value = Difference> {
    (digest(), digest(), any::<bool>()).prop_map(|(base, result, exact)| Difference {
        base,
        result,
        exact,
    })
}

fn orders() -> impl Strategy<Value = Orders> {
    let verdict = (any::<u64>(), prop::option::of("[a-z-]{1,20}"))
        .prop_map(|(task, refused)| Verdict { task, refused });
    let wanted = any::<[u64; 2]>().prop_map(|[task, from]| Wanted { task, from });
    (
        any::<[u64; 2]>(),
        prop::option::of(assignment()),
        prop::option::of(difference()),
        prop::option::of(verdict),
        prop::option::of(wanted),
        prop::option::of("[a-z-]{1,20}"),
    )
        .prop_map(
            |([run, sequence], assignment, difference, verdict, wanted, finished)| Orders {
                fleet: name("lab"),
                run,
                device: name("nano-1"),
                sequence,
                assignment,
                difference,
                verdict,
                wanted,
                finished,
            },
        )
}

fn open(bytes: &[u8], run: u64, signer: &PublicKey) -> Result<String, Turned> {
    let opened = Up::open(bytes, &name("lab"), run, &name("nano-1"), signer);
    opened.map(|message| format!("{message:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_offer_comes_back_and_every_changed_bit_of_it_is_noticed(
        offer in offer(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let key = key();
        let public = key.public();
        let mut bytes = offer.seal(&key);
        let expected = format!("{:?}", Up::Offer(offer.clone()));
        prop_assert_eq!(open(&bytes, offer.run, &public).unwrap(), expected);
        prop_assert_eq!(open(&bytes, offer.run ^ 1, &public), Err(Turned::OtherRun));
        let other = Key::generate().public();
        prop_assert_eq!(open(&bytes, offer.run, &other), Err(Turned::WrongSignature));
        prop_assert!(open(&bytes[..cut.index(bytes.len())], offer.run, &public).is_err());
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        // A chunk has no signature; an offer that calls itself one means nothing.
        if let Ok(message) = open(&bytes, offer.run, &public) {
            prop_assert!(place == 5 && message.starts_with("Chunk"), "{}", message);
        }
    }

    #[test]
    fn short_messages_of_devices_come_back([run, count, orders, clips] in any::<[u64; 4]>(), ready in any::<bool>(), holds in prop::option::of(digest()), reason in ".{0,40}") {
        let key = key();
        let (fleet, device) = (name("lab"), name("nano-1"));
        let clips = NonZeroU64::new(clips % 4);
        let alive = Alive { fleet: fleet.clone(), run, device: device.clone(), count, orders, ready, clips, holds };
        let bytes = alive.seal(&key);
        let opened = Up::open(&bytes, &fleet, run, &device, &key.public());
        prop_assert_eq!(opened, Ok(Up::Alive(alive)));
        let failed = Failed { fleet: fleet.clone(), run, device: device.clone(), task: count, reason };
        let bytes = failed.seal(&key);
        let opened = Up::open(&bytes, &fleet, run, &device, &key.public());
        prop_assert_eq!(opened, Ok(Up::Failed(failed)));
    }

    #[test]
    fn chunks_come_back(task in any::<u64>(), offset in any::<u64>(), digest in digest(), bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        let chunk = Chunk { task, offset, digest, bytes: &bytes };
        let sealed = chunk.seal();
        let opened = Up::open(&sealed, &name("lab"), 0, &name("nano-1"), &key().public());
        prop_assert_eq!(opened, Ok(Up::Chunk(chunk)));
    }

    #[test]
    fn orders_come_back_to_their_device_and_no_other(orders in orders(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let key = key();
        let public = key.public();
        let mut bytes = orders.seal(&key);
        let (fleet, device) = (name("lab"), name("nano-1"));
        prop_assert_eq!(Down::open(&bytes, &fleet, &device, &public), Ok(Down::Orders(orders)));
        prop_assert_eq!(Down::open(&bytes, &fleet, &name("pi"), &public), Err(Turned::OtherDevice));
        prop_assert_eq!(Down::open(&bytes, &name("zoo"), &device, &public), Err(Turned::OtherFleet));
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(Down::open(&bytes, &fleet, &device, &public).is_err());
    }

    #[test]
    fn any_bytes_are_turned_away_or_are_a_chunk(kind in 0..9_u8, mut bytes in prop::collection::vec(any::<u8>(), 0..400), informed in any::<bool>()) {
        if informed && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(&[b'F', b'D', b'F', b'L', FORMAT_VERSION, kind, 0, 0]);
        }
        let public = key().public();
        if let Ok(message) = open(&bytes, 1, &public) {
            prop_assert!(message.starts_with("Chunk"));
        }
        prop_assert!(Down::open(&bytes, &name("lab"), &name("nano-1"), &public).is_err());
    }
}

#[test]
fn a_number_of_clips_that_no_device_can_have_means_nothing() {
    let key = key();
    let alive = Alive {
        fleet: name("lab"),
        run: 1,
        device: name("nano-1"),
        count: 1,
        orders: 1,
        ready: true,
        clips: NonZeroU64::new(7),
        holds: None,
    };
    let sealed = alive.seal(&key);
    let (head, body) = (&sealed[..8], &sealed[72..]);
    let pair = nkeys::KeyPair::from_seed(&key.seed().unwrap()).unwrap();
    let opened = |clips: &str| {
        let text = std::str::from_utf8(body).unwrap();
        let body = text.replace("\"clips\":7", &format!("\"clips\":{clips}"));
        let covered = [b"fedact-fleet", head, body.as_bytes()].concat();
        let signature = pair.sign(&covered).unwrap();
        let bytes = [head, &signature, body.as_bytes()].concat();
        open(&bytes, 1, &key.public()).map(drop)
    };
    assert_eq!(opened("7"), Ok(()));
    assert_eq!(opened("null"), Ok(()));
    for clips in ["0", "-7", "1.5", "1e3", "\"7\"", "18446744073709551616"] {
        assert_eq!(opened(clips), Err(Turned::Malformed), "{clips}");
    }
}

const NUMBERS: usize = 3;
const CLIENTS: usize = 3;

/// Lets something happen that can: a device comes, goes, or answers its task.
fn step(engine: &mut Engine, journal: &mut Journal, nth: usize, choice: u8) {
    let client = usize::from(choice) % CLIENTS;
    let open = engine.progress().members[client].assignment;
    let (happened, message) = match (choice / 3 % 5, open) {
        (0, _) => (Happened::Lost { client }, None),
        (1, _) => {
            let (clips, samples_per_task) = (u64::from(choice), 1 + u64::from(choice) % 7);
            let holds = Happened::Holds {
                client,
                clips,
                samples_per_task,
                budget_samples: 3000 + clips,
            };
            (holds, None)
        }
        (_, None) => (Happened::Ready { client }, None),
        (_, Some(open)) => {
            let layout = engine.aggregator().config().layout.clone();
            let header = Header {
                run: engine.run(),
                task: open.task,
                client: open.client,
                base_version: open.version,
                samples: open.samples,
            };
            let encoder = Encoder::new(&layout, Codec::default()).unwrap();
            let learned = vec![f32::from(choice) / 50.0 - 2.0; NUMBERS];
            let bytes = encoder.encode(&header, &learned, 0).unwrap();
            let path = engine.update_path(open.task);
            std::fs::write(&path, &bytes).unwrap();
            let message = engine.decode(client, &open, &path).unwrap().unwrap();
            let digest = Digest::of(&bytes);
            let task = open.task;
            (
                Happened::Update {
                    client,
                    task,
                    digest,
                    bytes: bytes.len() as u64,
                    took: Took {
                        fetched_bytes: 4 * NUMBERS as u64,
                        fetching_ms: u64::from(choice),
                        training_ms: 10 * u64::from(choice),
                    },
                },
                Some(message),
            )
        }
    };
    let at = nth as f64 * 0.1;
    let record = Record { at, happened };
    journal.append(&record).unwrap();
    engine.handle(&record, message, journal.end()).unwrap();
}

fn bits(engine: &Engine) -> Vec<u32> {
    let numbers = engine.aggregator().parameters().iter();
    numbers.map(|number| number.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_run_whose_journal_is_torn_anywhere_goes_on_from_the_last_whole_event(
        choices in prop::collection::vec(any::<u8>(), 1..40),
        checkpoint in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let rules = || problem::rules(CLIENTS, NUMBERS, 1000);
        let (mut engine, mut journal) = Engine::open(&run, rules(), || vec![0.0; NUMBERS]).unwrap();
        let checkpoint = checkpoint.index(choices.len());
        // What the run was after each event, by where that ends in the journal.
        let mut states = vec![(journal.end(), bits(&engine), engine.progress().clone())];
        for (nth, choice) in choices.iter().enumerate() {
            step(&mut engine, &mut journal, nth, *choice);
            states.push((journal.end(), bits(&engine), engine.progress().clone()));
            if nth == checkpoint {
                engine.checkpoint(true).unwrap();
            }
        }
        let kept = states[checkpoint + 1].0;
        let end = journal.end();
        drop((engine, journal));
        let chronicle = std::fs::read(run.join("chronicle")).unwrap();
        let torn = kept + cut.index((end - kept) as usize + 1) as u64;
        let path = run.join("journal");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(torn).unwrap();
        let (engine, journal) = Engine::open(&run, rules(), Vec::new).unwrap();
        let (whole, model, progress) = states.iter().rev().find(|(end, ..)| *end <= torn).unwrap();
        prop_assert_eq!(journal.end(), *whole);
        prop_assert_eq!(&bits(&engine), model);
        prop_assert_eq!(engine.progress(), progress);
        let written = std::fs::read(run.join("chronicle")).unwrap();
        prop_assert_eq!(&written[..], &chronicle[..progress.chronicle_end as usize]);
        // Without the checkpoint it is the same.
        let replayed = replay(&run, rules(), &folder.path().join("scratch")).unwrap();
        let replayed: Vec<u32> = replayed.parameters.iter().map(|number| number.to_bits()).collect();
        prop_assert_eq!(&replayed, model);
    }
}

#[test]
fn a_journal_of_another_run_or_damaged_in_its_midst_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    Journal::create(&path, 7).unwrap();
    let (mut journal, records) = Journal::open(&path, 7, Journal::BEGIN).unwrap();
    assert!(records.is_empty());
    for client in 0..3 {
        let happened = Happened::Ready { client };
        journal.append(&Record { at: 0.5, happened }).unwrap();
    }
    drop(journal);
    let error = Journal::open(&path, 8, Journal::BEGIN)
        .unwrap_err()
        .to_string();
    assert!(error.contains("another run"), "{error}");
    let (_, records) = Journal::open(&path, 7, Journal::BEGIN).unwrap();
    assert_eq!(records.len(), 3);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[Journal::BEGIN as usize + 20] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let error = Journal::open(&path, 7, Journal::BEGIN)
        .unwrap_err()
        .to_string();
    assert!(error.contains("damaged at byte 16"), "{error}");
    // Nothing was cut off.
    assert_eq!(std::fs::read(&path).unwrap(), bad);
}
