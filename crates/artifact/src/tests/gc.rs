use std::collections::BTreeSet;

use super::*;

fn keep(names: &[&str]) -> BTreeSet<Digest> {
    names.iter().map(|name| key(name)).collect()
}

fn publish(house: &House, name: &str, files: &[(&str, &str)]) -> Action {
    house.publish(&key(name), |output| {
        for (path, content) in files {
            write(&output.join(path), content);
        }
    })
}

fn manifest_bytes(house: &House, action: &Action) -> u64 {
    fs::metadata(house.store.manifest_file(&action.output))
        .unwrap()
        .len()
}

/// How many stat caches of folders of the user's there are.
fn folder_caches(house: &House) -> usize {
    let names = fs::read_dir(house.store.stats_folder()).unwrap();
    names
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("folder-")
        })
        .count()
}

#[test]
fn the_manifests_of_kept_results_and_of_their_inputs_stay() {
    let house = House::new();
    let folder = house.path("videos");
    let digest_of = |content: &str| {
        write(&folder.join("a.mp4"), content);
        house
            .store
            .digest_folder(&folder, |_, _| {})
            .unwrap()
            .digest
    };
    let (named, told, unused) = (digest_of("one"), digest_of("two"), digest_of("three"));
    std::thread::sleep(std::time::Duration::from_millis(60));
    let current = digest_of("four");
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(
        house
            .store
            .digest_folder(&folder, |_, _| {})
            .unwrap()
            .digest,
        current
    );
    let workspace = house.workspace(&key("kept"));
    let provenance = Provenance {
        inputs: [(
            "videos".to_owned(),
            vec![Source {
                name: "videos".to_owned(),
                digest: told,
                key: None,
            }],
        )]
        .into(),
        ..provenance("step")
    };
    let kept = workspace
        .publish(
            json!({"inputs": {"videos": [{"digest": named}]}}),
            provenance,
        )
        .unwrap();
    let collect = || {
        let plan = collection(&house.store.inventory().unwrap(), &keep(&["kept"]));
        house.store.collect(&plan).unwrap();
    };
    let is_kept = |digest: &Digest| house.store.manifest(digest).unwrap().is_some();
    collect();
    assert!([named, told, kept.output].iter().all(is_kept));
    assert!(!is_kept(&unused));
    assert!(is_kept(&current), "the folder as it is now");
    fs::remove_dir_all(&folder).unwrap();
    collect();
    collect();
    assert!(!is_kept(&current), "the folder is gone");
    assert_eq!(folder_caches(&house), 0);
}

#[test]
fn what_is_kept_stays_whole_and_the_rest_goes() {
    let house = House::new();
    let kept = publish(&house, "kept", &[("own", "own"), ("shared", "shared")]);
    let old = publish(&house, "old", &[("shared", "shared"), ("alone", "alone!")]);
    let freed = 6 + manifest_bytes(&house, &old);
    let plan = collection(&house.store.inventory().unwrap(), &keep(&["kept"]));
    assert_eq!(plan.kept, [key("kept")]);
    assert_eq!(plan.frees, freed);
    assert_eq!(plan.doomed.len(), 3, "{plan:?}");
    assert!(
        house.store.lookup(&key("old")).unwrap().is_some(),
        "a plan deletes nothing"
    );

    let done = house.store.collect(&plan).unwrap();
    assert_eq!(
        done,
        Collected {
            removed: 3,
            spared: 0,
            freed
        }
    );
    assert_eq!(house.store.lookup(&key("kept")).unwrap().unwrap(), kept);
    assert!(house.store.lookup(&key("old")).unwrap().is_none());
    assert_eq!(house.store.objects.list().unwrap().len(), 2);
    assert!(house.store.verify(|_, _| {}).unwrap().is_whole());
    assert!(
        collection(&house.store.inventory().unwrap(), &keep(&["kept"]))
            .doomed
            .is_empty()
    );
}

