use super::*;

/// Long enough for the file system's clock to move on, so that the racy rule no longer applies.
fn let_settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

/// Scans and counts the bytes that were read.
fn digest(house: &House, folder: &Path) -> (Manifest, u64) {
    let mut read = 0;
    let found = house
        .store
        .digest_folder(folder, |_, total| read = total)
        .unwrap();
    let manifest = house.store.manifest(&found.digest).unwrap().unwrap();
    assert_eq!(found.files, manifest.file_count() as u64);
    assert_eq!(found.bytes, manifest.total_size());
    (manifest, read)
}

#[test]
fn a_folder_that_did_not_change_is_not_read_again() {
    let house = House::new();
    let folder = house.path("videos");
    write(&folder.join("Walk/a.mp4"), "aaaa");
    write(&folder.join("Run/b.mp4"), "bb");
    let_settle();
    let (first, read) = digest(&house, &folder);
    assert_eq!(read, 6);
    assert_eq!(digest(&house, &folder), (first.clone(), 0));

    write(&folder.join("Run/c.mp4"), "c");
    let_settle();
    let (second, read) = digest(&house, &folder);
    assert_eq!(read, 1, "only the new file");
    assert_ne!(first.digest(), second.digest());
    fs::remove_file(folder.join("Run/c.mp4")).unwrap();
    assert_eq!(digest(&house, &folder), (first, 0));
}

#[test]
fn an_edit_that_keeps_size_and_modification_time_is_noticed() {
    let house = House::new();
    let file = house.path("videos/a");
    write(&file, "before");
    let_settle();
    let (first, _) = digest(&house, &house.path("videos"));
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "behind").unwrap();
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let (second, read) = digest(&house, &house.path("videos"));
    assert_eq!(read, 6);
    assert_ne!(first, second);
}

#[test]
fn a_file_replaced_by_one_of_equal_size_and_time_is_noticed() {
    let house = House::new();
    let (file, other) = (house.path("videos/a"), house.path("other"));
    write(&file, "before");
    write(&other, "behind");
    let moment = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    for path in [&file, &other] {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(moment)
            .unwrap();
    }
    let_settle();
    let (first, _) = digest(&house, &house.path("videos"));
    fs::rename(other, file).unwrap();
    assert_ne!(digest(&house, &house.path("videos")).0, first);
}

#[test]
fn a_file_changed_within_a_tick_of_its_reading_is_read_again() {
    let house = House::new();
    let folder = house.path("videos");
    for round in 0..20 {
        write(&folder.join("a"), format!("{round:02}"));
        let (manifest, _) = digest(&house, &folder);
        let (_, _, sha256) = manifest.files().next().unwrap();
        assert_eq!(sha256, Digest::of(format!("{round:02}")), "round {round}");
    }
}

#[test]
fn a_file_from_the_future_is_read_every_time() {
    let house = House::new();
    let file = house.path("videos/a");
    write(&file, "x");
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(future)
        .unwrap();
    let_settle();
    for _ in 0..2 {
        assert_eq!(digest(&house, &house.path("videos")).1, 1);
    }
}

#[test]
fn a_damaged_stat_cache_costs_time_and_nothing_else() {
    let house = House::new();
    let folder = house.path("videos");
    write(&folder.join("a"), "aaaa");
    let_settle();
    let (first, _) = digest(&house, &folder);
    let caches: Vec<_> = fs::read_dir(house.store.stats_folder()).unwrap().collect();
    assert_eq!(caches.len(), 1);
    let cache = caches[0].as_ref().unwrap().path();
    let bytes = fs::read(&cache).unwrap();
    for cut in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[cut] ^= 1;
        fs::write(&cache, &damaged).unwrap();
        assert_eq!(digest(&house, &folder), (first.clone(), 4), "byte {cut}");
        fs::write(&cache, &bytes[..cut]).unwrap();
        assert_eq!(digest(&house, &folder), (first.clone(), 4), "cut at {cut}");
    }
}

#[test]
fn links_in_a_folder_of_the_users_are_read_through() {
    let house = House::new();
    write(&house.path("elsewhere/Walk/a.mp4"), "aaaa");
    write(&house.path("single.mp4"), "ss");
    let folder = house.path("videos");
    fs::create_dir(&folder).unwrap();
    symlink(house.path("elsewhere/Walk"), folder.join("Walk")).unwrap();
    symlink("../single.mp4", folder.join("b.mp4")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink(".", folder.join("circle")).unwrap();

    let plain = house.path("plain");
    write(&plain.join("Walk/a.mp4"), "aaaa");
    write(&plain.join("b.mp4"), "ss");
    symlink("nowhere", plain.join("dangling")).unwrap();
    symlink(".", plain.join("circle")).unwrap();
    assert_eq!(digest(&house, &folder).0, digest(&house, &plain).0);

    let_settle();
    digest(&house, &folder);
    write(&house.path("elsewhere/Walk/a.mp4"), "AAAA");
    assert_ne!(digest(&house, &folder).0, digest(&house, &plain).0);

    let through_link = house.path("link-to-videos");
    symlink(&folder, &through_link).unwrap();
    assert_eq!(digest(&house, &through_link).0, digest(&house, &folder).0);
}

#[test]
fn a_missing_folder_and_a_file_in_its_place_are_named() {
    let house = House::new();
    let error = house
        .store
        .digest_folder(&house.path("none"), |_, _| {})
        .unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
    write(&house.path("file"), "x");
    let error = house
        .store
        .digest_folder(&house.path("file"), |_, _| {})
        .unwrap_err();
    assert!(matches!(error, ArtifactError::NotAFolder { .. }), "{error}");
}

#[test]
fn empty_folders_count() {
    let house = House::new();
    let folder = house.path("videos");
    fs::create_dir_all(folder.join("Walk")).unwrap();
    let (with, _) = digest(&house, &folder);
    assert_eq!(with.entries().len(), 1);
    write(&folder.join("Walk/a"), "");
    let (filled, _) = digest(&house, &folder);
    assert_eq!(
        filled.entries().len(),
        1,
        "a folder with something in it follows from the path"
    );
    assert_ne!(with, filled);
}
