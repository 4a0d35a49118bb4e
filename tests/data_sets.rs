//! The pipelines for real data sets, on data sets in miniature that lie on the disk as the real ones do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::cell::Cell;
use std::fs;
use std::path::Path;

use bench::Bench;
use serde_json::Value;

/// A folder with the pipelines, and one video of which there are as many as are wanted.
struct Disk {
    bench: Bench,
    video: Vec<u8>,
    copies: Cell<u32>,
}

impl Disk {
    fn new() -> Self {
        let bench = Bench::new("");
        fs::create_dir(bench.path("pipelines")).unwrap();
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        for entry in fs::read_dir(pipelines).unwrap() {
            let path = entry.unwrap().path();
            // The studies are of their own data.
            if path.is_dir() {
                continue;
            }
            let name = path.file_name().unwrap().to_owned();
            fs::copy(&path, bench.path("pipelines").join(name)).unwrap();
        }
        let params = [
            "actions=[Walk, Squat]",
            "subjects=2",
            "clips=1",
            "seconds=0.5",
            "fps=8",
            "width=64",
            "height=64",
        ];
        let mut arguments = vec!["synthesize", "--output", "made"];
        for param in params {
            arguments.extend(["--set", param]);
        }
        bench.fedact(&arguments).done();
        let made = walk(&bench.path("made"));
        let video = made
            .iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "mp4"))
            .unwrap();
        Self {
            video: fs::read(video).unwrap(),
            bench,
            copies: 0.into(),
        }
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.bench.path("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The video under a name, with a box at its end that players pass over, so that no two have the same
    /// content.
    fn video(&self, name: &str) {
        self.copies.set(self.copies.get() + 1);
        let mut bytes = self.video.clone();
        bytes.extend(12u32.to_be_bytes());
        bytes.extend(b"free");
        bytes.extend(self.copies.get().to_be_bytes());
        let path = self.bench.path("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Cuts the clips of a pipeline; gives `dataset.json` of the large and of the small set.
    fn clips(&self, pipeline: &str) -> [Value; 2] {
        let file = format!("pipelines/{pipeline}.yaml");
        self.bench.fedact(&["graph", "-f", &file]).done();
        self.bench
            .fedact(&["run", "large-clips", "small-clips", "-f", &file])
            .done();
        ["large", "small"].map(|set| {
            let path = self
                .bench
                .path(format!("artifacts/{set}-clips/dataset.json"));
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
        })
    }

    fn hmdb51(&self) {
        let indoors = [
            "brush_hair",
            "chew",
            "drink",
            "eat",
            "laugh",
            "pour",
            "sit",
            "smile",
            "stand",
            "talk",
        ];
        for class in indoors.into_iter().chain(["run", "jump"]) {
            let names = [0, 1].map(|clip| format!("Film{clip}_{class}_f_nm_np1_fr_med_0.avi"));
            for name in &names {
                self.video(&format!("hmdb51/{class}/{name}"));
            }
            self.file(
                &format!("hmdb51/testTrainMulti_7030_splits/{class}_test_split1.txt"),
                &format!("{} 1 \n{} 2 \n", names[0], names[1]),
            );
        }
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// How many classes and which layout, and how many videos on each side.
fn told(dataset: &Value) -> (usize, &str, u64, u64) {
    let source = &dataset["source"];
    (
        dataset["classes"].as_array().unwrap().len(),
        source["layout"].as_str().unwrap(),
        source["train_videos"].as_u64().unwrap(),
        source["test_videos"].as_u64().unwrap(),
    )
}

#[test]
fn ucf101_is_cut_into_classes_for_the_centre_and_for_the_devices() {
    let disk = Disk::new();
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/ucf101.yaml"))
            .unwrap();
    let at_home: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .collect();
    assert_eq!(at_home.len(), 20);
    let mut numbers = String::new();
    let [mut train, mut test] = [String::new(), String::new()];
    for (index, class) in at_home.iter().chain(&["Archery", "Biking"]).enumerate() {
        numbers += &format!("{} {class}\r\n", index + 1);
        for group in [1, 8] {
            let name = format!("{class}/v_{class}_g{group:02}_c01.avi");
            disk.video(&format!("ucf101/UCF-101/{name}"));
            match group {
                1 => test += &format!("{name}\r\n"),
                _ => train += &format!("{name} {}\r\n", index + 1),
            }
        }
    }
    for (name, list) in [
        ("classInd", numbers),
        ("trainlist01", train),
        ("testlist01", test),
    ] {
        disk.file(&format!("ucf101/ucfTrainTestlist/{name}.txt"), &list);
    }
    let [large, small] = disk.clips("ucf101");
    assert_eq!(told(&large), (2, "ucf101", 2, 2));
    assert_eq!(told(&small), (20, "ucf101", 20, 20));
}

#[test]
fn hmdb51_and_kinetics_are_cut() {
    let disk = Disk::new();
    disk.hmdb51();
    let [large, small] = disk.clips("hmdb51");
    assert_eq!(told(&large), (2, "hmdb51", 2, 2));
    assert_eq!(told(&small), (10, "hmdb51", 10, 10));
    let mut lists = [
        (
            "train",
            "label,youtube_id,time_start,time_end,split\n".to_owned(),
        ),
        (
            "val",
            "label,youtube_id,time_start,time_end,split\n".to_owned(),
        ),
    ];
    for (number, class) in ["air drumming", "abseiling"].into_iter().enumerate() {
        for (side, list) in &mut lists {
            let id = format!("{side:-<10}{number}");
            disk.video(&format!("kinetics/{side}/{id}_000003_000013.mp4"));
            *list += &format!("{class},{id},3,13,{side}\n{class},gone{id},3,13,{side}\n");
        }
    }
    for (side, list) in &lists {
        disk.file(&format!("kinetics/annotations/{side}.csv"), list);
    }
    let [large, small] = disk.clips("kinetics");
    assert_eq!(told(&large), (2, "kinetics", 2, 2));
    assert_eq!(told(&small), (12, "hmdb51", 12, 12));
}

#[test]
fn folders_and_manifests_are_cut() {
    let disk = Disk::new();
    for set in ["large", "small"] {
        for class in ["walk", "fall"] {
            for person in 1..=3 {
                disk.video(&format!("{set}/{class}/person{person}.mp4"));
            }
        }
    }
    let [large, small] = disk.clips("folders");
    assert_eq!(told(&large), (2, "folders", 4, 2));
    assert_eq!(told(&small), (2, "folders", 4, 2));
    disk.file(
        "large/manifest.csv",
        "path,label,start,end\nwalk/person1.mp4,a,0,0.2\nwalk/person1.mp4,b,0.2,0.4\n\
         walk/person2.mp4,a,,\nwalk/person3.mp4,b,,\n",
    );
    disk.file(
        "small/manifest.jsonl",
        "{\"path\": \"walk/person1.mp4\", \"label\": \"walk\", \"split\": \"train\"}\n\
         {\"path\": \"walk/person2.mp4\", \"label\": \"walk\", \"split\": \"val\"}\n",
    );
    let [large, small] = disk.clips("manifest");
    assert_eq!(told(&large), (2, "manifest", 2, 2));
    assert_eq!(told(&small), (1, "manifest", 1, 1));
}
