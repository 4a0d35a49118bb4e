//! The stage as a whole: from params to a folder of videos in UCF101's layout.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fedact_stage::{Event, Job, Metrics, Reporter, StageError};
use fedact_synthesize::{DEFINITION, run};
use fedact_video::VideoWriter;
use ffmpeg_next as ffmpeg;
use serde_json::{Value, json};

/// Three actions, four persons, two clips: 24 videos of about a second.
fn quick_params() -> Value {
    json!({
        "actions": ["Walk", "SitDown", "StandUp"],
        "subjects": 4,
        "clips": 2,
        "seconds": 1.0,
        "fps": 10,
        "width": 64,
        "height": 48,
    })
}

fn job(output: &Path, params: &Value, threads: usize) -> Job {
    Job {
        stage: "synthesize".into(),
        step: "videos".into(),
        params: (DEFINITION.resolve)(params).unwrap(),
        inputs: BTreeMap::new(),
        output: output.to_owned(),
        checkpoints: output.join("checkpoints"),
        pieces: None,
        threads,
        fleet: None,
    }
}

fn synthesize(output: &Path, params: &Value, threads: usize) -> Result<Metrics, StageError> {
    run(&job(output, params, threads), &Reporter::silent())
}

/// Every file below a folder with its content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn lines(folder: &Path, list: &str) -> Vec<String> {
    fs::read_to_string(folder.join("ucfTrainTestlist").join(list))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The person of `Class/v_Class_gNN_cNN.ext`.
fn group(line: &str) -> &str {
    let start = line.find("_g").unwrap() + 2;
    line[start..].split('_').next().unwrap()
}

#[test]
fn bytes_depend_on_the_seed_and_not_on_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, params: &Value, threads: usize| {
        let output = folder.path().join(name);
        fs::create_dir(&output).unwrap();
        synthesize(&output, params, threads).unwrap();
        contents(&output)
    };
    let one = made("one", &quick_params(), 1);
    let four = made("four", &quick_params(), 4);
    assert_eq!(one.len(), 24 + 3);
    assert!(one == four, "threads change the videos");
    let mut other = quick_params();
    other["seed"] = json!(2);
    let other = made("other", &other, 4);
    for (name, bytes) in &one {
        if name.starts_with("ucfTrainTestlist") {
            assert_eq!(Some(bytes), other.get(name), "{}", name.display());
        } else {
            assert_ne!(Some(bytes), other.get(name), "{}", name.display());
        }
    }
    let distinct: BTreeSet<&Vec<u8>> = one.values().collect();
    assert_eq!(distinct.len(), one.len(), "two videos are the same");
}

#[test]
fn a_larger_set_begins_with_the_videos_of_the_smaller_one() {
    let folder = tempfile::tempdir().unwrap();
    let [few, many] = ["few", "many"].map(|name| folder.path().join(name));
    let mut params = quick_params();
    for (output, subjects) in [(&few, 2), (&many, 3)] {
        fs::create_dir(output).unwrap();
        params["subjects"] = json!(subjects);
        synthesize(output, &params, 2).unwrap();
    }
    let many = contents(&many);
    for (name, bytes) in contents(&few) {
        if !name.starts_with("ucfTrainTestlist") {
            assert_eq!(many.get(&name), Some(&bytes), "{}", name.display());
        }
    }
}

#[test]
fn lists_name_every_video_once_and_share_no_person() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = synthesize(folder.path(), &quick_params(), 2).unwrap();
    assert_eq!(
        lines(folder.path(), "classInd.txt"),
        ["1 SitDown", "2 StandUp", "3 Walk"]
    );
    let train: Vec<(String, usize)> = lines(folder.path(), "trainlist01.txt")
        .iter()
        .map(|line| {
            let (path, label) = line.split_once(' ').unwrap();
            (path.to_owned(), label.parse().unwrap())
        })
        .collect();
    let test = lines(folder.path(), "testlist01.txt");
    let classes = ["SitDown", "StandUp", "Walk"];
    for (path, label) in &train {
        assert!(
            path.starts_with(&format!("{0}/v_{0}_g", classes[label - 1])),
            "{path}"
        );
    }
    let people = |paths: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
        paths.map(|path| group(path).to_owned()).collect()
    };
    let learners = people(&mut train.iter().map(|(path, _)| path));
    let strangers = people(&mut test.iter());
    assert_eq!(learners.len() + strangers.len(), 4);
    assert!(learners.is_disjoint(&strangers));

    let listed: BTreeSet<PathBuf> = train
        .iter()
        .map(|(path, _)| path)
        .chain(&test)
        .map(PathBuf::from)
        .collect();
    assert_eq!(listed.len(), train.len() + test.len());
    let there: BTreeSet<PathBuf> = contents(folder.path())
        .into_keys()
        .filter(|name| !name.starts_with("ucfTrainTestlist"))
        .collect();
    assert_eq!(listed, there);
    assert_eq!(metrics["videos"], listed.len());
    assert_eq!(metrics["test_videos"], test.len());
}

