//! Results shared between machines, through the command and real servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, Ended, TINY};
use fedact_servers::{ACCESS_KEY, Cache, Fault, SECRET_KEY, Server, s3};
use serde_json::Value;

fn steps() -> String {
    format!(
        "  videos: {{stage: synthesize, params: {TINY}}}\n  clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 2, size: 16, resize: 16}}}}\n"
    )
}

fn tiny() -> Bench {
    Bench::new(&steps())
}

/// The command with variables of its own in the environment.
fn with(bench: &Bench, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = bench.command(arguments);
    for (name, value) in variables {
        command.env(name, value);
    }
    Ended::of(command.output().unwrap())
}

/// What the tools of S3 read, for the server of a test.
fn aws(url: &str) -> [(&str, &str); 4] {
    [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", url),
    ]
}

/// The lines that warn.
fn warnings(ended: &Ended) -> Vec<&str> {
    let lines = ended.stderr.lines();
    lines.filter(|line| line.starts_with("warning: ")).collect()
}

/// A cache that has what a run of the pipeline made.
fn stocked() -> (Cache, Bench) {
    let (cache, bench) = (Cache::start(), tiny());
    let ended = bench.fedact(&["run", "--remote", &cache.server.url()]);
    let words = "\nshared 2 results through the remote\n";
    assert!(ended.done().stdout.contains(words), "{ended:#?}");
    assert_eq!(warnings(&ended), [""; 0]);
    cache.clear_log();
    (cache, bench)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_bucket_gives_one_machine_what_another_has_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("results")).unwrap();
    let server: Server = s3(folder.path());
    let url = server.url();
    let aws = aws(&url);
    let address = ["--remote", "s3://results/fedact"];
    let first = tiny();
    let ended = with(&first, &aws, &[&["run"], &address[..]].concat());
    assert!(
        ended.done().stdout.contains("shared 2 results"),
        "{ended:#?}"
    );

    let second = tiny();
    let asked = |arguments: &[&str]| with(&second, &aws, &[arguments, &address[..]].concat());
    let status = asked(&["status"]);
    let lines: Vec<&str> = status.done().stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "videos  synthesize  on the remote",
            "clips   extract     on the remote"
        ]
    );
    let dry = asked(&["run", "--dry-run"]);
    assert!(
        dry.done()
            .stdout
            .ends_with("would fetch 1 step from the remote (clips)\n"),
        "{dry:#?}"
    );
    let shown = asked(&["show", "clips"]);
    assert!(
        shown.done().stdout.contains(", on the remote\n"),
        "{shown:#?}"
    );
    let run = asked(&["run"]);
    assert!(
        run.done()
            .stdout
            .starts_with("fetched 1 step (clips); 1 step left on the remote, in "),
        "{run:#?}"
    );
    let clips =
        |bench: &Bench| fs::read(bench.path("artifacts/clips/clips-00000.safetensors")).unwrap();
    assert_eq!(clips(&first), clips(&second));
    assert!(!second.path("artifacts/videos").exists());
    let again = asked(&["run"]);
    assert!(
        again
            .done()
            .stdout
            .starts_with("nothing to do: 1 step from the store, 1 step left on the remote"),
        "{again:#?}"
    );
    assert_eq!(second.fedact(&["verify"]).code, 0);
    assert_eq!(second.fedact(&["gc"]).code, 0);
    assert!(second.path("artifacts/clips/clips.jsonl").is_file());
    let all = asked(&["run", "--fetch", "all"]);
    assert!(
        all.done()
            .stdout
            .starts_with("fetched 1 step (videos); 1 step from the store"),
        "{all:#?}"
    );
    assert_eq!(second.fedact(&["verify"]).code, 0);
    // Without the remote it is all there, too.
    let alone = second.fedact(&["run"]);
    assert!(
        alone.done().stdout.starts_with("nothing to do: 2 steps"),
        "{alone:#?}"
    );
}

