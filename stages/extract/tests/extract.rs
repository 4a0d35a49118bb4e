//! The stage as the runner calls it, on videos made for the purpose.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fedact_clips::{ClipSet, Problem, Reason, Split, read_problems};
use fedact_extract::{DEFINITION, run};
use fedact_stage::{Event, Input, Job, Metrics, Pieces, Reporter, StageError};
use fedact_video::{Codec, VideoWriter};
use serde_json::{Value, json};

/// A folder with videos and a place for the step's output.
struct Place {
    folder: tempfile::TempDir,
    runs: std::cell::Cell<usize>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("videos")).unwrap();
        Self {
            folder,
            runs: 0.into(),
        }
    }

    fn videos(&self) -> PathBuf {
        self.folder.path().join("videos")
    }

    /// A video whose colour says which it is.
    fn video(&self, name: &str, colour: u8) {
        let path = self.videos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = VideoWriter::create(&path, 64, 48, 30, Codec::Mpeg4).unwrap();
        for frame in 0..12u8 {
            writer
                .write(&[colour.wrapping_add(frame); 64 * 48 * 3])
                .unwrap();
        }
        writer.finish().unwrap();
    }

    fn file(&self, name: &str, content: &[u8]) {
        let path = self.videos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Two classes of three persons with two videos each.
    fn persons() -> Self {
        let place = Self::new();
        for (label, class) in ["sit", "stand"].into_iter().enumerate() {
            for person in 0..3 {
                for take in 0..2 {
                    let colour = 20 + (label * 6 + person * 2 + take) as u8 * 17;
                    place.video(&format!("{class}/person{person}_{take}.avi"), colour);
                }
            }
        }
        place
    }

    /// Runs the stage into a fresh output folder; checkpoints stay.
    fn run(&self, params: Value) -> Outcome {
        self.run_with(params, 2)
    }

    fn run_with(&self, params: Value, threads: usize) -> Outcome {
        self.run_of_pieces(params, threads, None)
    }

    /// The pieces that a runner would offer: all of an unfinished run's, and the results of finished ones.
    fn pieces(&self, earlier: &[&Outcome], shard: Option<&str>) -> Pieces {
        Pieces {
            folder: self.folder.path().join("pieces"),
            earlier: earlier
                .iter()
                .map(|outcome| outcome.output.clone())
                .collect(),
            shard: shard.map(|shard| shard.parse().unwrap()),
        }
    }

    /// The files of the pieces that are in no result.
    fn loose(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.folder.path().join("pieces"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    fn run_of_pieces(&self, mut params: Value, threads: usize, pieces: Option<Pieces>) -> Outcome {
        self.runs.set(self.runs.get() + 1);
        for (key, value) in [("frames", 4), ("size", 16)] {
            params
                .as_object_mut()
                .unwrap()
                .entry(key)
                .or_insert(value.into());
        }
        let output = self
            .folder
            .path()
            .join(format!("output{}", self.runs.get()));
        fs::create_dir(&output).unwrap();
        let job = Job {
            stage: "extract".into(),
            step: "clips".into(),
            params: (DEFINITION.resolve)(&params).unwrap(),
            inputs: BTreeMap::from([(
                "videos".into(),
                vec![Input {
                    name: "videos".into(),
                    path: self.videos(),
                }],
            )]),
            output: output.clone(),
            checkpoints: self.folder.path().join("checkpoints"),
            pieces,
            threads,
        };
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&warnings);
        let reporter = Reporter::to_function(move |event| {
            if let Event::Message { text, .. } = event {
                sink.lock().unwrap().push(text.clone());
            }
        });
        let result = run(&job, &reporter);
        let warnings = warnings.lock().unwrap().clone();
        Outcome {
            output,
            result,
            warnings,
        }
    }
}

struct Outcome {
    output: PathBuf,
    result: Result<Metrics, StageError>,
    warnings: Vec<String>,
}

impl Outcome {
    fn set(&self) -> ClipSet {
        ClipSet::open(&self.output).unwrap()
    }

    fn metric(&self, name: &str) -> u64 {
        self.result.as_ref().unwrap()[name].as_u64().unwrap()
    }

    fn problems(&self) -> Vec<Problem> {
        read_problems(&self.output).unwrap()
    }

    /// The error, which must be the user's to mend and say how.
    fn refusal(self) -> String {
        let error = self.result.unwrap_err();
        assert!(error.invalid_input, "{error:?}");
        format!("{} | {}", error.message, error.remedy.expect("a remedy"))
    }
}

fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn class_folders_become_a_clip_set_split_by_person() {
    let place = Place::persons();
    place.file("sit/notes.txt", b"companions are passed over");
    place.file("sit/.DS_Store", b"hidden");
    let outcome = place.run(json!({"group_pattern": r"(person\d+)"}));
    let set = outcome.set();
    assert_eq!(set.dataset().classes, ["sit", "stand"]);
    assert_eq!(
        (
            set.len(),
            outcome.metric("clips"),
            outcome.metric("bad_files")
        ),
        (12, 12, 0)
    );
    let persons = |split: Split| -> BTreeSet<&str> {
        set.indices(split)
            .into_iter()
            .map(|index| set.clips()[index].group.as_str())
            .collect()
    };
    let (train, test) = (persons(Split::Train), persons(Split::Test));
    assert_eq!((train.len(), test.len()), (2, 1));
    assert!(train.is_disjoint(&test));
    let first = &set.clips()[0];
    assert_eq!(first.id, "sit/person0_0.avi#00");
    assert!(first.start_seconds > 0.0 && first.end_seconds < 0.4);
    // Frames brighten as time goes on, and start at the video's own colour.
    let frame = |frame: usize| i32::from(set.pixels(0)[frame * 16 * 16 * 3]);
    assert!((frame(0) - 21).abs() < 6, "{}", frame(0));
    assert!(frame(3) > frame(0));
    assert_eq!(outcome.problems(), []);
    assert_eq!(outcome.warnings, Vec::<String>::new());
}

#[test]
fn the_clip_set_does_not_depend_on_threads_or_on_interruptions() {
    let place = Place::persons();
    let params = json!({"sampling": {"train_clips": 2, "test_clips": 3, "method": "windows"}});
    let one = place.run_with(params.clone(), 1);
    assert_eq!(one.metric("resumed_videos"), 0);
    let resumed = place.run_with(params.clone(), 3);
    assert_eq!(resumed.metric("resumed_videos"), 12);
    // A checkpoint that a crash cut short is made anew.
    let kept = place.folder.path().join("checkpoints/spent");
    let mut entries: Vec<PathBuf> = fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    fs::write(&entries[0], b"half").unwrap();
    fs::remove_file(&entries[1]).unwrap();
    let mended = place.run_with(params, 2);
    assert_eq!(mended.metric("resumed_videos"), 10);
    assert_eq!(
        one.metric("clips"),
        one.metric("train_videos") * 2 + one.metric("test_videos") * 3
    );
    for other in [&resumed, &mended] {
        assert!(bytes(&one.output) == bytes(&other.output));
    }
}

#[test]
fn a_folder_with_one_video_more_decodes_one_video() {
    let place = Place::persons();
    place.file("stand/report.doc", &[7; 3000]);
    let params = json!({"sampling": {"test_clips": 2}, "group_pattern": r"(person\d+)"});
    let first = place.run_with(params.clone(), 2);
    assert_eq!(first.metric("decoded_videos"), 13);
    place.video("sit/person1_2.avi", 201);
    // Half of its frames are lost.
    let whole = fs::read(place.videos().join("stand/person2_0.avi")).unwrap();
    let frames = whole.windows(4).position(|word| word == b"movi").unwrap();
    place.file("stand/person2_9.avi", &whole[..(frames + whole.len()) / 2]);

    fs::remove_dir_all(place.folder.path().join("checkpoints")).unwrap();
    let grown = place.run_of_pieces(params.clone(), 2, Some(place.pieces(&[&first], None)));
    assert_eq!(
        (
            grown.metric("decoded_videos"),
            grown.metric("reused_videos")
        ),
        (2, 13)
    );
    fs::remove_dir_all(place.folder.path().join("checkpoints")).unwrap();
    let anew = place.run_with(params.clone(), 2);
    assert!(bytes(&anew.output) == bytes(&grown.output));
    assert_eq!(grown.metric("damaged_videos"), 1);
    // What was suspect stays so when it is taken over, and clips are taken over from what took them over.
    let again = place.run_of_pieces(params.clone(), 2, Some(place.pieces(&[&grown], None)));
    assert_eq!(again.metric("reused_videos"), 15);
    assert!(bytes(&anew.output) == bytes(&again.output));

    // Another split takes what is cut already; videos that change sides give another number of clips.
    let other = json!({"sampling": {"test_clips": 2}, "seed": 5, "test_share": 0.4});
    fs::remove_dir_all(place.folder.path().join("checkpoints")).unwrap();
    let moved = place.run_of_pieces(other.clone(), 2, Some(place.pieces(&[&grown], None)));
    assert!(moved.metric("reused_videos") > 4, "{:?}", moved.result);
    fs::remove_dir_all(place.folder.path().join("checkpoints")).unwrap();
    assert!(bytes(&place.run_with(other, 2).output) == bytes(&moved.output));
}

#[test]
fn clips_that_were_cut_in_another_way_or_are_damaged_are_not_taken_over() {
    let place = Place::persons();
    let first = place.run(json!({}));
    for other in [
        json!({"size": 24}),
        json!({"frames": 5}),
        json!({"sampling": {"method": "windows"}}),
    ] {
        let outcome = place.run_of_pieces(other, 2, Some(place.pieces(&[&first], None)));
        assert_eq!(outcome.metric("reused_videos"), 0);
    }
    let shard = first.output.join("clips-00000.safetensors");
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    let pieces = place.pieces(&[&first], None);
    let outcome = place.run_of_pieces(json!({"seed": 1}), 2, Some(pieces));
    assert_eq!(outcome.metric("reused_videos"), 0);
    assert_eq!(outcome.set().len(), 12);
}

#[test]
fn shards_join_into_what_one_machine_makes_and_the_join_decodes_nothing() {
    let place = Place::persons();
    place.file("stand/report.doc", &[7; 3000]);
    let params = json!({"sampling": {"train_clips": 2, "test_clips": 3}});
    let mut decoded = 0;
    for (number, threads) in [(2, 1), (1, 2), (3, 2)] {
        let shard = format!("{number}/3");
        let pieces = place.pieces(&[], Some(&shard));
        let outcome = place.run_of_pieces(params.clone(), threads, Some(pieces));
        assert_eq!(
            fs::read_dir(&outcome.output).unwrap().count(),
            0,
            "no output"
        );
        assert_eq!(outcome.metric("videos"), 13);
        assert_eq!(
            outcome.metric("decoded_videos"),
            outcome.metric("shard_videos")
        );
        decoded += outcome.metric("decoded_videos");
    }
    assert_eq!((decoded, place.loose().len()), (13, 13));
    let joined = place.run_of_pieces(params.clone(), 2, Some(place.pieces(&[], None)));
    assert_eq!(
        (
            joined.metric("decoded_videos"),
            joined.metric("resumed_videos")
        ),
        (0, 13)
    );
    assert_eq!(
        place.loose(),
        [""; 0].map(PathBuf::from),
        "they are in the clip set"
    );
    fs::remove_dir_all(place.folder.path().join("checkpoints")).unwrap();
    let one = place.run_with(params, 2);
    assert!(bytes(&one.output) == bytes(&joined.output));
}

#[test]
fn what_a_shard_did_not_leave_whole_is_done_by_the_joining_run() {
    let place = Place::persons();
    let shard = place.run_of_pieces(json!({}), 2, Some(place.pieces(&[], Some("1/2"))));
    let made = shard.metric("shard_videos");
    assert!((1..12).contains(&made), "{made}");
    let loose = place.loose();
    let half = fs::read(&loose[0]).unwrap();
    fs::write(&loose[0], &half[..half.len() / 2]).unwrap();
    let joined = place.run_of_pieces(json!({}), 2, Some(place.pieces(&[], None)));
    assert_eq!(joined.metric("decoded_videos"), 12 - made + 1);
    fs::remove_dir_all(place.folder.path().join("checkpoints")).unwrap();
    assert!(bytes(&place.run(json!({})).output) == bytes(&joined.output));
}

#[test]
fn a_file_that_wants_too_much_memory_is_that_files_problem() {
    let place = Place::persons();
    let path = place.videos().join("sit/large.avi");
    let mut writer = VideoWriter::create(&path, 4096, 2304, 30, Codec::Mpeg4).unwrap();
    let pixels = vec![90; 4096 * 2304 * 3];
    (0..3).for_each(|_| writer.write(&pixels).unwrap());
    writer.finish().unwrap();
    let outcome = place.run(json!({"memory_limit_mib": 64}));
    assert_eq!((outcome.metric("bad_files"), outcome.set().len()), (1, 12));
    let problems = outcome.problems();
    assert_eq!(
        (problems[0].path.as_str(), problems[0].reason),
        ("sit/large.avi", Reason::MemoryLimit)
    );
    assert!(
        problems[0].message.contains("64 MiB (`memory_limit_mib`)")
            && problems[0]
                .ffmpeg
                .iter()
                .any(|words| words.contains("4096x2304")),
        "{problems:?}"
    );
    // With more, it is a video like the others.
    assert_eq!(place.run(json!({})).set().len(), 13);
}

#[test]
fn ucf101s_lists_decide_the_split_and_the_order_of_classes() {
    let place = Place::new();
    for (label, class) in ["Walk", "Bend"].into_iter().enumerate() {
        for group in 1..=3u8 {
            place.video(
                &format!("{class}/v_{class}_g{group:02}_c01.avi"),
                group * 20 + label as u8 * 90,
            );
        }
    }
    place.file("ucfTrainTestlist/classInd.txt", b"1 Walk\n2 Bend\n");
    // Lists name the original extension, whatever the files have.
    place.file(
        "ucfTrainTestlist/trainlist01.txt",
        b"Walk/v_Walk_g02_c01.mp4 1\nBend/v_Bend_g02_c01.avi 2\nBend/v_Bend_g09_c01.avi 2\n",
    );
    place.file(
        "ucfTrainTestlist/testlist01.txt",
        b"Walk/v_Walk_g01_c01.avi\nBend/v_Bend_g01_c01.avi\nOther/x.avi\n",
    );
    let outcome = place.run(json!({"max_bad_share": 0.5}));
    let set = outcome.set();
    assert_eq!(set.dataset().classes, ["Walk", "Bend"]);
    let rows: Vec<(&str, &str, Split)> = set
        .clips()
        .iter()
        .map(|clip| (clip.video.as_str(), clip.group.as_str(), clip.split))
        .collect();
    assert_eq!(
        rows,
        [
            ("Bend/v_Bend_g01_c01.avi", "g01", Split::Test),
            ("Bend/v_Bend_g02_c01.avi", "g02", Split::Train),
            ("Walk/v_Walk_g01_c01.avi", "g01", Split::Test),
            ("Walk/v_Walk_g02_c01.avi", "g02", Split::Train),
        ]
    );
    assert_eq!(
        (
            outcome.metric("missing_files"),
            outcome.metric("unlisted_files")
        ),
        (1, 2)
    );
    assert_eq!(outcome.problems()[0].reason, Reason::Missing);
    let text = place
        .run(json!({"split_list": 2, "layout": "ucf101"}))
        .refusal();
    assert!(text.contains("trainlist02.txt"), "{text}");
}

#[test]
fn files_that_are_no_videos_are_left_out_named_and_counted_up_to_a_limit() {
    let place = Place::persons();
    place.file("stand/report.doc", &[7; 3000]);
    let outcome = place.run(json!({}));
    assert_eq!(
        (outcome.metric("bad_files"), outcome.metric("videos")),
        (1, 12)
    );
    let problems = outcome.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].path.as_str(), problems[0].reason),
        ("stand/report.doc", Reason::NotAVideo)
    );
    assert_eq!(outcome.warnings.len(), 1);
    assert!(
        outcome.warnings[0].contains("stand/report.doc"),
        "{:?}",
        outcome.warnings
    );
    place.file("stand/slides.ppt", &[8; 3000]);
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("2 of 14")
            && text.contains("stand/report.doc")
            && text.contains("max_bad_share"),
        "{text}"
    );
    assert_eq!(
        place.run(json!({"max_bad_share": 0.2})).metric("bad_files"),
        2
    );
}