/// Decodes a video to its end; its frames and its size.
fn decode(path: &Path) -> (u64, u32, u32) {
    ffmpeg::init().unwrap();
    let mut input = ffmpeg::format::input(path).unwrap();
    let stream = input.streams().next().unwrap();
    let mut decoder = ffmpeg::codec::context::Context::from_parameters(stream.parameters())
        .unwrap()
        .decoder()
        .video()
        .unwrap();
    let mut frames = 0;
    let mut frame = ffmpeg::frame::Video::empty();
    for (_, packet) in input.packets() {
        decoder.send_packet(&packet).unwrap();
        while decoder.receive_frame(&mut frame).is_ok() {
            frames += 1;
        }
    }
    decoder.send_eof().unwrap();
    while decoder.receive_frame(&mut frame).is_ok() {
        frames += 1;
    }
    (frames, decoder.width(), decoder.height())
}

#[test]
fn every_video_opens_again_with_all_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = synthesize(folder.path(), &quick_params(), 2).unwrap();
    let extension = VideoWriter::best_codec().extension();
    let mut total = 0;
    for name in contents(folder.path()).into_keys() {
        if name.starts_with("ucfTrainTestlist") {
            continue;
        }
        assert_eq!(name.extension().unwrap(), extension);
        let (frames, width, height) = decode(&folder.path().join(&name));
        assert_eq!((width, height), (64, 48));
        assert!((8..=12).contains(&frames), "{}: {frames}", name.display());
        total += frames;
    }
    assert_eq!(metrics["frames"], total);
}

#[test]
fn progress_counts_the_videos() {
    let folder = tempfile::tempdir().unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let reporter = Reporter::to_function(move |event| sink.lock().unwrap().push(event.clone()));
    run(&job(folder.path(), &quick_params(), 2), &reporter).unwrap();
    let events = events.lock().unwrap();
    let Some(Event::Progress {
        done, total, unit, ..
    }) = events.last()
    else {
        panic!("no progress: {events:?}");
    };
    assert_eq!((*done, *total, unit.as_str()), (24, 24, "videos"));
}

#[test]
fn a_stopped_run_keeps_its_videos_and_ends_with_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    for output in [&whole, &stopped] {
        fs::create_dir(output).unwrap();
    }
    synthesize(&whole, &quick_params(), 2).unwrap();

    let job = job(&stopped, &quick_params(), 1);
    let reporter = Reporter::silent();
    let asked = reporter.clone();
    let counting = job.checkpoints.clone();
    let asker = std::thread::spawn(move || {
        while videos_in(&counting) < 3 {
            std::thread::yield_now();
        }
        asked.ask_to_stop();
    });
    let ended = run(&job, &reporter).unwrap_err();
    asker.join().unwrap();
    assert!(ended.stopped, "{ended}");
    let kept = contents(&job.checkpoints);
    assert!((3..24).contains(&kept.len()), "{} videos kept", kept.len());

    run(&job, &Reporter::silent()).unwrap();
    let (stopped, whole) = (contents(&stopped), contents(&whole));
    assert!(stopped.keys().eq(whole.keys()));
    for (name, bytes) in &whole {
        let (length, other) = (bytes.len(), stopped[name].len());
        let first = bytes.iter().zip(&stopped[name]).position(|(a, b)| a != b);
        let was_kept = kept.contains_key(name);
        assert!(
            bytes == &stopped[name],
            "{}: {length} and {other} bytes, from {first:?} on, kept: {was_kept}",
            name.display()
        );
    }
}

#[test]
fn a_video_does_not_depend_on_what_its_thread_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    fs::create_dir(&whole).unwrap();
    synthesize(&whole, &quick_params(), 1).unwrap();
    let whole = contents(&whole);
    let videos: Vec<&PathBuf> = whole
        .keys()
        .filter(|name| !name.starts_with("ucfTrainTestlist"))
        .collect();
    for first in 1..videos.len() {
        // Two threads, each of which begins anywhere.
        let output = folder.path().join(format!("from-{first}"));
        fs::create_dir(&output).unwrap();
        let job = job(&output, &quick_params(), 2);
        for name in &videos[..first] {
            let kept = job.checkpoints.join(name);
            fs::create_dir_all(kept.parent().unwrap()).unwrap();
            fs::write(kept, &whole[*name]).unwrap();
        }
        run(&job, &Reporter::silent()).unwrap();
        let found = contents(&output);
        for name in &videos[first..] {
            assert!(
                found[*name] == whole[*name],
                "{} from {first} on",
                name.display()
            );
        }
    }
}

/// How many videos are there already; what vanishes while it counts does not count.
fn videos_in(folder: &Path) -> usize {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    entries(folder)
        .flat_map(|class| entries(&class.path()).collect::<Vec<_>>())
        .count()
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("file");
    fs::write(&output, "in the way").unwrap();
    let error = synthesize(&output, &quick_params(), 1).unwrap_err();
    assert!(error.message.contains("file/SitDown"), "{error}");
    assert!(!error.invalid_input);
}

#[test]
fn a_misspelt_action_or_key_is_refused() {
    let error = (DEFINITION.resolve)(&json!({"actions": ["Walk", "Wlak"]})).unwrap_err();
    assert!(error.to_string().contains("Wlak"), "{error}");
    let error = (DEFINITION.resolve)(&json!({"subject": 3})).unwrap_err();
    assert!(
        error.to_string().contains("did you mean `subjects`?"),
        "{error}"
    );
}
