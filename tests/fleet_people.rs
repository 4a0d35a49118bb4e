//! A fleet whose people change while it works, by the command.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

#[allow(dead_code)]
mod bench;
mod crowd;
mod nats;

use std::os::unix::fs::PermissionsExt;

use bench::Bench;
use crowd::{bench, join, json, scene, serve, status_when};
use fedact_fleet::FleetError;
use fedact_fleet::client::Ended as Left;
use fedact_fleet::coordinator::Ended as Served;
use serde_json::Value;

#[test]
fn a_revoked_device_is_put_out_of_a_run_that_goes_on() {
    let Some((bench, _server, runtime, stop)) = scene() else {
        return;
    };
    let serving = serve(&runtime, &bench.path("fleet"), "long", 1_000_000, &stop);
    let good = join(&runtime, &bench, "nano-1", &stop);
    let bad = join(&runtime, &bench, "pi-3", &stop);
    status_when(&bench, |status| {
        [0, 2]
            .iter()
            .all(|place| status["devices"][place]["counted"].as_u64() > Some(0))
    });

    let told = json(&bench.fedact(&["fleet", "revoke", "pi-3", "--json"]));
    assert_eq!(told["server_told"], true);
    assert_eq!(told["revoked_before"], false);
    let left = runtime.block_on(bad).unwrap();
    assert!(matches!(left, Err(FleetError::NotLetIn { .. })), "{left:?}");
    let status = status_when(&bench, |status| status["devices"][2]["presence"] == "away");
    assert_eq!(status["devices"][2]["revoked"], true);
    let text = bench.fedact(&["fleet", "status"]).done().stdout.clone();
    assert!(text.contains("\npi-3    revoked"), "{text}");

    // The others work on.
    let counted = |status: &Value| status["devices"][0]["counted"].as_u64();
    let before = counted(&status);
    status_when(&bench, |status| counted(status) > before);
    stop.set();
    assert_eq!(serving.join().unwrap(), Served::Stopped);
    assert_eq!(runtime.block_on(good).unwrap().unwrap(), Left::Stopped);
}

#[test]
fn a_fleet_grows_while_a_run_is_under_way_and_the_new_device_takes_part() {
    let Some((bench, _server, runtime, stop)) = scene() else {
        return;
    };
    let serving = serve(&runtime, &bench.path("fleet"), "long", 1_000_000, &stop);
    let old = join(&runtime, &bench, "nano-1", &stop);
    status_when(&bench, |status| {
        status["devices"][0]["counted"].as_u64() > Some(0)
    });

    let added = json(&bench.fedact(&["fleet", "add", "pi-4,pi-5", "--json"]));
    assert_eq!(added["servers"][0]["configuration"], "read");
    assert_eq!(added["run_under_way"], true);
    let file = bench.path("fleet/join/pi-5.join");
    assert!(
        added["join_files"][1]
            .as_str()
            .unwrap()
            .ends_with("fleet/join/pi-5.join")
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let new = join(&runtime, &bench, "pi-5", &stop);
    let status = status_when(&bench, |status| {
        status["devices"][4]["counted"].as_u64() > Some(0)
    });
    assert_eq!(status["devices"][4]["name"], "pi-5");
    assert_eq!(status["devices"][3]["presence"], "away");
    assert_eq!(status["next_run"], Value::Array(Vec::new()));
    stop.set();
    assert_eq!(serving.join().unwrap(), Served::Stopped);
    for device in [old, new] {
        assert_eq!(runtime.block_on(device).unwrap().unwrap(), Left::Stopped);
    }
}

#[test]
fn names_are_given_once_and_a_new_device_is_told_of_with_its_file() {
    let bench = bench(nats::free_port());
    let add = |names: &str| bench.fedact(&["fleet", "add", names]);
    let text = add("pi-4").done().stdout.clone();
    for words in [
        "fleet `fleet` has 1 device more",
        "fleet/join/pi-4.join",
        "cannot be reached: it goes by it when it is started with",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert!(!text.contains("a run is under way"), "{text}");
    add("pi-4").refused(2, &["the fleet has a device `pi-4`", "a name of its own"]);
    add("pi-6,pi-6").refused(2, &["`pi-6` is named twice"]);
    add("Pi 7").refused(2, &["`Pi 7` is no name"]);
    bench.fedact(&["fleet", "revoke", "pi-4"]).done();
    add("pi-4").refused(2, &["has sent away a device `pi-4`", "a name of its own"]);
    let status = json(&bench.fedact(&["fleet", "status", "--json"]));
    assert_eq!(status["devices"].as_array().unwrap().len(), 4);
    // And the way there is said to whoever tries it with `init`.
    let init = ["fleet", "init", "--devices", "pi-9", "--host", "127.0.0.1"];
    bench
        .fedact(&init)
        .refused(2, &["holds a fleet already", "`fedact fleet add`"]);
}

#[test]
fn a_server_that_does_not_follow_a_revocation_is_told_of_and_the_command_fails() {
    let Some(program) = nats::program() else {
        return;
    };
    let port = nats::free_port();
    let bench = bench(port);
    let server = nats::Server::start(&program, &bench.path("fleet"), port);
    let path = bench.path("fleet/nats.conf");
    let text = std::fs::read_to_string(&path).unwrap();
    let larger = text.replace("max_file_store: 4294967296", "max_file_store: 8589934592");
    assert_ne!(text, larger);
    std::fs::write(&path, larger).unwrap();
    let revoke = || bench.fedact(&["fleet", "revoke", "pi-3"]);
    let refused = revoke();
    assert_eq!(refused.code, 1, "{refused:#?}");
    for words in ["DOES NOT GO BY IT", "start it again"] {
        assert!(
            refused.stdout.contains(words),
            "no {words:?} in {refused:#?}"
        );
    }
    drop(server);
    let _server = nats::Server::start(&program, &bench.path("fleet"), port);
    let text = revoke().done().stdout.clone();
    assert!(text.contains("was revoked before"), "{text}");
    assert!(
        text.contains("goes by it: it has ended the device's connection"),
        "{text}"
    );
}

#[test]
fn certificates_are_renewed_where_there_are_some() {
    bench(4222)
        .fedact(&["fleet", "renew"])
        .refused(2, &["on loopback alone and has no certificates"]);
    let bench = Bench::new("");
    let init = ["fleet", "init", "--devices", "a", "--host", "fl.invalid"];
    bench.fedact(&init).done();
    let text = bench.fedact(&["fleet", "renew"]).done().stdout.clone();
    assert!(
        text.contains("good until 20") && text.contains("no device needs to be told"),
        "{text}"
    );
    let renewed = json(&bench.fedact(&["fleet", "renew", "--json"]));
    assert_eq!(renewed["servers"][0]["configuration"], "away");
}