#[test]
fn only_what_is_needed_is_asked_for_and_fetched() {
    let (cache, first) = stocked();
    let url = cache.server.url();
    let second = tiny();
    second.fedact(&["run", "--remote", &url]).done();
    assert_eq!(cache.count("GET /ac/"), 2, "each key is asked for once");
    assert_eq!(cache.count("PUT"), 0);
    let size = |step: &str| -> u64 {
        let shown = first.fedact(&["show", step, "--json"]);
        let files = json(&shown.done().stdout)["files"].clone();
        let sizes = files.as_array().unwrap().iter();
        sizes.filter_map(|file| file["size"].as_u64()).sum()
    };
    let given = cache.given.load(std::sync::atomic::Ordering::SeqCst);
    // Two records and the manifest of the clips come, too; of the videos nothing does.
    let records = 16_384;
    assert!(given >= size("clips"), "{given}");
    assert!(
        given < size("clips") + records,
        "{given} of {}",
        size("clips")
    );
    assert!(size("videos") > 0);
    // What is all in the store needs no connection.
    cache.clear_log();
    for arguments in [
        &["run"][..],
        &["run", "--dry-run"],
        &["status"],
        &["show", "clips"],
    ] {
        let ended = first.fedact(&[arguments, &["--remote", &url]].concat());
        assert_eq!(ended.done().stderr, "");
    }
    assert_eq!(*cache.requests.lock().unwrap(), [""; 0]);
    // A step that runs has its inputs brought, and its result is shared.
    let third = tiny();
    let ended = third.fedact(&["run", "--remote", &url, "--set", "clips.frames=3"]);
    assert!(
        ended
            .done()
            .stdout
            .starts_with("ran 1 step (clips); fetched 1 step (videos)"),
        "{ended:#?}"
    );
    assert_eq!(cache.count("PUT /ac/"), 1);
}

#[test]
fn events_of_a_run_say_what_came_from_where() {
    let (cache, _first) = stocked();
    let url = cache.server.url();
    let second = tiny();
    let ended = second.fedact(&["run", "--remote", &url, "--json"]);
    let events: Vec<Value> = ended.done().stdout.lines().map(json).collect();
    let of = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
    assert_eq!(of("planned")["fetches"], serde_json::json!(["clips"]));
    assert_eq!(of("planned")["plan"]["steps"][0]["state"], "remote");
    assert_eq!(of("remote")["step"], "videos");
    assert_eq!(of("fetched")["step"], "clips");
    assert!(of("fetched")["bytes"].as_u64().unwrap() > 0);
    let end = of("ended");
    assert_eq!(end["fetched"], serde_json::json!(["clips"]));
    assert_eq!(end["remote"], serde_json::json!(["videos"]));
    assert_eq!((&end["shared"], &end["unshared"]), (&0.into(), &0.into()));
}

#[test]
fn a_remote_that_fails_costs_one_warning_and_no_run() {
    let (mut cache, _first) = stocked();
    let url = cache.server.url();
    for (fault, words) in [
        (Fault::WrongBytes, "its digest is another"),
        (Fault::Failing, "going on without it"),
        (Fault::Mute, "going on without it"),
    ] {
        cache.behave(fault);
        let bench = tiny();
        let began = Instant::now();
        let ended = bench.fedact(&["run", "--remote", &url]);
        assert!(
            ended.done().stdout.starts_with("ran 2 steps"),
            "{fault:?}: {ended:#?}"
        );
        assert_eq!(warnings(&ended).len(), 1, "{fault:?}: {ended:#?}");
        assert!(warnings(&ended)[0].contains(words), "{fault:?}: {ended:#?}");
        assert!(began.elapsed() < Duration::from_secs(40), "{fault:?}");
    }
    cache.server.kill();
    let bench = tiny();
    for arguments in [&["status"][..], &["run", "--dry-run"], &["run"]] {
        let ended = bench.fedact(&[arguments, &["--remote", &url]].concat());
        assert_eq!(warnings(ended.done()).len(), 1, "{ended:#?}");
        assert!(
            warnings(&ended)[0].contains("cannot be reached"),
            "{ended:#?}"
        );
    }
    assert!(bench.path("artifacts/clips/clips.jsonl").is_file());
    let gone = bench.path("no/such/drive");
    let ended = tiny().fedact(&["run", "videos", "--remote", gone.to_str().unwrap()]);
    assert_eq!(warnings(ended.done()).len(), 1, "{ended:#?}");
}