#[test]
fn checkpoints_stay_while_their_key_may_still_be_run() {
    let house = House::new();
    for name in ["kept", "old"] {
        let workspace = house.workspace(&key(name));
        write(&workspace.checkpoints().join("deep/epoch-1"), "half way");
    }
    let plan = collection(&house.store.inventory().unwrap(), &keep(&["kept"]));
    assert_eq!(plan.doomed.len(), 1);
    assert_eq!(plan.doomed[0].item, Item::Checkpoints(key("old")));
    assert_eq!(plan.frees, 8);
    house.store.collect(&plan).unwrap();
    assert!(house.store.has_checkpoints(&key("kept")));
    assert!(!house.store.has_checkpoints(&key("old")));
}

#[test]
fn what_a_live_run_has_pinned_or_is_working_on_stays() {
    let house = House::new();
    publish(&house, "pinned", &[("x", "pinned")]);
    publish(&house, "old", &[("x", "old")]);
    let mut pin = house.store.pin().unwrap();
    pin.add([&key("pinned")]).unwrap();
    pin.add([&key("not yet there")]).unwrap();
    assert_eq!(pin.keys().unwrap(), [key("pinned"), key("not yet there")]);
    let working = house.workspace(&key("working"));
    write(&working.checkpoints().join("epoch"), "1");

    let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
    house.store.collect(&plan).unwrap();
    assert!(house.store.lookup(&key("pinned")).unwrap().is_some());
    assert!(house.store.lookup(&key("old")).unwrap().is_none());
    assert!(house.store.has_checkpoints(&key("working")));
    assert!(working.output().is_dir());

    drop((pin, working));
    let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
    house.store.collect(&plan).unwrap();
    assert!(house.store.lookup(&key("pinned")).unwrap().is_none());
    assert!(!house.store.has_checkpoints(&key("working")));
    assert!(house.store.objects.list().unwrap().is_empty());
}

#[test]
fn what_came_into_use_between_plan_and_deletion_is_spared() {
    let house = House::new();
    publish(&house, "old", &[("x", "wanted again")]);
    publish(&house, "pinned later", &[("x", "pinned later")]);
    let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
    assert_eq!(plan.doomed.len(), 6);
    publish(&house, "new", &[("y", "wanted again")]);
    let mut pin = house.store.pin().unwrap();
    pin.add([&key("pinned later")]).unwrap();
    let done = house.store.collect(&plan).unwrap();
    assert_eq!(
        (done.removed, done.spared),
        (2, 4),
        "only the record and the manifest of `old`"
    );
    assert!(house.store.lookup(&key("new")).unwrap().is_some());
    assert!(house.store.lookup(&key("pinned later")).unwrap().is_some());
    assert!(house.store.lookup(&key("old")).unwrap().is_none());
}

#[test]
fn a_result_made_anew_after_the_plan_is_spared() {
    let house = House::new();
    publish(&house, "a", &[("x", "first")]);
    let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
    let workspace = house.workspace(&key("a"));
    write(&workspace.output().join("x"), "first");
    let later = Provenance {
        started: 17.0,
        ..provenance("step")
    };
    workspace.publish(json!({}), later).unwrap();
    house.store.collect(&plan).unwrap();
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
}

#[test]
fn an_object_that_a_step_links_to_frees_nothing_yet_and_the_step_stays() {
    let house = House::new();
    let old = publish(&house, "old", &[("x", "content")]);
    house
        .store
        .materialize(&old.output, &house.step("s"))
        .unwrap();
    let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
    let freed = manifest_bytes(&house, &old);
    assert_eq!(plan.frees, freed);
    assert_eq!(house.store.collect(&plan).unwrap().freed, freed);
    assert_eq!(fs::read(house.step("s").join("x")).unwrap(), b"content");
}

