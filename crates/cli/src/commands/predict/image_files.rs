//! The image files that `faculty predict` was given, those in folders included.

use std::path::{Path, PathBuf};

use super::shown;

/// The files given, and those with names of images in the folders given and in all folders inside
/// them, sorted by path; whether something was wrong.
///
/// Hidden folders and links to folders are not entered.
pub(super) fn image_files(given: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    let (mut files, mut failed) = (Vec::new(), false);
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        match images_below(path, &mut found) {
            Ok(()) if !found.is_empty() => {
                found.sort();
                files.append(&mut found);
            }
            Ok(()) => {
                failed = true;
                eprintln!(
                    "error: folder `{}` has no image files\n  hint: give the folder that holds them",
                    shown(path)
                );
            }
            Err((folder, error)) => {
                failed = true;
                eprintln!(
                    "error: cannot read folder `{}`: {error}\n  hint: check its permissions",
                    shown(&folder)
                );
            }
        }
    }
    (files, failed)
}

fn images_below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), (PathBuf, std::io::Error)> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| (folder.clone(), error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let name = path.file_name().and_then(std::ffi::OsStr::to_str);
            if name.is_some_and(|name| name.starts_with('.')) {
                continue;
            }
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else if name.is_some_and(faculty_data::has_image_name) && path.is_file() {
                found.push(path);
            }
        }
    }
    Ok(())
}
