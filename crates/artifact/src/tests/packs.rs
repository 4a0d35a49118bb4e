use std::io::Read as _;

use super::*;

fn published(house: &House) -> Action {
    house.publish(&key("a"), fill_with_everything)
}

fn restore(house: &House, action: &Action) -> Result<Materialized, ArtifactError> {
    house.store.materialize(&action.output, &house.step("s"))
}

fn pack_of(house: &House, action: &Action) -> PathBuf {
    house.store.pack_file(&action.output)
}

#[test]
fn very_many_small_files_are_one_pack_and_come_back_as_they_were() {
    let house = House::new();
    let action = published(&house);
    let large = house.store.objects.list().unwrap().len();
    assert_eq!(large, 5, "big.bin, table.jsonl and three more");
    assert!(pack_of(&house, &action).is_file());
    restore(&house, &action).unwrap();
    let original = house.path("original");
    fs::create_dir(&original).unwrap();
    fill_with_everything(&original);
    let compared = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([&original, &house.step("s")])
        .output()
        .unwrap();
    let differences = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{differences}");
    let mode = |name: &str| {
        let metadata = fs::metadata(house.step("s").join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("run.sh"), mode("many/0/0")), (0o555, 0o444));
    assert_eq!(restore(&house, &action).unwrap(), Materialized::Unchanged);
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
    assert!(house.store.verify(|_, _| {}).unwrap().is_whole());
}

#[test]
fn the_permissions_of_unpacked_files_do_not_depend_on_the_mask_of_the_process() {
    let house = House::new();
    let action = published(&house);
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    restore(&house, &action).unwrap();
    rustix::process::umask(mask);
    let metadata = fs::metadata(house.step("s").join("many/0/0")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o444);
}

#[test]
fn every_kind_of_damage_to_a_pack_is_a_miss_and_mended_by_the_next_publish() {
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
        let house = House::new();
        let action = published(&house);
        assert!(house.store.lookup(&key("a")).unwrap().is_some());
        damage(&pack_of(&house, &action));
        let Lookup::Damaged { damage, .. } = house.store.find(&key("a")).unwrap() else {
            panic!("{name}: not known as damaged");
        };
        assert_eq!(damage.len(), 1, "{name}: {damage:?}");
        let error = restore(&house, &action).unwrap_err();
        assert!(error.is_miss(), "{name}: {error}");
        assert!(!house.step("s").exists(), "{name}");
        assert!(!house.store.verify(|_, _| {}).unwrap().is_whole(), "{name}");
        assert_eq!(published(&house).output, action.output);
        restore(&house, &action).unwrap();
        assert!(house.store.verify(|_, _| {}).unwrap().is_whole(), "{name}");
    }
}

#[test]
fn damage_that_leaves_no_trace_is_not_delivered_and_verify_names_the_files() {
    let house = House::new();
    let action = published(&house);
    let manifest = house.manifest(&action);
    let packing = layout(&manifest);
    let hurt = packing.member(&Digest::of("file 3")).unwrap();
    let mut bytes = fs::read(pack_of(&house, &action)).unwrap();
    bytes[hurt.offset as usize] ^= 1;
    overwrite(&pack_of(&house, &action), bytes);
    // As if the disk had done it: the store believes the stats.
    house.store.remember_parts(&manifest);
    assert!(house.store.lookup(&key("a")).unwrap().is_some());

    let error = restore(&house, &action).unwrap_err();
    assert!(
        error.is_miss(),
        "every byte is checked on its way out: {error}"
    );
    assert!(!house.step("s").exists());

    let found = house.store.verify(|_, _| {}).unwrap();
    let [result] = found.damaged_results.as_slice() else {
        panic!("{found:?}");
    };
    let [(damage, paths)] = result.damage.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!((damage.part, damage.digest), (Part::Member, hurt.digest));
    let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
    assert_eq!(
        paths,
        ["many/3/3", "many/6/83"],
        "both files with this content"
    );
    assert!(house.store.lookup(&key("a")).unwrap().is_none());
}