#[test]
fn damaged_records_go_unless_they_are_whole_again() {
    let house = House::new();
    for name in ["lost", "mended"] {
        publish(&house, name, &[("x", name)]);
        fs::write(house.store.action_file(&key(name)), "damaged").unwrap();
    }
    let plan = collection(
        &house.store.inventory().unwrap(),
        &keep(&["lost", "mended"]),
    );
    let unreadable = plan
        .doomed
        .iter()
        .filter(|doomed| matches!(doomed.item, Item::Unreadable(_)))
        .count();
    assert_eq!(unreadable, 2);
    publish(&house, "mended", &[("x", "mended")]);
    house.store.collect(&plan).unwrap();
    assert!(house.store.lookup(&key("mended")).unwrap().is_some());
    assert!(!house.store.action_file(&key("lost")).exists());
}

#[test]
fn the_plan_is_a_pure_function_of_the_inventory() {
    let object = |name: &str, linked| StoredObject {
        digest: key(name),
        path: PathBuf::from(name),
        bytes: 10,
        linked,
    };
    let result = |name: &str, objects: &[&str]| StoredResult {
        key: key(name),
        step: name.to_owned(),
        started: 0.0,
        bytes: 10,
        objects: objects.iter().map(|object| key(object)).collect(),
        output: key(name),
        manifests: [key("input"), key(name)].into(),
        sources: BTreeSet::new(),
    };
    let inventory = Inventory {
        results: vec![
            result("kept", &["o1", "o2"]),
            result("live", &["o3"]),
            result("gone", &["o2", "o4", "o5"]),
        ],
        unreadable: vec![],
        objects: vec![
            object("o1", false),
            object("o2", false),
            object("o3", false),
            object("o4", false),
            object("o5", true),
            object("stray", false),
        ],
        manifests: [
            (key("input"), 3),
            (key("kept"), 3),
            (key("gone"), 3),
            (key("of nothing"), 3),
            (key("watched"), 3),
        ]
        .into(),
        packs: [(key("kept"), 100), (key("input"), 100)].into(),
        watched: [key("watched")].into(),
        checkpoints: [(key("kept"), 5), (key("live"), 5), (key("next"), 5)].into(),
        logs: ["kept", "live", "next", "gone"]
            .map(|name| ((key(name).short(), PathBuf::from(name)), 7))
            .into(),
        live: [(key("live"), "process 1".to_owned())].into(),
        kept: BTreeSet::new(),
    };
    let plan = collection(&inventory, &keep(&["kept", "next"]));
    let objects: BTreeSet<Digest> = plan
        .doomed
        .iter()
        .filter_map(|doomed| match &doomed.item {
            Item::Object { digest, .. } => Some(*digest),
            _ => None,
        })
        .collect();
    assert_eq!(objects, keep(&["o4", "o5", "stray"]));
    let checkpoints: Vec<&Doomed> = plan
        .doomed
        .iter()
        .filter(|doomed| matches!(doomed.item, Item::Checkpoints(_)))
        .collect();
    assert_eq!(checkpoints.len(), 1);
    assert_eq!(
        checkpoints[0].item,
        Item::Checkpoints(key("kept")),
        "its result is finished"
    );
    let manifests: BTreeSet<Digest> = plan
        .doomed
        .iter()
        .filter_map(|doomed| match &doomed.item {
            Item::Manifest(digest) => Some(*digest),
            _ => None,
        })
        .collect();
    assert_eq!(manifests, keep(&["gone", "of nothing"]));
    let packs: BTreeSet<Digest> = plan
        .doomed
        .iter()
        .filter_map(|doomed| match &doomed.item {
            Item::Pack(output) => Some(*output),
            _ => None,
        })
        .collect();
    assert_eq!(
        packs,
        keep(&["input"]),
        "its manifest is named, but not as an output"
    );
    let logs: Vec<&Doomed> = plan
        .doomed
        .iter()
        .filter(|doomed| matches!(doomed.item, Item::Log { .. }))
        .collect();
    assert_eq!(logs.len(), 1);
    assert_eq!(
        logs[0].item,
        Item::Log {
            key: key("gone").short(),
            path: PathBuf::from("gone")
        }
    );
    assert_eq!(
        plan.frees,
        10 + 10 + 5 + 3 + 3 + 100 + 7,
        "what is linked frees nothing"
    );
    assert_eq!(plan.kept, [key("kept"), key("live")]);
}

