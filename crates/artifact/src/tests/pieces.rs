use super::*;

#[test]
fn a_borrowed_result_is_whole_and_as_well_known_as_before() {
    let house = House::new();
    let lender = house.publish(&key("lender"), fill_with_everything);
    house
        .store
        .materialize(&lender.output, &house.step("lender"))
        .unwrap();
    let object = house
        .manifest(&lender)
        .files()
        .find(|(_, size, _)| *size == 300_000)
        .map(|(.., digest)| house.object_path(&digest))
        .unwrap();
    let before = fs::metadata(&object).unwrap();

    let mut workspace = house.workspace(&key("next"));
    let borrowed = workspace.borrow(&key("lender")).unwrap().unwrap();
    for (path, size, digest) in house.manifest(&lender).files() {
        let bytes = fs::read(borrowed.join(path.as_path())).unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(Digest::of(&bytes), digest, "{path:?}");
    }
    assert_eq!(workspace.borrow(&key("nobody")).unwrap(), None);
    // What is borrowed is not collected, whatever a plan says.
    let plan = collection(&house.store.inventory().unwrap(), &[].into());
    house.store.collect(&plan).unwrap();
    assert!(house.store.lookup(&key("lender")).unwrap().is_some());

    drop(workspace);
    assert!(!borrowed.exists());
    use std::os::unix::fs::MetadataExt;
    let after = fs::metadata(&object).unwrap();
    assert_eq!(
        (after.ctime(), after.ctime_nsec(), after.nlink()),
        (before.ctime(), before.ctime_nsec(), before.nlink()),
        "the store would have to read the object again"
    );
}

#[test]
fn a_result_that_has_lost_an_object_is_not_lent() {
    let house = House::new();
    let lender = house.publish(&key("lender"), |output| {
        write(&output.join("clips"), noise(50_000));
    });
    let (.., digest) = house.manifest(&lender).files().next().unwrap();
    fs::remove_file(house.object_path(&digest)).unwrap();
    let mut workspace = house.workspace(&key("next"));
    assert_eq!(workspace.borrow(&key("lender")).unwrap(), None);
}

#[test]
fn pieces_outlive_their_key_and_the_folder_goes_when_it_is_empty() {
    let house = House::new();
    let space = key("space");
    let mut workspace = house.workspace(&key("killed"));
    let folder = workspace.pieces(&space).unwrap();
    write(&folder.join("piece"), "half the work");
    drop(workspace);
    assert_eq!(
        house.store.inventory().unwrap().pieces,
        [(space, 13)].into()
    );

    let mut workspace = house.workspace(&key("next"));
    assert_eq!(workspace.pieces(&space).unwrap(), folder);
    fs::rename(folder.join("piece"), workspace.checkpoints().join("piece")).unwrap();
    write(&workspace.output().join("out"), "all the work");
    workspace.publish(json!({}), provenance("step")).unwrap();
    assert!(!folder.exists());
    assert!(house.store.inventory().unwrap().pieces.is_empty());
}

#[test]
fn shards_share_the_checkpoints_of_their_key_and_are_told() {
    let house = House::new();
    let note = |number, seconds| ShardNote {
        number,
        of: 2,
        host: "here".into(),
        started: 17.5,
        seconds,
    };
    assert_eq!(house.store.shards(&key("step")).unwrap(), []);
    for number in [2, 1] {
        let lock = house
            .store
            .lock(&key(&format!("shard {number}")), |owner| {
                panic!("held by {owner}")
            })
            .unwrap();
        let shard = house.store.workspace_of_shard(lock, &key("step")).unwrap();
        assert!(shard.checkpoints().ends_with(key("step").to_string()));
        house
            .store
            .note_shard(&key("step"), &note(number, None))
            .unwrap();
    }
    house
        .store
        .note_shard(&key("step"), &note(2, Some(3.0)))
        .unwrap();
    assert_eq!(
        house.store.shards(&key("step")).unwrap(),
        [note(1, None), note(2, Some(3.0))]
    );
    house.publish(&key("step"), |output| write(&output.join("x"), "y"));
    assert_eq!(house.store.shards(&key("step")).unwrap(), []);
}
