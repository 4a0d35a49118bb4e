//! Devices of a fleet: `fedact fleet join`, from videos to updates, over a real NATS server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::print_stderr,
    reason = "who runs the tests must hear what was skipped"
)]

#[allow(dead_code)]
mod bench;
mod devices;
mod nats;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bench::Bench;
use devices::wire::{Said, Wire};
use devices::{Model, brief, init, serve};
use fedact_federation::aggregator::EndReason;
use fedact_federation::message::Decoder;
use fedact_fleet::coordinator::Ended;
use fedact_fleet::wire::Up;
use fedact_fleet::{Digest, Name};
use nats::Server;
use serde_json::{Value, json};

const FRAMES: usize = 6;
const SIDE: usize = 24;

/// A quantized model of two classes, and videos of six persons.
fn trained() -> Bench {
    let videos = "{actions: [Walk, Squat], subjects: 6, clips: 2, seconds: 1.0, fps: 12, width: 64, height: 64}";
    let bench = Bench::new(&format!(
        "  videos: {{stage: synthesize, params: {videos}}}\n  \
           clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: {FRAMES}, size: {SIDE}, resize: {SIDE}}}}}\n  \
           student: {{stage: distill, inputs: {{clips: clips}}, params: {{model: {{arch: r2plus1d, depth: 10, width: 4}}, \
             epochs: 1, warmup_epochs: 0, batch_size: 4, threads: 1}}}}\n  \
           quantized: {{stage: quantize, inputs: {{model: student, calibration: clips}}, params: {{clips: 8, threads: 1}}}}\n"
    ));
    bench.fedact(&["run"]).done();
    bench
}

/// Gives a device the videos of these persons, of each of these classes, under a folder's name that may be another.
fn give(bench: &Bench, device: &str, persons: &[u32], classes: &[(&str, &str)]) {
    for (class, name) in classes {
        let folder = bench.path(format!("{device}-videos/{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let from = bench.path(format!("artifacts/videos/{class}"));
        let mut given = 0;
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name().into_string().unwrap();
            if persons
                .iter()
                .any(|person| file.contains(&format!("_g{person:02}_")))
            {
                std::fs::copy(entry.path(), folder.join(&file)).unwrap();
                given += 1;
            }
        }
        assert!(given > 0, "{class} of {persons:?}");
    }
}

fn extract() -> Value {
    json!({"frames": FRAMES, "size": SIDE, "resize": SIDE})
}

fn join(bench: &Bench, device: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fedact"));
    let file = format!("fleet/join/{device}.join");
    let videos = format!("{device}-videos");
    command
        .current_dir(bench.path(""))
        .args([
            "fleet",
            "join",
            &file,
            "--videos",
            &videos,
            "--threads",
            "1",
        ])
        .args(more)
        .env("OMP_WAIT_POLICY", "PASSIVE");
    command
}

/// A device's process whose lines are read.
struct Device {
    child: Child,
    lines: BufReader<ChildStdout>,
    said: Vec<Value>,
}

impl Device {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Reads on to an event of this kind; nothing: it ended before.
    fn until(&mut self, event: &str) -> Option<Value> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            let said: Value = serde_json::from_str(&line).unwrap();
            self.said.push(said.clone());
            if said["event"] == event {
                return Some(said);
            }
            line.clear();
        }
        None
    }

    fn kill(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said
    }

    /// Exit code, all lines, standard error.
    fn end(mut self) -> (i32, Vec<Value>, String) {
        self.until("no such event");
        let mut stderr = String::new();
        let pipe = self.child.stderr.take();
        pipe.unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, self.said, stderr)
    }
}

/// How many lines are of this kind and say this of a key.
fn count(lines: &[Value], event: &str, key: &str, value: &Value) -> usize {
    let of = lines.iter().filter(|line| line["event"] == event);
    of.filter(|line| line[key] == *value).count()
}

