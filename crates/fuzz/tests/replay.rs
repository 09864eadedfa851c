//! What fuzzing started from and what it found, read again, with simple damages of each.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use faculty_fuzz::{READERS, Reader};

/// Files of a folder beside this crate, none if it is not there, by name.
fn files(folder: &str, reader: &Reader) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(reader.name);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

fn corpus(reader: &Reader) -> Vec<(String, Vec<u8>)> {
    let own = (reader.own)().into_iter().enumerate().map(|(n, file)| (format!("own {n}"), file));
    files("corpus", reader).into_iter().chain(own).collect()
}

/// Cut short, longer, and bytes changed, the same ones every time.
fn damages(file: &[u8]) -> Vec<Vec<u8>> {
    const EACH: usize = 24;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit.max(1) as u64) as usize
    };
    let mut damaged = Vec::new();
    for round in 0..EACH {
        damaged.push(file[..below(file.len())].to_vec());
        let mut changed = file.to_vec();
        for _ in 0..=round % 4 {
            // More often near the start, where headers are.
            let most = if round % 2 == 0 { file.len() } else { file.len().min(256) };
            let at = below(most);
            if let Some(byte) = changed.get_mut(at) {
                *byte = [0, 0xff, *byte ^ 1 << below(8), below(256) as u8][below(4)];
            }
        }
        damaged.push(changed);
    }
    damaged.push([file, file].concat());
    damaged
}

#[test]
fn each_reader_accepts_files_of_its_corpus() {
    for reader in READERS {
        let corpus = corpus(reader);
        let accepted = corpus.iter().filter(|(_, file)| (reader.read)(file)).count();
        assert!(accepted > 0, "`{}` accepts none of {}", reader.name, corpus.len());
    }
}

#[test]
fn files_as_programs_write_them_are_accepted() {
    for reader in READERS {
        for (n, file) in (reader.own)().iter().enumerate() {
            assert!((reader.read)(file), "{} {n}", reader.name);
        }
    }
}

#[test]
fn damaged_files_give_a_value_or_an_error() {
    for reader in READERS {
        let damaged = corpus(reader).into_iter().flat_map(|(name, file)| {
            damages(&file).into_iter().map(move |file| (name.clone(), file))
        });
        for (n, (name, file)) in damaged.enumerate() {
            let read = std::panic::catch_unwind(|| (reader.read)(&file));
            assert!(read.is_ok(), "{}: `{name}`, damage {n}", reader.name);
        }
    }
}

#[test]
fn what_once_broke_a_reader_no_longer_does() {
    for reader in READERS {
        for (name, file) in files("crashes", reader) {
            let read = std::panic::catch_unwind(|| (reader.read)(&file));
            assert!(read.is_ok(), "{}: `{name}`", reader.name);
        }
    }
}
