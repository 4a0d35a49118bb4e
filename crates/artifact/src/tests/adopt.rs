use super::*;

/// A result as another machine announces it.
fn announced(house: &House) -> Action {
    let preimage = json!({"made": "elsewhere"});
    let key = Digest::of_json(&preimage);
    let elsewhere = House::new();
    let workspace = elsewhere.workspace(&key);
    fill_with_everything(workspace.output());
    let action = workspace.publish(preimage, provenance("step")).unwrap();
    assert!(house.store.lookup(&key).unwrap().is_none());
    action
}

fn adopt(
    house: &House,
    announced: &Action,
    fill: impl FnOnce(&Path),
) -> Result<Action, ArtifactError> {
    let lock = house.store.lock(&announced.key, |_| {}).unwrap();
    let tree = house.store.scratch_tree().unwrap();
    fill(tree.path());
    house.store.adopt(lock, announced.clone(), tree)
}

#[test]
fn a_result_from_elsewhere_is_taken_in_whole() {
    let house = House::new();
    let announced = announced(&house);
    let adopted = adopt(&house, &announced, fill_with_everything).unwrap();
    assert_eq!(adopted, announced);
    assert_eq!(
        house.store.lookup(&announced.key).unwrap().unwrap(),
        announced
    );
    house
        .store
        .materialize(&announced.output, &house.step("s"))
        .unwrap();
    assert_eq!(
        fs::read(house.step("s").join("many/3/3")).unwrap(),
        b"file 3"
    );
    assert!(house.store.verify(|_, _| {}).unwrap().is_whole());
    assert_eq!(fs::read_dir(house.store.tmp()).unwrap().count(), 0);
}

#[test]
fn what_is_not_as_announced_is_refused_and_leaves_nothing() {
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 4] = [
        ("another content", &|tree| {
            write(&tree.join("plain.txt"), "HELLO")
        }),
        ("a file too many", &|tree| write(&tree.join("more"), "x")),
        ("a file too few", &|tree| {
            fs::remove_file(tree.join("plain.txt")).unwrap()
        }),
        ("another mode", &|tree| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tree.join("plain.txt"), mode).unwrap();
        }),
    ];
    for (name, change) in changes {
        let house = House::new();
        let announced = announced(&house);
        let error = adopt(&house, &announced, |tree| {
            fill_with_everything(tree);
            change(tree);
        })
        .unwrap_err();
        assert!(
            matches!(error, ArtifactError::NotAsAnnounced { what: "output", .. }),
            "{name}: {error}"
        );
        assert!(house.store.lookup(&announced.key).unwrap().is_none());
        assert!(house.store.objects.list().unwrap().is_empty(), "{name}");
        assert_eq!(fs::read_dir(house.store.tmp()).unwrap().count(), 0);
    }
}

#[test]
fn a_record_whose_key_is_not_that_of_its_preimage_is_refused() {
    let house = House::new();
    let mut announced = announced(&house);
    announced.preimage = json!({"made": "up"});
    let error = adopt(&house, &announced, fill_with_everything).unwrap_err();
    assert!(
        matches!(error, ArtifactError::NotAsAnnounced { what: "key", .. }),
        "{error}"
    );
}

#[test]
fn links_out_of_a_result_from_elsewhere_are_refused() {
    let house = House::new();
    let announced = announced(&house);
    let error = adopt(&house, &announced, |tree| {
        symlink("/etc/passwd", tree.join("link")).unwrap()
    })
    .unwrap_err();
    assert!(
        matches!(error, ArtifactError::EscapingLink { .. }),
        "{error}"
    );
}
