use std::fs;
use std::io::{ErrorKind, Write as _};

use super::faults::{self, Operation};
use super::{NewFile, append, is_partial, write_atomically};

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
    assert_eq!(listing(folder.path()), ["a.bin.partial"]);
    assert!(is_partial(&folder.path().join("a.bin.partial")) && !is_partial(&path));
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

/// The system's own full disk, where there is one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_of_the_system_gives_its_error() {
    let error = append(std::path::Path::new("/dev/full"), b"line\n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}