/// Lets devices of a fleet reach their server by another port.
fn reroute(bench: &Bench, device: &str, from: u16, to: u16) {
    let path = bench.path(format!("fleet/join/{device}.join"));
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replace(&format!(":{from}"), &format!(":{to}"));
    assert_ne!(text, changed);
    std::fs::write(&path, changed).unwrap();
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}

/// Wants nothing of a video's name in what was sent: no class, no group and clip (`_g01_c01`), no ending.
fn assert_names_no_video(bytes: &[u8]) {
    for word in [".avi", ".mp4", "Juggling", "Walk", "Squat"] {
        assert!(!contains(bytes, word), "{word} was sent");
    }
    // Shorter parts would come up in signatures and numbers by chance, as `_g0` has.
    let numbered = bytes.windows(6).find(|part| {
        let [b'_', b'g', tens, ones, b'_', b'c'] = part else {
            return false;
        };
        tens.is_ascii_digit() && ones.is_ascii_digit()
    });
    assert_eq!(numbered, None, "a group and clip were sent");
}

#[test]
fn devices_train_a_model_on_their_videos_one_is_killed_and_nothing_but_updates_leaves_them() {
    let Some(program) = nats::program() else {
        return;
    };
    let bench = trained();
    let (fleet, port) = init(&bench, "nano,pi");
    give(
        &bench,
        "nano",
        &[1, 2, 3],
        &[("Walk", "Walk"), ("Squat", "Squat")],
    );
    // One class of the run, and one that it does not know.
    give(
        &bench,
        "pi",
        &[4, 5],
        &[("Squat", "Squat"), ("Walk", "Juggling")],
    );
    let _server = Server::start(&program, &bench.path("fleet"), port);
    let wire = Wire::before(port);
    for device in ["nano", "pi"] {
        reroute(&bench, device, port, wire.port);
    }
    let model = Model::read(&bench.path("artifacts/quantized"));
    let tasks = 12;
    let serving = serve(
        &fleet,
        "only",
        &model,
        &brief(&model, extract()),
        (8, tasks),
    );
    let run = serving.run;

    let nano = Device::start(join(&bench, "nano", &[]));
    let mut pi = Device::start(join(&bench, "pi", &[]));
    // Killed with an update that it has computed, and has no word about yet.
    pi.until("update").unwrap();
    let before = pi.kill();
    assert!(
        count(&before, "progress", "task", &json!("decoding")) > 0,
        "{before:#?}"
    );
    let warned = before.iter().any(|line| {
        line["level"] == "warning" && line["text"].as_str().unwrap().contains("Juggling")
    });
    assert!(warned, "{before:#?}");
    let pi = Device::start(join(&bench, "pi", &[]));

    let (code, after, stderr) = pi.end();
    assert_eq!(code, 0, "{stderr}");
    // Its clips were there, and the update that it had computed counted.
    assert_eq!(
        count(&after, "progress", "task", &json!("decoding")),
        0,
        "{after:#?}"
    );
    let update = before.last().unwrap()["task"].clone();
    assert_eq!(count(&after, "decided", "task", &update), 1, "{after:#?}");
    assert_eq!(count(&after, "task", "task", &update), 0, "{after:#?}");
    let (code, said, stderr) = nano.end();
    assert_eq!(code, 0, "{stderr}");
    let (ended, parameters) = serving.ended();
    assert_eq!(ended, Ended::Finished(EndReason::BudgetSpent));
    assert_eq!(parameters.len(), model.parameters.len());
    assert!(parameters.iter().all(|number| number.is_finite()));
    assert!(parameters != model.parameters);
    let decided = count(&said, "decided", "refused", &Value::Null)
        + count(&after, "decided", "refused", &Value::Null);
    assert_eq!(decided as u64, tasks);
    assert_eq!(said.last().unwrap()["reason"], "budget-spent");

    let kinds = read_all(&bench, &fleet, run, &model, &wire);
    assert!(kinds.updates as u64 >= tasks, "{kinds:?}");
    assert!(kinds.rest < kinds.update_bytes, "{kinds:?}");
}

