//! Remotes that are gone, slow, closed or wrong: a miss, one line, and the run goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fedact_artifact::{Action, Digest};
use fedact_remote::{Config, Remote, Shared, SigningKey, Uploader};
use kit::{Cache, Fault, Shop, bucket, config, everything, impatient, many, noise, open, s3};

fn hasty(address: &str) -> Config {
    Config {
        limits: impatient(),
        ..config(address)
    }
}

/// A cache that has two results, and the store that made them.
fn stocked() -> (Cache, Shop, Vec<Action>) {
    let (cache, here) = (Cache::start(), Shop::new());
    let actions = vec![here.make("everything", everything), here.make("many", many)];
    let remote = open(&config(&cache.server.url()));
    for action in &actions {
        assert!(matches!(
            remote.share(&here.store, action),
            Shared::Sent { .. }
        ));
    }
    cache.clear_log();
    (cache, here, actions)
}

/// Asks for everything, gets nothing, and hears about it once.
fn refused(remote: &Remote, actions: &[Action]) -> String {
    let there = Shop::new();
    for action in actions {
        assert!(there.take(remote, &action.key).is_none());
        assert!(there.store.lookup(&action.key).unwrap().is_none());
    }
    let warnings = remote.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(remote.take_warnings().is_empty(), "said once");
    warnings.into_iter().next().unwrap()
}

#[test]
fn wrong_contents_are_a_miss() {
    let (cache, _here, actions) = stocked();
    for (fault, word) in [
        (Fault::WrongBytes, "digest"),
        (Fault::Short, "digest"),
        (Fault::Long, "digest"),
    ] {
        cache.behave(fault);
        let warning = refused(&open(&hasty(&cache.server.url())), &actions);
        assert!(warning.contains(word), "{fault:?}: {warning}");
        assert!(warning.contains("miss"), "{warning}");
    }
    // It mends its ways, and is believed again by the next run.
    cache.behave(Fault::None);
    let there = Shop::new();
    let remote = open(&config(&cache.server.url()));
    assert!(there.take(&remote, &actions[0].key).is_some());
}

#[test]
fn a_wrong_content_deep_inside_is_found() {
    let (cache, here, actions) = stocked();
    let manifest = here.store.manifest(&actions[0].output).unwrap().unwrap();
    for (_, _, digest) in manifest.files() {
        let name = format!("/cas/{digest}");
        let right = cache.blobs.lock().unwrap()[&name].clone();
        for wrong in [&b"other"[..], b""] {
            if wrong == right {
                continue;
            }
            cache
                .blobs
                .lock()
                .unwrap()
                .insert(name.clone(), wrong.to_vec().into());
            refused(&open(&hasty(&cache.server.url())), &actions[..1]);
        }
        cache.blobs.lock().unwrap().remove(&name);
        let warning = refused(&open(&hasty(&cache.server.url())), &actions[..1]);
        assert!(warning.contains("not there"), "{warning}");
        cache.blobs.lock().unwrap().insert(name, right);
    }
}

#[test]
fn a_wrong_entry_is_a_miss() {
    let (cache, _here, actions) = stocked();
    let name = |index: usize| format!("/ac/{}", actions[index].key);
    let other = cache.blobs.lock().unwrap()[&name(1)].clone();
    for wrong in [other, "".into(), "<html>".into(), vec![0xff; 9000].into()] {
        cache.blobs.lock().unwrap().insert(name(0), wrong);
        let remote = open(&hasty(&cache.server.url()));
        refused(&remote, &actions[..1]);
        // What is right there is still had.
        assert!(Shop::new().take(&remote, &actions[1].key).is_some());
    }
}

#[test]
fn slow_servers_are_given_up_in_seconds() {
    let (cache, _here, actions) = stocked();
    for fault in [Fault::Drip, Fault::Mute] {
        cache.behave(fault);
        let began = Instant::now();
        let warning = refused(&open(&hasty(&cache.server.url())), &actions);
        assert!(began.elapsed() < Duration::from_secs(10), "{fault:?}");
        assert!(warning.contains("going on without it"), "{warning}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_asked_once() {
    let (mut cache, _here, actions) = stocked();
    let url = cache.server.url();
    cache.server.kill();
    let warning = refused(&open(&hasty(&url)), &actions);
    assert!(warning.contains("cannot be reached"), "{warning}");
    assert!(warning.contains("going on without it"), "{warning}");
}

#[test]
fn a_server_that_fails_or_refuses_is_asked_once() {
    let (cache, here, actions) = stocked();
    for (fault, words) in [
        (Fault::Forbidden, "check the credentials"),
        (Fault::Failing, "cannot be reached"),
        (Fault::Broken, "going on without it"),
    ] {
        cache.behave(fault);
        let remote = open(&hasty(&cache.server.url()));
        let warning = refused(&remote, &actions);
        assert!(warning.contains(words), "{fault:?}: {warning}");
        cache.clear_log();
        assert!(remote.find(&actions[0].key).is_none());
        assert!(
            cache.requests.lock().unwrap().is_empty(),
            "it is left alone"
        );
    }
    drop(here);
}

#[test]
fn wrong_credentials_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("results")).unwrap();
    let server = s3(folder.path());
    let mut config = Config {
        limits: impatient(),
        ..bucket(&server, "s3://results")
    };
    let secret = config.access.aws.get_mut("AWS_SECRET_ACCESS_KEY").unwrap();
    secret.push('!');
    let remote = open(&config);
    assert!(remote.find(&Digest::of("key")).is_none());
    let warnings = remote.take_warnings();
    assert!(
        warnings[0].contains("check the credentials"),
        "{warnings:?}"
    );

    let cache = Cache::start();
    *cache.authorization.lock().unwrap() = Some("Basic Y2k6aHVudGVyMg==".into());
    let url = |password: &str| format!("http://ci:{password}@{}", cache.server.address);
    let remote = open(&hasty(&url("wrong")));
    assert!(remote.find(&Digest::of("key")).is_none());
    let warnings = remote.take_warnings();
    assert!(warnings[0].contains("ci:***@"), "{warnings:?}");
    let remote = open(&hasty(&url("hunter2")));
    assert!(remote.find(&Digest::of("key")).is_none());
    assert_eq!(remote.take_warnings(), [""; 0], "a miss, and no fault");
}

