//! `fedact predict` and `fedact onnx`, from generated videos to answers and files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::collections::BTreeSet;

use bench::{Bench, Ended};
use serde_json::Value;

/// Two classes that a tiny network tells apart at once, a model of them, and the model in int8.
fn trained() -> Bench {
    let videos = "{actions: [Walk, Squat], subjects: 6, clips: 2, seconds: 1.0, fps: 12, width: 64, height: 64}";
    let bench = Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {videos}}}\n  \
           clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 6, size: 24, resize: 24}}}}\n  \
           student: {{stage: distill, inputs: {{clips: clips}}, params: {{model: {{arch: r2plus1d, depth: 10, width: 4}}, \
             epochs: 2, warmup_epochs: 0, batch_size: 4, threads: 1}}}}\n  \
           quantized: {{stage: quantize, inputs: {{model: student, calibration: clips}}, params: {{clips: 8, threads: 1}}}}\n"
    ));
    bench.fedact(&["run"]).done();
    bench
}

/// The first video of a class.
fn video(bench: &Bench, class: &str) -> String {
    let folder = bench.path(format!("artifacts/videos/{class}"));
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    format!("artifacts/videos/{class}/{}", names[0])
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// The fields of a table in docs/json.md.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = include_str!("../docs/json.md");
    let table = text.split_once(&format!("\n{heading}\n")).unwrap().1;
    let rows = table
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    names
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

#[test]
fn videos_are_answered_by_models_of_both_kinds_and_broken_ones_have_a_line_of_their_own() {
    let bench = trained();
    let (walk, squat) = (video(&bench, "Walk"), video(&bench, "Squat"));
    std::fs::write(bench.path("broken.mp4"), "no video at all").unwrap();
    for model in ["student", "quantized", "artifacts/quantized"] {
        let said = bench.fedact(&[
            "predict",
            model,
            &walk,
            "broken.mp4",
            "nowhere.mp4",
            &squat,
            "--json",
            "--top",
            "2",
            "--clips",
            "3",
        ]);
        assert_eq!(said.code, 3, "{said:?}");
        let lines = lines(&said.stdout);
        assert_eq!(lines.len(), 4, "{said:?}");
        for (line, path) in [(&lines[0], &walk), (&lines[3], &squat)] {
            assert_eq!(names(line), documented("### A video that was answered"));
            assert_eq!(line["video"], path.as_str());
            let top = line["top"].as_array().unwrap();
            assert_eq!(top.len(), 2);
            assert_eq!(top[0]["class"], line["class"]);
            let sum: f64 = top
                .iter()
                .map(|one| one["probability"].as_f64().unwrap())
                .sum();
            assert!((sum - 1.0).abs() < 1e-6, "{line}");
            let expected = if model == "student" {
                "float32"
            } else {
                "int8"
            };
            assert_eq!(line["execution"], expected, "{line}");
            assert_eq!(line["clips"].as_array().unwrap().len(), 3);
            for figure in [
                "milliseconds_per_clip",
                "clips_per_second",
                "decode_seconds",
            ] {
                assert!(line[figure].as_f64().unwrap() > 0.0, "{figure}: {line}");
            }
        }
        for (line, reason) in [(&lines[1], "not-a-video"), (&lines[2], "missing")] {
            assert_eq!(names(line), documented("### A video that was not answered"));
            assert_eq!(line["problem"]["reason"], reason);
        }
    }
    let said = bench.fedact(&["predict", "student", "artifacts/videos", "--top", "1"]);
    let text = &said.done().stdout;
    let answered = text.lines().filter(|line| line.contains("4 clips")).count();
    assert_eq!(answered, 24, "{text}");
}

#[test]
fn a_quantized_model_answers_by_onednn_and_where_there_is_none_by_libtorch_with_the_same_answers() {
    let bench = trained();
    let (walk, squat) = (video(&bench, "Walk"), video(&bench, "Squat"));
    let asked = [
        "predict",
        "quantized",
        &walk,
        &squat,
        "--json",
        "--top",
        "2",
    ];
    let answers = |onednn: Option<&str>| {
        let mut command = bench.command(&asked);
        if let Some(path) = onednn {
            command.env("FEDACT_ONEDNN", path);
        }
        let said = Ended::of(command.output().unwrap());
        lines(&said.done().stdout)
    };
    let without = answers(Some("/no/such/libdnnl.so.3"));
    let doctor = bench.fedact(&["doctor", "--json"]);
    let doctor: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let here = &doctor["onednn"]["version"];
    let with = answers(None);
    for (with, without) in with.iter().zip(&without) {
        assert_eq!(without["runtime"], "libtorch", "{without}");
        let expected = if here.is_string() {
            "onednn"
        } else {
            "libtorch"
        };
        assert_eq!(with["runtime"], expected, "{with}");
        assert_eq!(
            (&with["execution"], &without["execution"]),
            (&"int8".into(), &"int8".into())
        );
        assert_eq!(with["class"], without["class"]);
        // A value in the middle between two steps may be rounded to the other one.
        let probability = |line: &Value| line["probability"].as_f64().unwrap();
        assert!(
            (probability(with) - probability(without)).abs() < 0.02,
            "{with} {without}"
        );
    }
    if here.is_null() {
        eprintln!("SKIPPED half of it: {}", doctor["onednn"]["missing"]);
    }

    // What is wrong with a model is said alike.
    let weights = bench.path("artifacts/quantized/model.safetensors");
    let damaged = bench.path("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::copy(
        weights.with_file_name("model.json"),
        damaged.join("model.json"),
    )
    .unwrap();
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(damaged.join("model.safetensors"), &whole[..whole.len() - 5]).unwrap();
    let said = bench.fedact(&["predict", "damaged", &walk]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.stderr.contains("damaged/model.safetensors"),
        "{said:?}"
    );
}

#[test]
fn a_video_is_drawn_with_its_classes_and_written_over_only_when_told() {
    let bench = trained();
    let walk = video(&bench, "Walk");
    let draw = |more: &[&str]| {
        let arguments = ["predict", "student", &walk, "--render", "drawn.mp4"];
        bench.fedact(&[&arguments, more].concat())
    };
    draw(&[]).done();
    let drawn = std::fs::read(bench.path("drawn.mp4")).unwrap();
    assert_eq!(&drawn[4..8], b"ftyp");
    draw(&[]).refused(2, &["drawn.mp4 is there already", "--overwrite"]);
    draw(&["--overwrite"]).done();
    assert_eq!(std::fs::read(bench.path("drawn.mp4")).unwrap(), drawn);
    // What was drawn is a video, as large as words need it.
    let said = bench.fedact(&["predict", "student", "drawn.mp4", "--json"]);
    assert_eq!(lines(&said.done().stdout).len(), 1);
}

/// An AVI of uncompressed pictures, ten a second, and uncompressed sound; and the sound.
fn talkie(seconds: u32) -> (Vec<u8>, Vec<u8>) {
    const SIDE: u32 = 64;
    const RATE: u32 = 8000;
    let chunk = |name: &[u8], content: &[u8]| {
        let size = (content.len() as u32).to_le_bytes();
        [name, &size, content].concat()
    };
    let list = |kind: &[u8], parts: &[Vec<u8>]| chunk(b"LIST", &[kind, &parts.concat()].concat());
    let words =
        |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|one| one.to_le_bytes()).collect() };
    let frames = 10 * seconds;
    let picture = SIDE * SIDE * 3;
    let header = |kind: &[u8], rate, length, sample| {
        let rest = [0, 0, 0, 1, rate, 0, length, picture, u32::MAX, sample, 0, 0];
        chunk(b"strh", &[kind, &words(&rest)].concat())
    };
    let bitmap = [40, SIDE, SIDE, 1 | 24 << 16, 0, picture, 0, 0, 0, 0];
    let wave = [1 | 1 << 16, RATE, RATE, 1 | 8 << 16];
    let main = [
        100_000, 0, 0, 0x100, frames, 0, 2, 0, SIDE, SIDE, 0, 0, 0, 0,
    ];
    let streams = [
        chunk(b"avih", &words(&main)),
        list(
            b"strl",
            &[
                header(b"vidsDIB ", 10, frames, 0),
                chunk(b"strf", &words(&bitmap)),
            ],
        ),
        list(
            b"strl",
            &[
                header(b"auds\0\0\0\0", RATE, RATE * seconds, 1),
                chunk(b"strf", &words(&wave)),
            ],
        ),
    ];
    let (mut sound, mut data) = (Vec::new(), Vec::new());
    for frame in 0..frames {
        let piece: Vec<u8> = (0..RATE / 10)
            .map(|at| (frame * 97 + at * at) as u8)
            .collect();
        data.push(chunk(b"00db", &vec![frame as u8 * 3; picture as usize]));
        data.push(chunk(b"01wb", &piece));
        sound.extend(piece);
    }
    let parts = [list(b"hdrl", &streams), list(b"movi", &data)].concat();
    let file = chunk(b"RIFF", &[&b"AVI "[..], &parts].concat());
    (file, sound)
}