/// How many clips a device has cut.
fn clips_of(bench: &Bench, device: &str) -> u64 {
    let path = bench.path(format!("fleet/join/{device}.state/clips/clips.jsonl"));
    std::fs::read_to_string(path).unwrap().lines().count() as u64
}

#[test]
fn a_device_says_how_many_clips_it_has_and_again_when_its_videos_have_changed() {
    let Some(program) = nats::program() else {
        return;
    };
    let bench = trained();
    let (fleet, port) = init(&bench, "nano");
    give(&bench, "nano", &[1], &[("Walk", "Walk")]);
    let _server = Server::start(&program, &bench.path("fleet"), port);
    let model = Model::read(&bench.path("artifacts/quantized"));
    let serving = serve(
        &fleet,
        "counted",
        &model,
        &brief(&model, extract()),
        (4, 1000),
    );
    let known = |serving: &devices::Serving, clips: u64| {
        let limit = Instant::now() + Duration::from_secs(20);
        while serving.status().devices[0].clips != Some(clips) {
            assert!(Instant::now() < limit, "{clips}: {:#?}", serving.status());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut nano = Device::start(join(&bench, "nano", &[]));
    nano.until("task").unwrap();
    let few = clips_of(&bench, "nano");
    known(&serving, few);
    nano.kill();
    give(
        &bench,
        "nano",
        &[2, 3],
        &[("Walk", "Walk"), ("Squat", "Squat")],
    );
    let mut nano = Device::start(join(&bench, "nano", &[]));
    // The task that was open, and one after it.
    nano.until("decided").unwrap();
    nano.until("task").unwrap();
    let more = clips_of(&bench, "nano");
    assert!(few > 0 && more > few, "{few} {more}");
    known(&serving, more);
    nano.kill();
    serving.stop();
}

/// What was found on the wire.
#[derive(Debug, Default)]
struct Kinds {
    updates: usize,
    update_bytes: usize,
    /// Bytes of everything else.
    rest: usize,
}

/// Reads every byte that devices have sent, and fails on any that is not of a sign of life, an offer, a piece of an update, or a
/// question for orders and models.
fn read_all(
    bench: &Bench,
    fleet: &fedact_fleet::setup::Fleet,
    run: u64,
    model: &Model,
    wire: &Wire,
) -> Kinds {
    let roster = fleet.roster().unwrap();
    let mut kinds = Kinds::default();
    let mut updates: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let mut offered: BTreeMap<Digest, u64> = BTreeMap::new();
    let folder = bench.path("").display().to_string();
    for bytes in wire.sent() {
        assert_names_no_video(&bytes);
        assert!(!contains(&bytes, &folder), "{folder} was sent");
        let (said, cut_off) = devices::wire::read(&bytes);
        kinds.rest += bytes.len();
        assert!(cut_off < 300_000);
        for said in said {
            let (subject, payload) = match said {
                Said::Connect(options) => {
                    let options: Value = serde_json::from_str(&options).unwrap();
                    check_greeting(&options);
                    continue;
                }
                Said::Sign | Said::Subscription(None) => continue,
                Said::Subscription(Some(subject)) => {
                    let own = subject.starts_with("_INBOX.lab.")
                        || subject.starts_with("fleet.lab.down.");
                    assert!(own, "{subject}");
                    continue;
                }
                Said::Published { subject, payload } => (subject, payload),
            };
            // Questions for the last message of a subject have it in their own, and nothing in them.
            if subject.starts_with("$JS.API.DIRECT.GET.FLEET-lab-") {
                assert!(payload.is_empty(), "{subject}: {payload:?}");
                continue;
            }
            let name = subject.strip_prefix("fleet.lab.up.");
            let name = name.unwrap_or_else(|| panic!("{subject}"));
            let device = &roster.devices[roster.place(name).unwrap()];
            let opened = Up::open(&payload, &roster.fleet, run, &device.name, &device.key);
            match opened.unwrap_or_else(|turned| panic!("{subject}: {turned:?}")) {
                Up::Alive(alive) => {
                    assert!(payload.len() < 400);
                    // Of its clips how many there are, once they are ready, and nothing else.
                    let expected = alive.ready.then(|| clips_of(bench, name));
                    assert_eq!(alive.clips.map(NonZeroU64::get), expected);
                }
                Up::Offer(offer) => {
                    assert!(payload.len() < 700);
                    assert_eq!(
                        offer.clips.map(NonZeroU64::get),
                        Some(clips_of(bench, name))
                    );
                    offered.insert(offer.digest, offer.bytes);
                }
                Up::Failed(failed) => panic!("{failed:?}"),
                Up::Chunk(chunk) => {
                    let update = updates.entry(chunk.digest).or_default();
                    if update.len() as u64 == chunk.offset {
                        update.extend(chunk.bytes);
                    }
                    kinds.update_bytes += chunk.bytes.len();
                    kinds.rest -= chunk.bytes.len();
                }
            }
        }
    }
    let decoder = Decoder::new(&model.layout);
    for (digest, update) in &updates {
        assert_eq!(offered.get(digest), Some(&(update.len() as u64)));
        assert_eq!(Digest::of(update), *digest);
        let decoded = decoder.decode(update).unwrap();
        assert_eq!(decoded.delta.len(), model.parameters.len());
    }
    kinds.updates = updates.len();
    kinds
}

/// What a device says of itself when it connects: its public key and name, and the client library.
fn check_greeting(options: &Value) {
    let known = BTreeSet::from([
        "verbose",
        "pedantic",
        "jwt",
        "nkey",
        "sig",
        "name",
        "echo",
        "lang",
        "version",
        "protocol",
        "tls_required",
        "headers",
        "no_responders",
        "user",
        "pass",
        "auth_token",
    ]);
    for (key, value) in options.as_object().unwrap() {
        assert!(known.contains(key.as_str()), "{key}: {value}");
        let secret = ["user", "pass", "auth_token", "jwt"].contains(&key.as_str());
        assert!(!secret || value.is_null(), "{key} is sent");
    }
    let name = options["name"].as_str().unwrap();
    assert!(Name::new(name).is_ok(), "{name}");
}

#[test]
fn a_device_whose_videos_a_run_does_not_know_leaves_and_says_no_name_of_them() {
    let Some(program) = nats::program() else {
        return;
    };
    let bench = trained();
    let (fleet, port) = init(&bench, "nano");
    give(&bench, "nano", &[1], &[("Walk", "Juggling")]);
    let _server = Server::start(&program, &bench.path("fleet"), port);
    let wire = Wire::before(port);
    reroute(&bench, "nano", port, wire.port);
    let model = Model::read(&bench.path("artifacts/quantized"));
    let serving = serve(
        &fleet,
        "classes",
        &model,
        &brief(&model, extract()),
        (4, 100),
    )
    .published();
    let (code, said, stderr) = Device::start(join(&bench, "nano", &[])).end();
    assert_eq!(code, 3, "{stderr}");
    let words = ["show Juggling, and the run is about", "name the folders"];
    assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    let back = said
        .iter()
        .find(|line| line["event"] == "given-back")
        .unwrap();
    assert_eq!(back["reason"], "it has no videos of the run's classes");
    // The same device with clips that no network of the run takes.
    serving.stop();
    let mut other = extract();
    other["size"] = json!(32);
    other["resize"] = json!(32);
    give(&bench, "nano", &[1], &[("Walk", "Walk")]);
    let serving = serve(&fleet, "size", &model, &brief(&model, other), (4, 100)).published();
    let (code, _, stderr) = Device::start(join(&bench, "nano", &[])).end();
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("6 frames of 32x32") && stderr.contains("24x24"),
        "{stderr}"
    );
    // What can be cut is no video: the coordinator hears that, and no name.
    serving.stop();
    let walk = bench.path("nano-videos/Walk");
    for entry in std::fs::read_dir(&walk).unwrap() {
        std::fs::write(entry.unwrap().path(), "no video").unwrap();
    }
    let serving = serve(
        &fleet,
        "videos",
        &model,
        &brief(&model, extract()),
        (4, 100),
    )
    .published();
    let (code, said, stderr) = Device::start(join(&bench, "nano", &[])).end();
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("`Walk` has no usable video"), "{stderr}");
    let back = said
        .iter()
        .find(|line| line["event"] == "given-back")
        .unwrap();
    assert_eq!(back["reason"], "its videos cannot be cut");
    let limit = Instant::now() + Duration::from_secs(20);
    let heard = || serving.status().trouble.unwrap_or_default();
    while !heard().contains("its videos cannot be cut") {
        assert!(Instant::now() < limit, "{:#?}", serving.status());
        std::thread::sleep(Duration::from_millis(50));
    }
    serving.stop();
    for bytes in wire.sent() {
        assert_names_no_video(&bytes);
        assert!(!contains(&bytes, "32x32"), "32x32 was sent");
    }
}

