use std::fs;
use std::io::{ErrorKind, Write as _};

use super::faults::{self, Operation};
use super::{NewFile, append, create_inside, is_partial, write_atomically};

fn listing(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn whatever_fails_the_old_file_stays_and_nothing_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    write_atomically(&path, b"old").unwrap();
    for failing in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename] {
        let _faults = faults::inject(move |operation, _| {
            if operation == failing { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        let error = write_atomically(&path, b"something new").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old", "{failing:?}");
        assert_eq!(listing(folder.path()), ["a.bin"], "{failing:?}");
    }
    write_atomically(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_file_has_no_name_before_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    let mut file = NewFile::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    let other = NewFile::create(&path).unwrap();
    let names = listing(folder.path());
    assert!(names.len() == 2 && names.iter().all(|name| is_partial(name.as_ref())), "{names:?}");
    assert!(!is_partial(&path));
    drop(other);
    drop(file);
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn a_line_is_appended_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    append(&path, b"one\n").unwrap();
    for failing in [Operation::Create, Operation::Write, Operation::Sync] {
        let _faults = faults::inject(move |operation, _| {
            if operation == failing { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        append(&path, b"two, which is longer\n").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"one\n", "{failing:?}");
    }
    append(&path, b"two\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
}

/// A link to a file, one to nothing, one to a folder, a device, a folder.
#[cfg(unix)]
#[test]
fn nothing_is_written_through_what_is_no_file() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("outside"), b"precious").unwrap();
    fs::create_dir(at("folder")).unwrap();
    for (name, target) in
        [("file", "outside"), ("nothing", "missing"), ("path", "folder"), ("device", "/dev/full")]
    {
        symlink(target, at(name)).unwrap();
        append(&at(name), b"line\n").unwrap_err();
    }
    append(&at("folder"), b"line\n").unwrap_err();
    append(std::path::Path::new("/dev/null"), b"line\n").unwrap_err();
    // A whole file takes the place of a link and leaves alone where that leads.
    for name in ["file", "nothing", "device"] {
        write_atomically(&at(name), b"new").unwrap();
        assert!(fs::symlink_metadata(at(name)).unwrap().is_file(), "{name}");
    }
    assert_eq!(fs::read(at("outside")).unwrap(), b"precious");
    assert!(!at("missing").exists());
    // The old fixed name beside a file is of no use to anybody.
    symlink("outside", at("a.bin.partial")).unwrap();
    write_atomically(&at("a.bin"), b"new").unwrap();
    assert_eq!(fs::read(at("outside")).unwrap(), b"precious");
}

#[cfg(unix)]
#[test]
fn folders_are_not_made_through_links() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("run"), folder.path().join("outside"));
    create_inside(&root, &root.join("a/b")).unwrap();
    create_inside(&root, &root.join("a/b")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, root.join("checkpoints")).unwrap();
    create_inside(&root, &root.join("checkpoints")).unwrap_err();
    // The folder itself may be a link: that is its owner's.
    symlink(&root, folder.path().join("link")).unwrap();
    create_inside(&folder.path().join("link"), &folder.path().join("link/c")).unwrap();
}

#[cfg(unix)]
#[test]
fn what_lies_in_a_strangers_folder_is_read_if_it_is_a_file_and_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "text").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(super::open_no_follow(&file).unwrap().1, 4);
    let refused = |path: &std::path::Path| super::open_no_follow(path).unwrap_err().to_string();
    assert_eq!(refused(&link), "it is a link");
    assert_eq!(refused(folder.path()), "it is a folder");
}