/// Makes a pair of keys; gives the public one.
fn keygen(folder: &Path, name: &str) -> String {
    let bench = tiny();
    let file = folder.join(name);
    let ended = bench.fedact(&["remote", "keygen", file.to_str().unwrap()]);
    ended.done().stdout.trim().to_owned()
}

#[test]
fn a_signing_key_is_its_owners_alone_and_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let public = keygen(folder.path(), "key");
    assert!(public.starts_with("fedact-public-"), "{public}");
    let file = folder.path().join("key");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("fedact-signing-"));
    tiny()
        .fedact(&["remote", "keygen", file.to_str().unwrap()])
        .refused(2, &["is there already", "another file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let other = folder.path().join("other");
    let ended = tiny().fedact(&["remote", "keygen", other.to_str().unwrap(), "--json"]);
    let printed = json(&ended.done().stdout);
    assert_ne!(printed["public"], public.as_str());
    assert_eq!(printed["file"], other.to_str().unwrap());
}

/// What main makes and signs, pull requests read; what they write, nobody believes.
#[test]
fn a_pull_request_reads_and_never_writes_what_main_reads() {
    let folder = tempfile::tempdir().unwrap();
    let public = keygen(folder.path(), "main.key");
    let key = folder.path().join("main.key");
    let remote = folder.path().join("remote");
    fs::create_dir(&remote).unwrap();
    let pipeline = |bench: &Bench, mode: &str| {
        bench.write(&format!(
            "version: 1\nremote:\n  url: {}\n  mode: {mode}\n  trust: [{public}]\nsteps:\n{}",
            remote.display(),
            steps()
        ));
    };
    let entries = || walk(&remote.join("ac")).len();
    // Somebody without a key shares nothing where keys are trusted ...
    let pull = tiny();
    pipeline(&pull, "read-write");
    let ended = pull.fedact(&["run"]);
    assert!(!ended.done().stdout.contains("shared"), "{ended:#?}");
    assert_eq!(entries(), 0);
    // ... and what is brought there without a signature all the same is a miss.
    let stranger = tiny();
    let there = remote.to_str().unwrap();
    stranger.fedact(&["run", "--remote", there]).done();
    assert_eq!(entries(), 2);
    let main = tiny();
    pipeline(&main, "read-write");
    let signing = [("FEDACT_SIGNING_KEY_FILE", key.to_str().unwrap())];
    let ended = with(&main, &signing, &["run"]);
    assert!(ended.done().stdout.starts_with("ran 2 steps"), "{ended:#?}");
    assert!(ended.stdout.contains("shared 2 results"), "{ended:#?}");
    assert_eq!(warnings(&ended).len(), 1, "{ended:#?}");
    assert!(warnings(&ended)[0].contains("not signed"), "{ended:#?}");
    // A pull request takes main's, by the variable or the option, and leaves its own at home.
    let before = walk(&remote);
    for (variables, option) in [
        (&[("FEDACT_REMOTE_MODE", "read")][..], None),
        (&[], Some("--remote-read-only")),
    ] {
        let pull = tiny();
        pipeline(&pull, "read-write");
        let mut arguments = vec!["run"];
        arguments.extend(option);
        let ended = with(&pull, variables, &arguments);
        assert!(
            ended.done().stdout.starts_with("fetched 1 step (clips)"),
            "{ended:#?}"
        );
        assert_eq!(warnings(&ended), [""; 0], "{ended:#?}");
        arguments.extend(["--set", "clips.frames=3"]);
        let ended = with(&pull, variables, &arguments);
        assert!(
            ended.done().stdout.starts_with("ran 1 step (clips)"),
            "{ended:#?}"
        );
        assert_eq!(walk(&remote), before);
    }
    // A key that is no longer trusted: what it signed is a miss.
    let later = tiny();
    pipeline(&later, "read");
    let other = keygen(folder.path(), "other.key");
    let ended = with(
        &later,
        &[("FEDACT_REMOTE_TRUST", &other)],
        &["run", "--dry-run"],
    );
    assert!(
        ended.done().stdout.contains("would run 1 of 2"),
        "{ended:#?}"
    );
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Starts a run whose uploads never end, and waits until they are all that is left of it.
fn hanging(cache: &Cache) -> (Bench, std::process::Child) {
    cache.behave(Fault::Hoarding);
    let bench = tiny();
    let runner = Command::new(env!("CARGO_BIN_EXE_fedact"))
        .current_dir(bench.path(""))
        .args(["run", "--json", "--remote", &cache.server.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !bench.path("artifacts/clips/clips.jsonl").is_file() || cache.count("PUT") == 0 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    (bench, runner)
}

#[test]
fn a_run_that_is_killed_while_it_shares_leaves_no_half_result() {
    let cache = Cache::start();
    let (bench, mut runner) = hanging(&cache);
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert_eq!(cache.count("PUT /ac/"), 0);
    assert!(cache.blobs.lock().unwrap().is_empty());
    // Here everything is there; what was not shared can be, later.
    cache.behave(Fault::None);
    let url = cache.server.url();
    let again = bench.fedact(&["run", "--remote", &url]);
    assert!(
        again.done().stdout.starts_with("nothing to do: 2 steps"),
        "{again:#?}"
    );
    let all = bench.fedact(&["run", "--remote", &url, "--share", "all"]);
    assert!(all.done().stdout.contains("shared 2 results"), "{all:#?}");
    let second = tiny().fedact(&["run", "--remote", &url]);
    assert!(
        second.done().stdout.starts_with("fetched 1 step (clips)"),
        "{second:#?}"
    );
}

#[test]
fn uploads_are_waited_for_unless_the_user_interrupts() {
    let cache = Cache::start();
    let (_bench, runner) = hanging(&cache);
    std::thread::sleep(Duration::from_millis(300));
    let sent = Command::new("kill")
        .args(["-INT", &runner.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let began = Instant::now();
    let ended = Ended::of(runner.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(3), "{ended:#?}");
    assert_eq!(ended.code, 0, "all steps were done: {ended:#?}");
    let events: Vec<Value> = ended.stdout.lines().map(json).collect();
    let sharing = events.iter().find(|event| event["event"] == "sharing");
    assert!(sharing.unwrap()["results"].as_u64().unwrap() > 0);
    assert!(events.last().unwrap()["unshared"].as_u64().unwrap() > 0);
}

#[test]
fn the_pipeline_file_can_name_the_remote_and_nothing_of_it_enters_a_key() {
    let bench = tiny();
    let keys = |bench: &Bench| -> Vec<Value> {
        let status = bench.fedact(&["status", "--json"]);
        let steps = json(&status.done().stdout)["steps"].clone();
        steps
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["key"].clone())
            .collect()
    };
    bench.fedact(&["run"]).done();
    let before = keys(&bench);
    fs::create_dir(bench.path("shared")).unwrap();
    let named = |url: &str| format!("version: 1\nremote: {{url: {url}}}\nsteps:\n{}", steps());
    bench.write(&named("shared"));
    assert_eq!(keys(&bench), before);
    // A file that does not say `read-write` gives nothing away.
    bench.fedact(&["run", "--share", "all"]).done();
    assert_eq!(walk(&bench.path("shared")).len(), 0);
    bench.write(&named("shared, mode: read-write"));
    bench.fedact(&["run", "--share", "all"]).done();
    // The folder counts from the file, wherever the command runs.
    assert_eq!(walk(&bench.path("shared/ac")).len(), 2);
    // An option counts before the environment, that before the file; an empty variable is none.
    let elsewhere = bench.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let fresh = tiny();
    fresh.write(&named(bench.path("shared").to_str().unwrap()));
    let status = |variable: &str, arguments: &[&str]| {
        let arguments = [&["status"], arguments].concat();
        let ended = with(&fresh, &[("FEDACT_REMOTE", variable)], &arguments);
        ended.done().stdout.matches("on the remote").count()
    };
    let elsewhere = elsewhere.to_str().unwrap();
    let shared = bench.path("shared");
    assert_eq!(status("", &[]), 2);
    assert_eq!(status(elsewhere, &[]), 0);
    assert_eq!(
        status(elsewhere, &["--remote", shared.to_str().unwrap()]),
        2
    );
    assert_eq!(status("", &["--no-remote"]), 0);
    assert_eq!(status(shared.to_str().unwrap(), &["--no-remote"]), 0);
}

#[test]
fn a_token_goes_where_an_option_or_the_environment_sends_it_and_not_where_a_file_does() {
    let cache = Cache::start();
    let url = cache.server.url();
    *cache.authorization.lock().unwrap() = Some("Bearer secret".to_owned());
    let bench = tiny();
    let token = ("FEDACT_REMOTE_TOKEN", "secret");
    let ended = with(
        &bench,
        &[token, ("FEDACT_REMOTE", &url)],
        &["run", "videos"],
    );
    assert!(
        ended.done().stdout.contains("shared 1 result"),
        "{ended:#?}"
    );
    let ended = with(&tiny(), &[token], &["status", "--remote", &url]);
    assert!(ended.done().stdout.contains("on the remote"), "{ended:#?}");
    let bench = tiny();
    bench.write(&format!(
        "version: 1\nremote: {{url: '{url}'}}\nsteps:\n{}",
        steps()
    ));
    let ended = with(&bench, &[token], &["status"]);
    assert!(!ended.done().stdout.contains("on the remote"), "{ended:#?}");
    assert!(
        ended.stderr.contains("FEDACT_REMOTE_TOKEN is sent only to"),
        "{ended:#?}"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let bench = tiny();
    bench.fedact(&["run", "--remote", "ftp://host/x"]).refused(
        2,
        &[
            "--remote: `ftp://host/x` is not the address of a remote",
            "s3://BUCKET/PREFIX",
        ],
    );
    with(&bench, &[("FEDACT_REMOTE", "s3://")], &["status"])
        .refused(2, &["FEDACT_REMOTE: `s3://`", "it names no bucket"]);
    let variables = [("FEDACT_REMOTE", "x"), ("FEDACT_REMOTE_MODE", "write")];
    with(&bench, &variables, &["status"])
        .refused(2, &["FEDACT_REMOTE_MODE is `write`", "read-write"]);
    for (name, value) in [
        ("FEDACT_REMOTE_TRUST", "fedact-public-12"),
        ("FEDACT_SIGNING_KEY", "hunter2"),
        ("FEDACT_SIGNING_KEY_FILE", "/no/such/file"),
    ] {
        let ended = with(
            &bench,
            &[("FEDACT_REMOTE", "x"), (name, value)],
            &["status"],
        );
        ended.refused(2, &[name]);
        assert!(!ended.stderr.contains("hunter2"), "{ended:#?}");
    }
    let file = |remote: &str| {
        bench.write(&format!(
            "version: 1\nremote: {remote}\nsteps:\n{}",
            steps()
        ));
        bench.fedact(&["run"])
    };
    file("{url: 'ftp://host/x'}").refused(3, &["pipeline.yaml:2:10: `remote.url`: `ftp://host/x`"]);
    file("{url: x, trust: [me]}").refused(3, &["pipeline.yaml:2:26: `remote.trust`", "keygen"]);
    file("{url: x, trust: []}")
        .refused(3, &["pipeline.yaml:2:18: `remote.trust` is an empty list"]);
    file("{url: x, mode: write}").refused(
        3,
        &["`remote.mode` is \"write\", but must be `read` or `read-write`"],
    );
    file("{mode: read}").refused(3, &["`remote.url` is missing"]);
    file("{url: x, trusts: [a]}")
        .refused(3, &["unknown key `remote.trusts` (did you mean `trust`?)"]);
    file("s3://bucket").refused(
        3,
        &["`remote` is \"s3://bucket\", but must be a mapping with `url`"],
    );
    assert!(!bench.path("artifacts").exists());
}
