use super::*;

#[test]
fn everything_survives_the_round_trip_through_the_store() {
    let house = House::new();
    let action = house.publish(&key("a"), fill_with_oddities);
    let original = house.path("original");
    fs::create_dir(&original).unwrap();
    fill_with_oddities(&original);

    let found = house.store.lookup(&key("a")).unwrap().unwrap();
    assert_eq!(found, action);
    let step = house.step("step");
    let restored = house.store.materialize(&found.output, &step).unwrap();
    assert!(
        matches!(restored, Materialized::Restored { files: 9, .. }),
        "{restored:?}"
    );
    let compared = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([&original, &step])
        .output()
        .unwrap();
    assert!(
        compared.status.success(),
        "{}",
        String::from_utf8_lossy(&compared.stdout)
    );
    let mode = |name: &str| fs::metadata(step.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("run.sh"), 0o555);
    assert_eq!(mode("plain.txt"), 0o444);
    assert_eq!(mode("table.jsonl"), 0o444);
    assert!(step.join("hollow/inner").is_dir());
}

#[test]
fn identical_files_share_one_object_and_text_is_packed() {
    let house = House::new();
    let action = house.publish(&key("a"), fill_with_oddities);
    let objects = house.store.objects.list().unwrap();
    assert_eq!(objects.len(), action.files as usize - 1);
    let packed: Vec<_> = objects.iter().filter(|(_, file)| file.packed).collect();
    assert_eq!(packed.len(), 1, "the table and nothing else");
    assert!(packed[0].1.stat.size < 4000);
}

#[test]
fn a_published_workspace_leaves_no_trace_but_the_result() {
    let house = House::new();
    let workspace = house.workspace(&key("a"));
    assert!(!workspace.resumed());
    write(&workspace.checkpoints().join("epoch-1"), "half way");
    write(&workspace.output().join("model"), "weights");
    workspace.publish(json!({}), provenance("step")).unwrap();
    assert!(!house.store.has_checkpoints(&key("a")));
    assert_eq!(house.store.owner(&key("a")), None);
    for folder in ["tmp", "checkpoints"] {
        assert_eq!(
            fs::read_dir(house.store.root().join(folder))
                .unwrap()
                .count(),
            0,
            "{folder}"
        );
    }
}

#[test]
fn a_workspace_that_is_given_up_keeps_its_checkpoints_and_nothing_else() {
    let house = House::new();
    let workspace = house.workspace(&key("a"));
    write(&workspace.checkpoints().join("epoch-1"), "half way");
    write(&workspace.output().join("model"), "half");
    drop(workspace);
    assert!(house.store.lookup(&key("a")).unwrap().is_none());
    assert_eq!(fs::read_dir(house.store.tmp()).unwrap().count(), 0);
    let again = house.workspace(&key("a"));
    assert!(again.resumed());
    assert_eq!(
        fs::read(again.checkpoints().join("epoch-1")).unwrap(),
        b"half way"
    );
    assert_eq!(fs::read_dir(again.output()).unwrap().count(), 0);
}

#[test]
fn links_out_of_the_artifact_and_special_files_are_refused_by_name() {
    let house = House::new();
    let refused = |name: &str, fill: &dyn Fn(&Path)| {
        let workspace = house.workspace(&key(name));
        write(&workspace.output().join("good"), "good");
        fill(workspace.output());
        workspace
            .publish(json!({}), provenance("step"))
            .unwrap_err()
    };
    let error = refused("absolute", &|output| {
        symlink("/etc/passwd", output.join("l")).unwrap()
    });
    assert!(
        matches!(error, ArtifactError::EscapingLink { .. }),
        "{error}"
    );
    let error = refused("climbing", &|output| {
        symlink("../../x", output.join("l")).unwrap()
    });
    assert!(
        error.to_string().contains("`l` points to `../../x`"),
        "{error}"
    );
    let error = refused("pipe", &|output| {
        let pipe = output.join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    });
    assert!(
        matches!(error, ArtifactError::SpecialFile { .. }),
        "{error}"
    );
    for name in ["absolute", "climbing", "pipe"] {
        assert!(house.store.lookup(&key(name)).unwrap().is_none());
    }
}

#[test]
fn a_damaged_object_is_replaced_by_the_next_output_that_has_it() {
    let house = House::new();
    let first = house.publish(&key("a"), |output| write(&output.join("x"), "content"));
    let (_, _, digest) = house.manifest(&first).files().next().unwrap();
    overwrite(&house.object_path(&digest), "CONTENT");
    assert!(house.store.lookup(&key("a")).unwrap().is_none());
    house.publish(&key("b"), |output| write(&output.join("y"), "content"));
    assert!(house.store.lookup(&key("b")).unwrap().is_some());
    assert!(
        house.store.lookup(&key("a")).unwrap().is_some(),
        "the object is whole again"
    );
}

#[test]
fn an_old_output_can_be_recorded_for_a_new_key() {
    let house = House::new();
    let old = house.publish(&key("old"), |output| write(&output.join("x"), "content"));
    let provenance = Provenance {
        accepted: vec![Accepted {
            from: old.key,
            at: 1.0,
            host: "here".to_owned(),
            version: "1".to_owned(),
            changes: vec![json!({"what": "code"})],
        }],
        ..old.provenance.clone()
    };
    let lock = house.store.lock(&key("new"), |_| {}).unwrap();
    let manifest = house.manifest(&old);
    house
        .store
        .record(&lock, &old.output, json!({"new": 1}), provenance.clone())
        .unwrap();
    let new = house.store.lookup(&key("new")).unwrap().unwrap();
    assert_eq!(new.output, old.output);
    assert_eq!(new.provenance, provenance);

    let (_, _, digest) = manifest.files().next().unwrap();
    fs::remove_file(house.object_path(&digest)).unwrap();
    let error = house
        .store
        .record(&lock, &old.output, json!({}), provenance)
        .unwrap_err();
    assert!(error.is_miss(), "{error}");
}

#[test]
fn many_files_are_published_and_found() {
    let house = House::new();
    let action = house.publish(&key("many"), |output| {
        for index in 0..500 {
            write(
                &output.join(format!("{}/{index}", index % 7)),
                format!("file {index}"),
            );
        }
    });
    assert_eq!(action.files, 500);
    assert_eq!(house.store.lookup(&key("many")).unwrap().unwrap(), action);
}

#[test]
fn checkpoints_of_an_attempt_to_make_a_result_again_outlive_it() {
    let house = House::new();
    house.publish(&key("a"), |output| write(&output.join("x"), "content"));
    std::thread::sleep(std::time::Duration::from_millis(30));
    let workspace = house.workspace(&key("a"));
    write(&workspace.checkpoints().join("deep/epoch-1"), "half way");
    drop(workspace);
    let store = Store::open(house.store.root()).unwrap();
    assert!(store.has_checkpoints(&key("a")));
}