/// What follows the names of chunks of sound in an AVI.
fn sound_of(avi: &[u8]) -> Vec<u8> {
    let movi = avi.windows(4).position(|four| four == b"movi").unwrap();
    let (mut at, mut sound) = (movi + 4, Vec::new());
    while let Some(head) = avi.get(at..at + 8) {
        let size = u32::from_le_bytes(head[4..].try_into().unwrap()) as usize;
        match &head[..4] {
            b"01wb" => sound.extend_from_slice(&avi[at + 8..][..size]),
            b"00dc" => {}
            _ => break,
        }
        at += 8 + size.next_multiple_of(2);
    }
    sound
}

#[test]
fn a_drawn_video_keeps_its_sound_or_a_warning_says_why_not() {
    let bench = trained();
    let (file, sound) = talkie(3);
    std::fs::write(bench.path("talkie.avi"), file).unwrap();
    let draw = |output: &str, more: &[&str]| {
        let arguments = ["predict", "student", "talkie.avi", "--render", output];
        bench.fedact(&[&arguments, more].concat())
    };
    let said = draw("drawn.avi", &[]);
    assert!(!said.done().stderr.contains("warning"), "{said:?}");
    let drawn = std::fs::read(bench.path("drawn.avi")).unwrap();
    assert!(sound_of(&drawn) == sound, "{}", sound_of(&drawn).len());
    for more in [&[][..], &["--json"]] {
        let said = draw("drawn.mp4", &[more, &["--overwrite"]].concat());
        let text = &said.done().stderr;
        for part in [
            "warning",
            "talkie.avi",
            "pcm_u8",
            "left out",
            ".avi file takes it",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // The pictures are there.
        let seen = bench.fedact(&["predict", "student", "drawn.mp4", "--json"]);
        assert_eq!(lines(&seen.done().stdout).len(), 1);
    }
}

#[test]
fn what_cannot_be_asked_or_drawn_is_refused_with_the_way_out() {
    let bench = trained();
    let walk = video(&bench, "Walk");
    let predict = |arguments: &[&str]| bench.fedact(&[&["predict"], arguments].concat());
    predict(&["nothing", &walk]).refused(3, &["`nothing`", "fedact run student"]);
    predict(&["clips", &walk]).refused(3, &["`clips` makes no model"]);
    predict(&["artifacts/videos", &walk]).refused(3, &["is no model", "model.json"]);
    std::fs::create_dir(bench.path("empty")).unwrap();
    predict(&["student", "empty"]).refused(3, &["no video in empty"]);
    predict(&["student", &walk, "--render", "a.gif"]).refused(2, &["a.gif", ".mp4"]);
    predict(&["student", "artifacts/videos", "--render", "a.mp4"]).refused(2, &["there are 24"]);
    std::fs::create_dir(bench.path("damaged")).unwrap();
    let info = std::fs::read(bench.path("artifacts/student/model.json")).unwrap();
    std::fs::write(bench.path("damaged/model.json"), info).unwrap();
    std::fs::write(bench.path("damaged/model.safetensors"), "nothing").unwrap();
    predict(&["damaged", &walk]).refused(3, &["model.safetensors"]);
    // A device's copy that was cut short, or has a bit that fell over.
    let whole =
        |file: &str| std::fs::read(bench.path(format!("artifacts/quantized/{file}"))).unwrap();
    std::fs::write(bench.path("damaged/model.json"), whole("model.json")).unwrap();
    let weights = whole("model.safetensors");
    let write = |file: &str, bytes: &[u8]| {
        std::fs::write(bench.path(format!("damaged/{file}")), bytes).unwrap()
    };
    for kept in [0, 7, weights.len() / 2, weights.len() - 1] {
        write("model.safetensors", &weights[..kept]);
        predict(&["damaged", &walk]).refused(3, &["model.safetensors"]);
    }
    let mut fallen = weights.clone();
    let header = u64::from_le_bytes(fallen[..8].try_into().unwrap()) as usize;
    let bytes: Value = serde_json::from_slice(&fallen[8..8 + header]).unwrap();
    let at = bytes["fc.weight_int8"]["data_offsets"][0].as_u64().unwrap() as usize;
    fallen[8 + header + at] ^= 64;
    write("model.safetensors", &fallen);
    predict(&["damaged", &walk]).refused(3, &["model.safetensors", "fc.weight_int8"]);
    // Here a model is compiled from its weights, and the file for devices is not read.
    write("model.safetensors", &weights);
    write("model.pt", &whole("model.pt")[..100]);
    predict(&["damaged", &walk]).done();
    std::fs::write(bench.path("damaged/model.json"), "{}").unwrap();
    predict(&["damaged", &walk]).refused(3, &["damaged/model.json"]);
}

#[test]
fn models_are_written_for_other_runtimes() {
    let bench = trained();
    let said = bench.fedact(&["onnx", "quantized", "--output", "device", "--json"]);
    let files = lines(&said.done().stdout);
    let names: Vec<&str> = files
        .iter()
        .map(|line| line["file"].as_str().unwrap())
        .collect();
    let expected = [
        "device/model.onnx",
        "device/model.2d.onnx",
        "device/model.int8.onnx",
        "device/model.int8.2d.onnx",
        "device/model.tensorrt.onnx",
    ];
    assert_eq!(names, expected);
    for (name, line) in names.iter().zip(&files) {
        assert_eq!(crate::names(line), documented("## `onnx --json`"));
        let bytes = std::fs::read(bench.path(name)).unwrap();
        assert_eq!(line["bytes"], bytes.len());
        // What the stage wrote beside the model is the same.
        let beside = name.replace("device", "artifacts/quantized");
        assert_eq!(std::fs::read(bench.path(beside)).unwrap(), bytes, "{name}");
    }
    bench
        .fedact(&["onnx", "quantized", "--output", "device"])
        .refused(2, &["device/model.onnx is there already", "--overwrite"]);
    bench
        .fedact(&["onnx", "student", "--output", "float"])
        .done();
    assert!(bench.path("float/model.onnx").exists());
    assert!(!bench.path("float/model.int8.onnx").exists());
    bench
        .fedact(&["onnx", "quantized", "--output", "one", "--clips", "1"])
        .done();
    let one = std::fs::read(bench.path("one/model.2d.onnx")).unwrap();
    assert_ne!(
        one,
        std::fs::read(bench.path("device/model.2d.onnx")).unwrap()
    );
    bench
        .fedact(&["onnx", "quantized", "--output", "none", "--clips", "0"])
        .refused(2, &["--clips", "0"]);
    assert!(!bench.path("none").exists());
    bench
        .fedact(&["onnx", "clips"])
        .refused(3, &["`clips` makes no model"]);
}