/// A fleet that nobody serves, with one device.
fn alone() -> Bench {
    let bench = Bench::new("  videos: {stage: synthesize}\n");
    init(&bench, "nano");
    write(&bench.path("nano-videos/walk/a.avi"));
    bench
}

fn write(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "any").unwrap();
}

fn refused(bench: &Bench, arguments: &[&str], code: i32, words: &[&str]) {
    let all = [&["fleet", "join"], arguments].concat();
    let seed = std::fs::read_to_string(bench.path("fleet/join/nano.join")).unwrap();
    let seed = seed.lines().find(|line| line.starts_with("seed")).unwrap();
    let ended = bench.fedact(&all);
    ended.refused(code, words);
    let secret = seed.split('"').nth(1).unwrap();
    assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret));
}

#[test]
fn what_keeps_a_device_from_joining_is_named_with_the_remedy() {
    let bench = alone();
    let file = "fleet/join/nano.join";
    let videos = ["--videos", "nano-videos"];
    let with = |more: &[&'static str]| [&[file], &videos[..], more].concat();
    refused(
        &bench,
        &["nowhere.join", "--videos", "nano-videos"],
        3,
        &["no join file nowhere.join", "fedact fleet init"],
    );
    refused(
        &bench,
        &[file, "--videos", "nothing"],
        3,
        &["--videos nothing", "a folder of its own"],
    );
    std::fs::create_dir_all(bench.path("empty/walk")).unwrap();
    refused(
        &bench,
        &[file, "--videos", "empty"],
        3,
        &["no video in a folder of a class"],
    );
    refused(
        &bench,
        &with(&["--as-slow-as", "jetson-nanny"]),
        2,
        &["jetson-nanny", "jetson-nano"],
    );
    refused(
        &bench,
        &with(&["--state", "nano-videos/state"]),
        2,
        &["overlap", "--state"],
    );
    assert!(!bench.path("nano-videos/state").exists());
    let path = bench.path(file);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&bench, &with(&[]), 3, &["nano.join", "chmod 600"]);
}

#[test]
fn a_device_waits_for_a_server_that_is_away_says_so_and_leaves_when_interrupted() {
    let bench = alone();
    let mut device = Device::start(join(&bench, "nano", &[]));
    let said = device.until("server").unwrap();
    assert_eq!(said["there"], false);
    let state: PathBuf = bench.path("fleet/join/nano.state");
    let mode = std::fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let pid = device.child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let (code, _, stderr) = device.end();
    assert_eq!(code, 130, "{stderr}");
    assert!(stderr.contains("run the same command again"), "{stderr}");
}
