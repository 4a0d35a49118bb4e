//! `fedact show STEP --frames`: a picture of what was cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use bench::{Bench, TINY};
use serde_json::Value;

/// The same videos as raw clips and as JPEG, run once.
fn clips() -> Bench {
    let bench = Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n  \
         clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 3, size: 32, resize: 32}}}}\n  \
         small: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 3, size: 32, resize: 32, encoding: jpeg}}}}\n"
    ));
    bench.fedact(&["run"]).done();
    bench
}

/// Width and height that a PNG says it has.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn a_contact_sheet_shows_clips_of_each_class_and_side_in_both_encodings() {
    let bench = clips();
    for step in ["clips", "small"] {
        let name = format!("{step}.png");
        let said = bench.fedact(&["show", step, "--frames", &name]);
        let words = format!("{name}: 4 of 4 clips of {step}, 2 of 2 classes, 3 of 3 frames each");
        assert!(said.done().stdout.starts_with(&words), "{said:?}");
        let picture = std::fs::read(bench.path(&name)).unwrap();
        let (width, height) = size(&picture);
        assert!(width > 500 && height > 200, "{width} x {height}");

        let said = bench.fedact(&["show", step, "--frames", &name, "--overwrite", "--json"]);
        let json: Value = serde_json::from_str(&said.done().stdout).unwrap();
        assert_eq!((&json["step"], &json["seed"]), (&step.into(), &0.into()));
        assert_eq!(json["picture"], name.as_str());
        assert_eq!(
            (&json["width"], &json["height"]),
            (&width.into(), &height.into())
        );
        let clips = json["clips"].as_array().unwrap();
        let count = |key: &str, value: &str| clips.iter().filter(|clip| clip[key] == value).count();
        assert_eq!((count("class", "Walk"), count("class", "Squat")), (2, 2));
        assert_eq!((count("split", "train"), count("split", "test")), (2, 2));
        assert!(clips[0]["id"].as_str().unwrap().contains(".mp4#"), "{json}");
        assert_eq!(std::fs::read(bench.path(&name)).unwrap(), picture);
    }
}

#[test]
fn a_file_is_written_over_only_when_told() {
    let bench = clips();
    std::fs::write(bench.path("mine.png"), "a picture of mine").unwrap();
    let said = bench.fedact(&["show", "clips", "--frames", "mine.png"]);
    said.refused(2, &["mine.png is there already", "--overwrite"]);
    let kept = std::fs::read(bench.path("mine.png")).unwrap();
    assert_eq!(kept, b"a picture of mine");
    bench
        .fedact(&["show", "clips", "--frames", "mine.png", "--overwrite"])
        .done();
    size(&std::fs::read(bench.path("mine.png")).unwrap());
}

#[test]
fn what_has_no_frames_is_refused_with_the_way_out() {
    let bench = clips();
    let show = |arguments: &[&str]| bench.fedact(&[&["show"], arguments].concat());
    show(&["videos", "--frames", "a.png"]).refused(2, &["`videos` makes a videos", "extract"]);
    show(&["clips", "small", "--frames", "a.png"]).refused(2, &["one step"]);
    show(&["clips", "--frames", "a.gif"]).refused(2, &["a.gif", ".png"]);
    show(&["clips", "--frames", "none/a.png"]).refused(1, &["none/a.png"]);
    std::fs::remove_dir_all(bench.path("artifacts/clips")).unwrap();
    show(&["clips", "--frames", "a.png"]).refused(1, &["artifacts/clips", "fedact run clips"]);
    bench.fedact(&["run", "clips"]).done();
    show(&["clips", "--frames", "a.jpg"]).done();
    assert!(
        std::fs::read(bench.path("a.jpg"))
            .unwrap()
            .starts_with(b"\xff\xd8")
    );
    assert!(!bench.path("a.png").exists());
}