#[test]
fn a_server_that_takes_nothing_is_still_read() {
    let (cache, here, actions) = stocked();
    cache.behave(Fault::ReadOnly);
    let remote = open(&hasty(&cache.server.url()));
    let fresh = here.make("fresh", everything);
    assert_eq!(remote.share(&here.store, &fresh), Shared::Refused);
    assert!(!remote.takes());
    assert!(remote.take_warnings()[0].contains("not shared"));
    assert!(Shop::new().take(&remote, &actions[0].key).is_some());
}

#[test]
fn a_server_killed_in_the_middle_of_an_upload_leaves_no_half_result() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("results")).unwrap();
    let mut server = s3(folder.path());
    let config = Config {
        limits: impatient(),
        ..bucket(&server, "s3://results")
    };
    let here = Shop::new();
    let action = here.make("files", |output| {
        for index in 0..60 {
            fs::write(output.join(index.to_string()), noise(400_000, index)).unwrap();
        }
    });
    let remote = Arc::new(open(&config));
    let uploader = Uploader::start(Arc::clone(&remote), here.store.clone()).unwrap();
    uploader.share(&action);
    let contents = folder.path().join("results/cas");
    while fs::read_dir(&contents).map_or(0, Iterator::count) < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.kill();
    let uploads = uploader.finish(Duration::from_secs(30), || false);
    assert_eq!(uploads.sent, 0, "{:?}", remote.take_warnings());
    assert!(!folder.path().join("results/ac").exists());
    assert_eq!(remote.take_warnings().len(), 1);
    // The next run finds the server up again, and finishes what is missing.
    let server = s3(folder.path());
    let config = bucket(&server, "s3://results");
    assert!(matches!(
        open(&config).share(&here.store, &action),
        Shared::Sent { .. }
    ));
    assert!(Shop::new().take(&open(&config), &action.key).is_some());
}

#[test]
fn a_server_killed_in_the_middle_of_a_download_leaves_no_half_result() {
    let (mut cache, _here, actions) = stocked();
    let there = Shop::new();
    let remote = open(&hasty(&cache.server.url()));
    let entry = remote.find(&actions[0].key).unwrap();
    cache.server.kill();
    let tree = there.store.scratch_tree().unwrap();
    let fetched = remote.fetch(&entry, tree.path(), &|_, _| true).unwrap();
    assert!(fetched.is_none());
    assert_eq!(remote.take_warnings().len(), 1);
}

#[test]
fn who_stops_waiting_leaves_at_once_and_nothing_is_said() {
    let (cache, _here, actions) = stocked();
    let there = Shop::new();
    let remote = open(&config(&cache.server.url()));
    let entry = remote.find(&actions[0].key).unwrap();
    let tree = there.store.scratch_tree().unwrap();
    let fetched = remote
        .fetch(&entry, tree.path(), &|had, _| had == 0)
        .unwrap();
    assert!(fetched.is_none());
    assert_eq!(remote.take_warnings(), [""; 0]);

    cache.behave(Fault::Mute);
    let here = Shop::new();
    let uploader = Uploader::start(Arc::new(remote), here.store.clone()).unwrap();
    uploader.share(&here.make("fresh", everything));
    let began = Instant::now();
    let uploads = uploader.finish(Duration::from_secs(60), || {
        began.elapsed() > Duration::from_millis(100)
    });
    assert_eq!((uploads.sent, uploads.left), (0, 1));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn only_signed_claims_of_trusted_keys_are_believed() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().to_str().unwrap();
    let (main, stranger) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let reader = Config {
        trust: vec![main.public()],
        ..config(address)
    };
    let here = Shop::new();
    let action = here.make("everything", everything);
    // Without a signature, and with that of somebody else.
    for signing in [None, Some(stranger)] {
        let writer = Config {
            signing,
            ..config(address)
        };
        let shared = open(&writer).share(&here.store, &action);
        assert!(matches!(shared, Shared::Sent { .. }), "{shared:?}");
        let warning = refused(&open(&reader), std::slice::from_ref(&action));
        assert!(warning.contains("signed"), "{warning}");
    }
    // The owner of the key shares the same result: it replaces what nobody could believe.
    let writer = Config {
        signing: Some(main),
        ..reader.clone()
    };
    let shared = open(&writer).share(&here.store, &action);
    assert!(matches!(shared, Shared::Sent { .. }), "{shared:?}");
    assert!(Shop::new().take(&open(&reader), &action.key).is_some());
    // Who trusts keys but has none does not litter.
    let remote = open(&reader);
    assert!(!remote.takes());
    assert!(Shop::new().take(&open(&writer), &action.key).is_some());
}

#[test]
fn a_folder_that_is_not_there_is_told_from_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let remote = open(&config(folder.path().join("gone").to_str().unwrap()));
    assert!(remote.find(&Digest::of("key")).is_none());
    assert!(remote.take_warnings()[0].contains("cannot be reached"));
    let remote = open(&config(folder.path().to_str().unwrap()));
    assert!(remote.find(&Digest::of("key")).is_none());
    assert_eq!(remote.take_warnings(), [""; 0]);
}