/// Publishes a result that was made from others.
fn publish_from(house: &House, name: &str, sources: &[&str]) -> Action {
    let workspace = house.workspace(&key(name));
    write(&workspace.output().join("x"), name);
    let source = |name: &&str| Source {
        name: (*name).to_owned(),
        digest: key(name),
        key: Some(key(name)),
    };
    let provenance = Provenance {
        inputs: [("in".to_owned(), sources.iter().map(source).collect())].into(),
        ..provenance(name)
    };
    workspace.publish(json!({}), provenance).unwrap()
}

#[test]
fn a_result_that_a_person_keeps_stays_with_all_that_it_was_made_from() {
    let house = House::new();
    publish_from(&house, "videos", &[]);
    publish_from(&house, "clips", &["videos"]);
    publish_from(&house, "model", &["clips", "lost"]);
    publish_from(&house, "other", &["clips"]);
    let kept = Kept::now(key("model"), "model", Some("best so far".to_owned()));
    assert!(house.store.keep(&kept).unwrap());
    assert_eq!(house.store.kept().unwrap(), [kept]);
    assert!(
        !house
            .store
            .keep(&Kept::now(key("lost"), "lost", None))
            .unwrap(),
        "what is not there cannot be kept"
    );

    let collect = || {
        let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
        house.store.collect(&plan).unwrap();
    };
    let is_there = |name: &str| house.store.lookup(&key(name)).unwrap().is_some();
    collect();
    assert!(["videos", "clips", "model"].into_iter().all(is_there));
    assert!(!is_there("other"));

    // A file that cannot be read keeps what it is named after.
    let file = house
        .store
        .kept_folder()
        .join(format!("{}.json", key("model")));
    fs::write(&file, "{\"key\": 1").unwrap();
    collect();
    assert!(is_there("videos"));
    assert_eq!(house.store.kept().unwrap()[0].key, key("model"));

    assert!(house.store.let_go(&key("model")).unwrap());
    assert!(!house.store.let_go(&key("model")).unwrap());
    collect();
    assert!(house.store.keys().unwrap().is_empty());
}

#[test]
fn what_a_person_keeps_between_plan_and_deletion_is_spared() {
    let house = House::new();
    publish_from(&house, "clips", &[]);
    publish_from(&house, "model", &["clips"]);
    let plan = collection(&house.store.inventory().unwrap(), &keep(&[]));
    assert!(
        house
            .store
            .keep(&Kept::now(key("model"), "model", None))
            .unwrap()
    );
    let done = house.store.collect(&plan).unwrap();
    assert_eq!(done.removed, 0, "{done:?}");
    assert!(house.store.lookup(&key("clips")).unwrap().is_some());
    assert!(house.store.verify(|_, _| {}).unwrap().is_whole());
}

#[test]
fn a_collection_does_not_forget_which_result_a_step_used_last() {
    let house = House::new();
    for (name, started) in [("first", 1.0), ("second", 2.0)] {
        let workspace = house.workspace(&key(name));
        write(&workspace.output().join("x"), name);
        let provenance = Provenance {
            started,
            ..provenance("s")
        };
        workspace.publish(json!({}), provenance).unwrap();
    }
    assert_eq!(house.store.latest().unwrap()["s"], key("second"));
    house.store.note_latest("s", &key("first"));
    let plan = collection(
        &house.store.inventory().unwrap(),
        &keep(&["first", "second"]),
    );
    house.store.collect(&plan).unwrap();
    assert_eq!(house.store.latest().unwrap()["s"], key("first"));
}