#[test]
fn the_same_content_on_both_sides_is_told() {
    let place = Place::persons();
    let outcome = place.run(json!({}));
    let set = outcome.set();
    let video = |split: Split| &set.clips()[set.indices(split)[0]].video;
    fs::copy(
        place.videos().join(video(Split::Train)),
        place.videos().join(video(Split::Test)),
    )
    .unwrap();
    let outcome = place.run(json!({}));
    assert_eq!(outcome.metric("duplicate_videos"), 1);
    let problems = outcome.problems();
    assert_eq!(
        (&problems[0].path, problems[0].reason),
        (video(Split::Test), Reason::Duplicate)
    );
    assert!(
        problems[0].message.contains(video(Split::Train)),
        "{problems:?}"
    );
    assert_eq!(outcome.set().len(), 12);
}

#[test]
fn folders_that_give_no_clip_set_are_refused_with_a_way_out() {
    let empty = Place::new();
    let text = empty.run(json!({})).refusal();
    assert!(text.contains("class folders"), "{text}");
    empty.file("loose.avi", b"x");
    let text = empty.run(json!({})).refusal();
    assert!(text.contains("1 file"), "{text}");
    fs::remove_dir_all(empty.videos()).unwrap();
    let text = empty.run(json!({})).refusal();
    assert!(
        text.contains("videos") && text.contains("--input"),
        "{text}"
    );
}