#[test]
fn a_damaged_or_lost_manifest_is_a_miss_and_verify_names_the_step() {
    for damage in ["deleted", "flipped", "cut off"] {
        let house = House::new();
        let action = published(&house);
        let file = house.store.manifest_file(&action.output);
        let bytes = fs::read(&file).unwrap();
        match damage {
            "deleted" => fs::remove_file(&file).unwrap(),
            "flipped" => {
                let mut bytes = bytes.clone();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&file, bytes).unwrap();
            }
            _ => fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
        }
        assert!(house.store.lookup(&key("a")).unwrap().is_none(), "{damage}");
        assert!(house.store.manifest(&action.output).unwrap().is_none());
        assert!(restore(&house, &action).unwrap_err().is_miss());
        let found = house.store.verify(|_, _| {}).unwrap();
        assert_eq!(found.damaged_results.len(), 1, "{damage}: {found:?}");
        assert_eq!(found.damaged_results[0].damage[0].0.part, Part::Manifest);
        published(&house);
        assert!(house.store.lookup(&key("a")).unwrap().is_some(), "{damage}");
    }
}

#[test]
fn a_pack_goes_with_its_last_result() {
    let house = House::new();
    let action = published(&house);
    let all = |keep: &[Digest]| {
        let keep = keep.iter().copied().collect();
        let plan = collection(&house.store.inventory().unwrap(), &keep);
        house.store.collect(&plan).unwrap();
    };
    all(&[key("a")]);
    assert!(house.store.lookup(&key("a")).unwrap().is_some());
    let inventory = house.store.inventory().unwrap();
    assert_eq!(inventory.packs.len(), 1);
    all(&[]);
    assert!(!pack_of(&house, &action).exists());
    let inventory = house.store.inventory().unwrap();
    assert!(inventory.packs.is_empty() && inventory.objects.is_empty());
}

#[test]
fn every_content_can_be_read_straight_from_the_store() {
    for fill in [fill_with_oddities, fill_with_everything] {
        let house = House::new();
        let action = house.publish(&key("a"), fill);
        let original = house.path("original");
        fs::create_dir(&original).unwrap();
        fill(&original);
        let manifest = house.manifest(&action);
        let reader = house.store.reader(&manifest);
        for (path, size, digest) in manifest.files() {
            let mut content = reader.open(&digest).unwrap();
            assert_eq!(content.size(), size);
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, fs::read(original.join(path.as_path())).unwrap());
        }
        assert!(reader.open(&Digest::of("not in it")).unwrap_err().is_miss());
    }
}

#[test]
fn a_damaged_content_fails_while_it_is_read_wherever_it_lies() {
    let house = House::new();
    let action = published(&house);
    let manifest = house.manifest(&action);
    let flip = |path: &Path, position: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[position] ^= 1;
        overwrite(path, bytes);
    };
    let small = Digest::of("file 3");
    let offset = layout(&manifest).member(&small).unwrap().offset;
    flip(&pack_of(&house, &action), offset as usize);
    let large = Digest::of(noise(70_000));
    flip(&house.object_path(&large), 5);
    let reader = house.store.reader(&manifest);
    for digest in [small, large] {
        let mut bytes = Vec::new();
        let mut content = reader.open(&digest).unwrap();
        let error = content.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(content.read(&mut [0; 8]).is_err(), "and goes on to fail");
    }
    let whole = Digest::of("file 4");
    let mut bytes = Vec::new();
    reader
        .open(&whole)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, b"file 4");
}

#[test]
fn the_pack_is_the_members_side_by_side() {
    let house = House::new();
    let action = published(&house);
    let reader = house.store.reader(&house.manifest(&action));
    let mut bytes = Vec::new();
    reader
        .open_pack()
        .unwrap()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(reader.packing().pack_size(), Some(bytes.len() as u64));
    for member in &reader.packing().members {
        let from = member.offset as usize;
        let content = &bytes[from..from + member.size as usize];
        assert_eq!(Digest::of(content), member.digest);
    }
}
