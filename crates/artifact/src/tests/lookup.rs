use super::*;

#[test]
fn an_unknown_key_is_a_miss() {
    let house = House::new();
    assert!(house.store.lookup(&key("a")).unwrap().is_none());
    assert!(matches!(
        house.store.find(&key("a")).unwrap(),
        Lookup::Absent
    ));
}

#[test]
fn every_kind_of_damage_to_an_object_is_a_miss() {
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damages: [Damage<'_>; 5] = [
        ("deleted", &|path| fs::remove_file(path).unwrap()),
        ("flipped", &|path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            overwrite(path, bytes);
        }),
        ("truncated", &|path| {
            overwrite(path, &fs::read(path).unwrap()[..10])
        }),
        ("emptied", &|path| overwrite(path, "")),
        ("longer", &|path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.push(0);
            overwrite(path, bytes);
        }),
    ];
    for (name, damage) in damages {
        for file in ["big.bin", "table.jsonl"] {
            let house = House::new();
            let action = house.publish(&key("a"), fill_with_oddities);
            assert!(house.store.lookup(&key("a")).unwrap().is_some());
            let path = EntryPath::new(file).unwrap();
            let Some(Entry {
                kind: EntryKind::File { sha256, .. },
                ..
            }) = house.manifest(&action).get(&path).cloned()
            else {
                panic!("{file} is no file");
            };
            damage(&house.object_path(&sha256));
            assert!(
                house.store.lookup(&key("a")).unwrap().is_none(),
                "{name} {file}"
            );
            let Lookup::Damaged { damage, .. } = house.store.find(&key("a")).unwrap() else {
                panic!("{name} {file}: not known as damaged");
            };
            assert_eq!(damage.len(), 1);
            assert_eq!(damage[0].digest, sha256);
            let error = house
                .store
                .materialize(&action.output, &house.step("s"))
                .unwrap_err();
            assert!(error.is_miss(), "{error}");
            assert!(!house.step("s").exists());
        }
    }
}

#[test]
fn a_damaged_record_is_a_miss_wherever_the_damage_is() {
    let house = House::new();
    house.publish(&key("a"), |output| write(&output.join("x"), "content"));
    let file = house.store.action_file(&key("a"));
    let bytes = fs::read(&file).unwrap();
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!(
            house.store.lookup(&key("a")).unwrap().is_none(),
            "byte {position}"
        );
        fs::write(&file, &bytes[..position]).unwrap();
        assert!(
            house.store.lookup(&key("a")).unwrap().is_none(),
            "cut at {position}"
        );
    }
    fs::write(&file, &bytes).unwrap();
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
}

#[test]
fn a_record_under_the_name_of_another_key_is_a_miss() {
    let house = House::new();
    house.publish(&key("a"), |output| write(&output.join("x"), "content"));
    fs::copy(
        house.store.action_file(&key("a")),
        house.store.action_file(&key("b")),
    )
    .unwrap();
    assert!(house.store.lookup(&key("b")).unwrap().is_none());
    assert!(matches!(
        house.store.find(&key("b")).unwrap(),
        Lookup::Unreadable { .. }
    ));
}

#[test]
fn a_record_is_json_that_any_tool_reads() {
    let house = House::new();
    house.publish(&key("a"), fill_with_oddities);
    let text = fs::read(house.store.action_file(&key("a"))).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value["key"], json!(key("a")));
    assert_eq!(value["provenance"]["step"], "step");
    assert_eq!(value["files"], 9);
    assert_eq!(value["checksum"].as_str().unwrap().len(), 64);
}

#[test]
fn the_second_lookup_reads_no_object() {
    let house = House::new();
    let action = house.publish(&key("a"), |output| write(&output.join("x"), "content"));
    let (_, _, sha256) = house.manifest(&action).files().next().unwrap();
    let object = house.object_path(&sha256);
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
    // Readable by nobody, but with stats that the store is told to be right.
    fs::set_permissions(&object, fs::Permissions::from_mode(0o000)).unwrap();
    house.store.remember_parts(&house.manifest(&action));
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
}

#[test]
fn a_store_of_another_version_is_refused_and_left_alone() {
    let house = House::new();
    house.publish(&key("a"), |output| write(&output.join("x"), "content"));
    let version = house.store.root().join("version");
    for other in ["1\n", "0", "", "1.5", "nonsense"] {
        fs::write(&version, other).unwrap();
        let error = Store::open(house.store.root()).unwrap_err();
        assert!(
            matches!(error, ArtifactError::OtherVersion { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("version"), "{error}");
        assert_eq!(fs::read_to_string(&version).unwrap(), other);
    }
    fs::write(&version, format!("{STORE_VERSION}\n")).unwrap();
    assert!(
        Store::open(house.store.root())
            .unwrap()
            .lookup(&key("a"))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_folder_with_other_things_in_it_is_not_made_a_store() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("thesis.tex"), "years of work");
    let error = Store::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_in_the_place_of_the_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    write(&path, "x");
    let error = Store::open(&path).unwrap_err();
    assert!(error.to_string().contains("store"), "{error}");
}

#[test]
fn many_processes_may_make_the_store_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(&root).unwrap());
        }
    });
}
