use super::*;

fn digest_of(house: &House, action: &Action, path: &str) -> Digest {
    match &house
        .manifest(action)
        .get(&EntryPath::new(path).unwrap())
        .unwrap()
        .kind
    {
        EntryKind::File { sha256, .. } => *sha256,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_store_is_found_whole_and_every_byte_is_read() {
    let house = House::new();
    house.publish(&key("a"), fill_with_oddities);
    let mut last = (0, 0);
    let found = house
        .store
        .verify(|done, total| last = (done, total))
        .unwrap();
    assert!(found.is_whole(), "{found:?}");
    assert_eq!((found.records, found.objects), (1, 8));
    assert!(found.bytes > 300_000);
    assert_eq!(last, (found.bytes, found.bytes));
}

#[test]
fn damage_that_leaves_no_trace_in_the_stats_is_found_and_is_a_miss_from_then_on() {
    for file in ["big.bin", "table.jsonl"] {
        let house = House::new();
        let action = house.publish(&key("a"), fill_with_oddities);
        let object = house.object_path(&digest_of(&house, &action, file));
        let mut bytes = fs::read(&object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        overwrite(&object, bytes);
        // As if the disk had done it: the store believes the stats.
        house.store.remember_parts(&house.manifest(&action));
        assert!(house.store.lookup(&key("a")).unwrap().is_some());

        let found = house.store.verify(|_, _| {}).unwrap();
        assert_eq!(found.damaged_results.len(), 1);
        let hurt = &found.damaged_results[0];
        assert_eq!((hurt.key, hurt.step.as_str()), (key("a"), "step"));
        assert_eq!(hurt.damage.len(), 1);
        assert_eq!(hurt.damage[0].1, [EntryPath::new(file).unwrap()]);
        assert!(house.store.lookup(&key("a")).unwrap().is_none());
    }
}

#[test]
fn missing_truncated_and_stray_objects_and_damaged_records_are_all_named() {
    let house = House::new();
    let action = house.publish(&key("a"), fill_with_oddities);
    house.publish(&key("whole"), |output| write(&output.join("x"), "fine"));
    house.publish(&key("unreadable"), |output| {
        write(&output.join("x"), "lost")
    });
    fs::write(house.store.action_file(&key("unreadable")), "{}").unwrap();
    let lost = Digest::of("lost");
    overwrite(&house.object_path(&lost), "LOST");
    fs::remove_file(house.object_path(&digest_of(&house, &action, "deep/twin-b"))).unwrap();
    overwrite(
        &house.object_path(&digest_of(&house, &action, "big.bin")),
        "short",
    );

    let found = house.store.verify(|_, _| {}).unwrap();
    assert_eq!(found.damaged_records.len(), 1);
    assert_eq!(
        found.stray,
        [Damage {
            part: Part::Object,
            digest: lost,
            problem: Problem::Content
        }]
    );
    assert_eq!(found.damaged_results.len(), 1);
    let mut hurt: Vec<String> = found.damaged_results[0]
        .damage
        .iter()
        .flat_map(|(_, paths)| paths.iter().map(ToString::to_string))
        .collect();
    hurt.sort();
    assert_eq!(hurt, ["big.bin", "deep/er/twin-a", "deep/twin-b"]);
    let problems: Vec<&Problem> = found.damaged_results[0]
        .damage
        .iter()
        .map(|(damage, _)| &damage.problem)
        .collect();
    assert!(problems.contains(&&Problem::Missing));
    assert!(problems.contains(&&Problem::Size {
        expected: 300_000,
        found: 5
    }));
}
