//! Results from one store to another, through every kind of remote.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use fedact_remote::{Config, Shared, Uploader};
use kit::{Cache, Shop, bucket, config, everything, many, noise, open, s3, walk};

/// Shares results of all shapes and takes them on another machine.
fn there_and_back(config: &Config) {
    let (here, there) = (Shop::new(), Shop::new());
    let remote = open(config);
    for (step, fill) in [("everything", everything as fn(&_)), ("many", many)] {
        let action = here.make(step, fill);
        assert!(remote.find(&action.key).is_none(), "nothing is there yet");
        assert!(matches!(
            remote.share(&here.store, &action),
            Shared::Sent { .. }
        ));
        assert_eq!(remote.share(&here.store, &action), Shared::Known);
        // Another process, with a connection of its own.
        let taken = there.take(&open(config), &action.key).unwrap();
        assert_eq!(taken, action);
        assert_eq!(there.files(&taken), here.files(&action));
    }
    assert_eq!(remote.take_warnings(), [""; 0]);
}

#[test]
fn through_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    there_and_back(&config(folder.path().to_str().unwrap()));
    let left: Vec<_> = walk(folder.path())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(".incoming-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn through_an_s3_server() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("results")).unwrap();
    let server = s3(folder.path());
    there_and_back(&bucket(&server, "s3://results"));
    let folder_of_entries = folder.path().join("results/ac");
    assert_eq!(fs::read_dir(folder_of_entries).unwrap().count(), 2);
}

#[test]
fn through_an_s3_server_below_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("results")).unwrap();
    let server = s3(folder.path());
    there_and_back(&bucket(&server, "s3://results/team/fedact"));
    assert!(folder.path().join("results/team/fedact/cas").is_dir());
}

#[test]
fn through_an_http_cache() {
    let cache = Cache::start();
    there_and_back(&config(&cache.server.url()));
    // With a path, too, the names begin with it.
    let cache = Cache::start();
    let remote = open(&config(&format!("{}/deeper/", cache.server.url())));
    assert!(remote.find(&fedact_artifact::Digest::of("x")).is_none());
    let asked = cache.requests.lock().unwrap()[0].clone();
    assert!(asked.starts_with("GET /deeper/ac/"), "{asked}");
}

#[test]
fn a_large_file_goes_in_parts_or_from_a_mapped_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("results")).unwrap();
    let server = s3(folder.path());
    let cache = Cache::start();
    let here = Shop::new();
    let action = here.make("large", |output| {
        fs::write(output.join("weights"), noise(35 << 20, 7)).unwrap();
    });
    for config in [bucket(&server, "s3://results"), config(&cache.server.url())] {
        let remote = open(&config);
        let shared = remote.share(&here.store, &action);
        assert!(
            matches!(shared, Shared::Sent { .. }),
            "{:?}",
            remote.take_warnings()
        );
        let there = Shop::new();
        let taken = there.take(&open(&config), &action.key).unwrap();
        assert_eq!(there.files(&taken), here.files(&action));
    }
}

#[test]
fn many_small_files_are_few_requests() {
    let cache = Cache::start();
    let (here, there) = (Shop::new(), Shop::new());
    let action = here.make("many", many);
    open(&config(&cache.server.url())).share(&here.store, &action);
    assert_eq!(cache.count("PUT"), 3, "{:?}", cache.requests);
    cache.clear_log();
    there
        .take(&open(&config(&cache.server.url())), &action.key)
        .unwrap();
    assert_eq!(cache.count("GET"), 3, "entry, manifest and pack");
}

#[test]
fn what_is_known_there_is_not_sent_again() {
    let cache = Cache::start();
    let here = Shop::new();
    let one = here.make("one", everything);
    let other = here.make("other", |output| {
        everything(output);
        fs::write(output.join("more"), "more").unwrap();
    });
    let remote = open(&config(&cache.server.url()));
    remote.share(&here.store, &one);
    cache.clear_log();
    remote.share(&here.store, &other);
    assert_eq!(cache.count("PUT /cas/"), 2, "the new file and the manifest");
    assert_eq!(cache.count("PUT /ac/"), 1);
}

#[test]
fn an_uploader_works_beside_the_run_and_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().to_str().unwrap());
    let here = Shop::new();
    let remote = Arc::new(open(&config));
    let uploader = Uploader::start(Arc::clone(&remote), here.store.clone()).unwrap();
    let actions: Vec<_> = (0..5)
        .map(|index| {
            here.make(&format!("step-{index}"), |output| {
                fs::write(output.join("text"), index.to_string()).unwrap();
            })
        })
        .collect();
    actions.iter().for_each(|action| uploader.share(action));
    let uploads = uploader.finish(Duration::from_secs(30), || false);
    assert_eq!((uploads.sent, uploads.left), (5, 0));
    let there = Shop::new();
    for action in &actions {
        assert!(there.take(&remote, &action.key).is_some());
    }
}

#[test]
fn a_reader_shares_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let here = Shop::new();
    let action = here.make("everything", everything);
    let remote = open(&Config {
        write: false,
        ..config(folder.path().to_str().unwrap())
    });
    assert!(!remote.takes());
    assert_eq!(remote.share(&here.store, &action), Shared::Refused);
    assert_eq!(walk(folder.path()).len(), 0);
    assert_eq!(remote.take_warnings(), [""; 0], "it was asked for");
}