#[test]
fn a_class_that_cannot_be_split_is_named() {
    let place = Place::persons();
    place.video("wave/person0_0.avi", 99);
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("`wave`") && text.contains("only one") && text.contains("exclude: [wave]"),
        "{text}"
    );
    assert_eq!(place.run(json!({"exclude": ["wave"]})).metric("classes"), 2);
    // Two videos of one person, who can only be on one side.
    place.video("wave/person0_1.avi", 98);
    let text = place
        .run(json!({"group_pattern": r"(person\d+)"}))
        .refusal();
    assert!(
        text.contains("`wave`") && text.contains("`person0`"),
        "{text}"
    );
    // One of two does not decode.
    place.file("wave/person0_1.avi", &[1; 2000]);
    let text = place.run(json!({})).refusal();
    assert!(
        text.contains("`wave`") && text.contains("only one"),
        "{text}"
    );
    let text = place.run(json!({"include": ["wafe"]})).refusal();
    assert!(text.contains("wafe") && text.contains("stand"), "{text}");
    fs::create_dir(place.videos().join("void")).unwrap();
    let text = place.run(json!({"exclude": ["wave"]})).refusal();
    assert!(
        text.contains("`void`") && text.contains("no usable video"),
        "{text}"
    );
}

#[test]
fn a_folder_of_real_videos_by_person() {
    let videos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/videos/small");
    if !videos.is_dir() {
        eprintln!("skipped: {} is not there", videos.display());
        return;
    }
    let place = Place::new();
    fs::remove_dir(place.videos()).unwrap();
    std::os::unix::fs::symlink(videos.canonicalize().unwrap(), place.videos()).unwrap();
    let outcome = place.run(json!({"group_pattern": r"(person\d+)"}));
    assert_eq!(
        (outcome.metric("classes"), outcome.metric("videos")),
        (4, 72)
    );
    assert_eq!(
        (outcome.metric("train_clips"), outcome.metric("test_clips")),
        (48, 24)
    );
    assert_eq!(outcome.problems(), []);
}
