use super::*;

fn published(house: &House) -> Action {
    house.publish(&key("a"), |output| {
        write(&output.join("model.safetensors"), noise(100_000));
        write(&output.join("sub/metrics.json"), "{}");
        write(&output.join("log.txt"), "line\n".repeat(10_000));
    })
}

/// Puts the step right and says whether there was anything to do.
fn restore(house: &House, action: &Action) -> bool {
    house
        .store
        .materialize(&action.output, &house.step("s"))
        .unwrap()
        != Materialized::Unchanged
}

#[test]
fn raw_files_are_links_to_the_store() {
    use std::os::unix::fs::MetadataExt;
    let house = House::new();
    let action = published(&house);
    restore(&house, &action);
    let links = |name: &str| fs::metadata(house.step("s").join(name)).unwrap().nlink();
    assert_eq!(links("model.safetensors"), 2);
    assert_eq!(links("sub/metrics.json"), 2);
    assert_eq!(links("log.txt"), 1, "packed in the store");
}

#[test]
fn a_step_that_is_right_is_left_alone_without_reading_it() {
    let house = House::new();
    let action = published(&house);
    assert!(restore(&house, &action));
    let mut read = 0;
    let (scanned, manifest) = house
        .store
        .scan(
            &house.step("s"),
            crate::walk::Links::Keep,
            |_| false,
            |_, total| read = total,
        )
        .unwrap();
    assert_eq!((scanned.digest, read), (action.output, 0));
    assert!(manifest.is_none(), "nor making its manifest");
    assert!(!restore(&house, &action));
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
}

#[test]
fn whatever_is_done_to_a_step_it_is_put_right() {
    let house = House::new();
    let action = published(&house);
    restore(&house, &action);
    let step = house.step("s");
    let meddling: [(&str, &dyn Fn()); 8] = [
        ("deleted file", &|| {
            fs::remove_file(step.join("model.safetensors")).unwrap()
        }),
        ("deleted folder", &|| {
            fs::remove_dir_all(step.join("sub")).unwrap()
        }),
        ("added file", &|| write(&step.join("notes.txt"), "mine")),
        ("added folder", &|| {
            fs::create_dir(step.join("empty")).unwrap()
        }),
        ("replaced file", &|| {
            fs::remove_file(step.join("log.txt")).unwrap();
            write(&step.join("log.txt"), "line\n".repeat(9_999) + "LINE\n");
        }),
        ("edited copy", &|| {
            overwrite(&step.join("log.txt"), "line\n".repeat(9_999) + "LINE\n")
        }),
        ("made executable", &|| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(step.join("log.txt"), mode).unwrap();
        }),
        ("replaced by a file", &|| {
            fs::remove_dir_all(&step).unwrap();
            write(&step, "x");
        }),
    ];
    for (name, meddle) in meddling {
        meddle();
        assert!(house.store.lookup(&key("a")).unwrap().is_some(), "{name}");
        assert!(restore(&house, &action), "{name} went unnoticed");
        assert!(!restore(&house, &action), "{name} was not put right");
        assert!(house.store.is_materialized(&action.output, &step), "{name}");
    }
}

#[test]
fn an_edit_through_the_link_is_a_miss_and_not_delivered() {
    let house = House::new();
    let action = published(&house);
    restore(&house, &action);
    let file = house.step("s").join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    bytes[5] ^= 1;
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    overwrite(&file, bytes);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert!(
        !house
            .store
            .is_materialized(&action.output, &house.step("s"))
    );
    assert!(house.store.lookup(&key("a")).unwrap().is_none());
    for destination in ["s", "elsewhere"] {
        let error = house
            .store
            .materialize(&action.output, &house.step(destination))
            .unwrap_err();
        assert!(error.is_miss(), "{error}");
    }
    // Made anew, the object is whole again, and the step is put right.
    let again = published(&house);
    assert_eq!(again.output, action.output);
    assert!(restore(&house, &again));
    assert_eq!(fs::read(&file).unwrap(), noise(100_000));
}

#[test]
fn another_result_takes_the_place_of_the_old_one_entirely() {
    let house = House::new();
    let action = published(&house);
    restore(&house, &action);
    let other = house.publish(&key("b"), |output| {
        write(&output.join("model.safetensors"), "small");
        write(&output.join("sub"), "now a file");
    });
    assert!(restore(&house, &other));
    assert!(house.store.is_materialized(&other.output, &house.step("s")));
    assert!(restore(&house, &action), "and back");
    assert!(!restore(&house, &action));
    assert_eq!(fs::read_dir(house.store.tmp()).unwrap().count(), 0);
}

#[test]
fn one_object_in_two_steps_stays_believed_in_both() {
    let house = House::new();
    let action = published(&house);
    restore(&house, &action);
    house
        .store
        .materialize(&action.output, &house.step("twin"))
        .unwrap();
    assert!(
        !restore(&house, &action),
        "a new link elsewhere is no change"
    );
    fs::remove_dir_all(house.step("twin")).unwrap();
    assert!(!restore(&house, &action));
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
}

#[test]
fn a_step_survives_the_loss_of_the_store() {
    let house = House::new();
    let action = published(&house);
    restore(&house, &action);
    fs::remove_dir_all(house.store.objects.root()).unwrap();
    assert_eq!(
        fs::read(house.step("s").join("model.safetensors")).unwrap(),
        noise(100_000)
    );
    assert!(house.store.lookup(&key("a")).unwrap().is_none());
}

#[test]
fn an_empty_output_is_an_empty_folder() {
    let house = House::new();
    let action = house.publish(&key("empty"), |_| {});
    assert!(restore(&house, &action));
    assert_eq!(fs::read_dir(house.step("s")).unwrap().count(), 0);
    assert!(!restore(&house, &action));
}

#[test]
fn the_store_itself_is_never_overwritten() {
    let house = House::new();
    let action = published(&house);
    for destination in ["artifacts", "artifacts/store", "artifacts/store/objects"] {
        let error = house
            .store
            .materialize(&action.output, &house.path(destination))
            .unwrap_err();
        assert!(
            matches!(error, ArtifactError::OverlapsStore { .. }),
            "{error}"
        );
    }
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
}

#[test]
fn a_hostile_manifest_writes_nothing_outside() {
    let house = House::new();
    let link = Entry {
        path: EntryPath::new("out").unwrap(),
        kind: EntryKind::Symlink {
            target: LinkTarget::new("../../.."),
        },
    };
    let manifest = Manifest::new(vec![link.clone()]).unwrap();
    let output = house.store.keep_manifest(&manifest).unwrap();
    let error = house
        .store
        .materialize(&output, &house.step("s"))
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::EscapingLink { .. }),
        "{error}"
    );
    let below = Entry {
        path: EntryPath::new("out/x").unwrap(),
        kind: EntryKind::Directory,
    };
    assert!(
        Manifest::new(vec![link, below]).is_err(),
        "nothing lies below a link"
    );
}

#[test]
fn a_file_that_is_linked_elsewhere_is_copied_in() {
    let house = House::new();
    let mine = house.path("mine");
    write(&mine, "precious");
    house.publish(&key("a"), |output| {
        fs::hard_link(&mine, output.join("x")).unwrap()
    });
    fs::write(&mine, "edited by its owner").unwrap();
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
    assert_eq!(fs::read(&mine).unwrap(), b"edited by its owner");
}
