//! A folder of class folders with image files.
//!
//! ```text
//! train/cat/1.png, train/dog/2.jpg, val/cat/3.png, test/dog/4.png, …     splits, as in `splits.rs`
//! cat/1.png, dog/2.jpg, …                                                training images alone
//! train/n01443537/images/1.JPEG, val/images/2.JPEG, val/val_annotations.txt     Tiny-ImageNet
//! ```
//!
//! Classes are the names of the folders, in Unicode's composed form, sorted bytewise, or in the
//! order of the option `classes`. All images must have one size, or be scaled to one with `resize`.
//! Hidden files are skipped, text files left out with a note; any other file that is no image is an
//! error, since it would be missed without notice. The ids of JPEG images hold as long as the JPEG
//! decoder gives the same pixels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::FileRoot;
use crate::findings::Findings;
use crate::image::file::{has_image_name, read_images};
use crate::image::picture::{self, Gather};
use crate::listing::{Entry, MOST_NAMES_BYTES, composed, list};
use crate::splits::choice::choose;
use crate::splits::{self, Chosen, Role, Splits};
use crate::{DataError, Dataset, Format, ReadOptions, UNLABELLED};

/// The folder that Tiny-ImageNet and others put between a class, or a split, and its images.
const IMAGES: &str = "images";

/// The file that gives the class of each image in Tiny-ImageNet's validation split.
const ANNOTATIONS: &str = "val_annotations.txt";

/// Words in the names of folders beside each other that are splits or kinds of files, not classes.
const NO_CLASSES: [&str; 19] = [
    "train",
    "training",
    "test",
    "testing",
    "val",
    "valid",
    "validation",
    "dev",
    "image",
    "images",
    "img",
    "imgs",
    "label",
    "labels",
    "annotations",
    "masks",
    "data",
    "hr",
    "lr",
];

pub(crate) fn recognises(path: &Path) -> Result<bool, DataError> {
    let folders: Vec<Entry> = list(path)?.into_iter().filter(|entry| entry.is_dir).collect();
    // A subfolder that cannot be listed is perhaps none of ours.
    let holds = |entry: &Entry, what: &dyn Fn(&Entry) -> bool| {
        list(&entry.path).is_ok_and(|entries| entries.iter().any(what))
    };
    let is_image = |entry: &Entry| !entry.is_dir && has_image_name(&entry.name);
    if let Some(train) = folders.iter().find(|entry| Role::of(&entry.name) == Some(Role::Train))
        && holds(train, &|entry| entry.is_dir)
    {
        return Ok(true);
    }
    if crate::list::has_list(path)? {
        return Ok(false);
    }
    Ok(folders.iter().any(|folder| {
        holds(folder, &is_image)
            || holds(folder, &|entry| is_images_folder(entry) && holds(entry, &is_image))
    }))
}

/// Reads the dataset in the folder `path`.
///
/// # Errors
/// No classes or only one, an empty class folder, a damaged image, a file that is none, images of
/// several sizes, splits with different classes, folders that are no classes: [`DataError`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let files = FileRoot::new(path, options.follow_links)?;
    let mut findings = Findings::default();
    let folders = find_splits(path, &files, options)?;
    let names: Vec<String> = folders.iter().map(|entry| entry.name.clone()).collect();
    let chosen = match folders.is_empty() {
        false => choose(path, &names, options, &mut findings.notes)?,
        true => choose(path, &["train".to_owned()], options, &mut findings.notes)?,
    };
    let locate = |split: &Chosen| match folders.iter().find(|entry| entry.name == split.name) {
        Some(entry) => Ok(entry.path.clone()),
        None if !split.asked => Ok(path.to_owned()),
        None => {
            let folder = path.join(&split.name);
            if folder.is_dir() { Ok(folder) } else { Err(split.missing(path, &names)) }
        }
    };

    let train_folder = locate(&chosen.train)?;
    let train_files = root_of(&files, &train_folder, &chosen.train, options)?;
    let mut train_classes = class_folders(&train_files, &train_folder)?;
    if folders.is_empty() && options.classes.is_none() {
        check_look_like_classes(path, &train_classes)?;
    }
    if let Some(classes) = &options.classes {
        same_classes(classes, Path::new("classes"), &names_of(&train_classes), &train_folder)?;
        let at = |entry: &Entry| classes.iter().position(|class| *class == entry.name);
        train_classes.sort_by_key(at);
    }
    let classes = names_of(&train_classes);
    crate::classes::check_class_names(&classes, &train_folder)?;
    let mut train = read_classes(&train_files, &train_classes, &classes, options, &mut findings)?;
    if let Some(folder) = folders.iter().find(|entry| splits::is_unlabelled(&entry.name)) {
        if options.unlabelled {
            let images = images_below(&files, &folder.path)?;
            let images = read_images(&files, &images, options, &mut findings)?;
            train.append(images, &folder.path)?;
        } else {
            findings.notes.push(format!(
                "`{}` is not used: its images have no labels (`data.unlabelled = \"use\"` learns \
                 from them)",
                folder.name
            ));
        }
    }
    let mut read_other = |split: Option<&Chosen>| -> Result<Option<Gather>, DataError> {
        let Some(split) = split else { return Ok(None) };
        let folder = locate(split)?;
        let files = root_of(&files, &folder, split, options)?;
        let images = match annotated(&files, &folder, &classes)? {
            Some(images) => images,
            None if is_unlabelled(&files, &folder, &classes)? => {
                return split.unlabelled(path, &mut findings.notes);
            }
            None => {
                let folders = class_folders(&files, &folder)?;
                same_classes(&classes, &train_folder, &names_of(&folders), &folder)?;
                return read_classes(&files, &folders, &classes, options, &mut findings).map(Some);
            }
        };
        read_images(&files, &images, options, &mut findings).map(Some)
    };
    let validation = read_other(chosen.validation.as_ref())?;
    let test = read_other(chosen.test.as_ref())?;
    let sets = picture::into_sets(Splits { train, validation, test }, &mut findings)?;
    let (train, unlabelled) = sets.train.apart();
    let dataset =
        Dataset::assemble(path, Format::Folder, classes, Splits { train, ..sets }, findings)?;
    dataset.with_unlabelled(unlabelled)
}

/// The images of a folder and of the folders in it, none with a label.
fn images_below(files: &FileRoot, folder: &Path) -> Result<Vec<(PathBuf, u32)>, DataError> {
    let mut images = Vec::new();
    for entry in files.list(folder)? {
        let inside = if entry.is_dir { files.list(&entry.path)? } else { vec![entry] };
        let found = inside.into_iter().filter(|entry| !entry.is_dir);
        images.extend(found.map(|entry| (entry.path, UNLABELLED)));
    }
    Ok(images)
}

/// The folders beside each other that are splits; none if they are classes.
pub(crate) fn find_splits(
    path: &Path,
    files: &FileRoot,
    options: &ReadOptions,
) -> Result<Vec<Entry>, DataError> {
    let entries = files.list(path)?;
    let folders: Vec<Entry> = entries.into_iter().filter(|entry| entry.is_dir).collect();
    let is_train = |entry: &Entry| Role::of(&entry.name) == Some(Role::Train);
    // A folder `train` that holds images alone, beside others, is the class of railway trains.
    let train_is_class = |entry: &Entry| {
        let inside = list(&entry.path).unwrap_or_default();
        !inside.iter().any(|entry| entry.is_dir)
            && inside.iter().any(|entry| has_image_name(&entry.name))
            && !folders.iter().any(|other| !is_train(other) && Role::of(&other.name).is_some())
    };
    match folders.iter().find(|entry| is_train(entry)) {
        Some(train) if options.train.is_some() || !train_is_class(train) => Ok(folders),
        None if options.train.is_some() => Ok(folders),
        None if options.classes.is_none()
            && folders.iter().any(|entry| Role::of(&entry.name).is_some()) =>
        {
            Ok(folders)
        }
        _ => Ok(Vec::new()),
    }
}

/// Where the files of a split may lie: a folder that the caller names is one of its own.
pub(crate) fn root_of(
    files: &FileRoot,
    folder: &Path,
    split: &Chosen,
    options: &ReadOptions,
) -> Result<FileRoot, DataError> {
    if split.asked { FileRoot::new(folder, options.follow_links) } else { Ok(files.clone()) }
}

/// The class folders in a folder, sorted by name.
pub(crate) fn class_folders(files: &FileRoot, folder: &Path) -> Result<Vec<Entry>, DataError> {
    let entries = files.list(folder)?;
    if let Some(image) = entries.iter().find(|entry| !entry.is_dir && has_image_name(&entry.name)) {
        // An image beside the class folders belongs to no class.
        return Err(DataError::StrayImage { path: image.path.clone() });
    }
    let folders: Vec<Entry> = entries.into_iter().filter(|entry| entry.is_dir).collect();
    if folders.is_empty() {
        return Err(DataError::NoClasses { path: folder.to_owned() });
    }
    Ok(folders)
}

pub(crate) fn names_of(folders: &[Entry]) -> Vec<String> {
    folders.iter().map(|entry| entry.name.clone()).collect()
}

/// Refuses `train_images/` beside `test_images/`: training on "which folder is it" works well and
/// means nothing.
pub(crate) fn check_look_like_classes(path: &Path, folders: &[Entry]) -> Result<(), DataError> {
    let is_no_class = |entry: &Entry| {
        let name = entry.name.to_lowercase();
        // `trainA` beside `testB`, as data of two domains have it.
        let of_domain = entry.name.strip_suffix(['A', 'B']).and_then(Role::of).is_some();
        of_domain || name.split(|c: char| !c.is_alphabetic()).any(|word| NO_CLASSES.contains(&word))
    };
    // `train` may be a class among others; two such names, or one beside nothing else, are none.
    let strange = folders.iter().filter(|entry| is_no_class(entry)).count();
    if strange > 1 || strange == folders.len() {
        let folders = names_of(folders);
        return Err(DataError::NotClasses { path: path.to_owned(), folders });
    }
    Ok(())
}

pub(crate) fn same_classes(
    first: &[String],
    first_path: &Path,
    other: &[String],
    other_path: &Path,
) -> Result<(), DataError> {
    let differ = |class: &String, present: &Path, absent: &Path| {
        let own = absent.join(class);
        match own.is_file() {
            true => DataError::Labels {
                path: own,
                problem: "it is a file, where a folder of that class is expected".to_owned(),
                fix:
                    "put the folder there; what was a link is a file if git or an archive wrote it \
                      out as text"
                        .to_owned(),
            },
            false => DataError::ClassesDiffer {
                class: class.clone(),
                present: present.to_owned(),
                absent: absent.to_owned(),
            },
        }
    };
    if let Some(class) = first.iter().find(|class| !other.contains(class)) {
        return Err(differ(class, first_path, other_path));
    }
    match other.iter().find(|class| !first.contains(class)) {
        Some(class) => Err(differ(class, other_path, first_path)),
        None => Ok(()),
    }
}

fn is_images_folder(entry: &Entry) -> bool {
    entry.is_dir && entry.name.eq_ignore_ascii_case(IMAGES)
}

/// Whether images lie in a split without class folders between.
fn is_unlabelled(files: &FileRoot, folder: &Path, classes: &[String]) -> Result<bool, DataError> {
    let entries = files.list(folder)?;
    let mut folders = entries.iter().filter(|entry| entry.is_dir);
    let has_images = |entries: &[Entry]| {
        entries.iter().any(|entry| !entry.is_dir && has_image_name(&entry.name))
    };
    Ok(match (folders.next(), folders.next()) {
        (None, _) => has_images(&entries),
        (Some(only), None) if !classes.contains(&only.name) => {
            has_images(&entries) || has_images(&files.list(&only.path)?)
        }
        _ => false,
    })
}

/// The images of a split whose classes stand in a file, as in Tiny-ImageNet.
fn annotated(
    files: &FileRoot,
    folder: &Path,
    classes: &[String],
) -> Result<Option<Vec<(PathBuf, u32)>>, DataError> {
    let (list, images) = (folder.join(ANNOTATIONS), folder.join(IMAGES));
    if !list.is_file() || !images.is_dir() {
        return Ok(None);
    }
    let Ok(text) = String::from_utf8(files.read(&list, MOST_NAMES_BYTES)?) else {
        return Err(DataError::NotUtf8 { path: list });
    };
    let labels: BTreeMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |problem| DataError::List { path: list.clone(), line: Some(number), problem };
        let mut words = line.split('\t');
        let (Some(name), Some(class)) = (words.next(), words.next()) else {
            return Err(wrong("a file and its class are expected, with a tab between".to_owned()));
        };
        let label = labels.get(composed(class).as_str());
        let label = label.ok_or_else(|| wrong(format!("class `{class}` is not one of `train`")))?;
        found.push((images.join(name), *label));
    }
    Ok(Some(found))
}

/// All images of the class folders, in the order of `classes`.
fn read_classes(
    files: &FileRoot,
    folders: &[Entry],
    classes: &[String],
    options: &ReadOptions,
    findings: &mut Findings,
) -> Result<Gather, DataError> {
    let mut images = Vec::new();
    for (label, class) in (0_u32..).zip(classes) {
        let folder = folders.iter().find(|entry| entry.name == *class);
        let folder = folder.ok_or_else(|| DataError::MissingFile { path: class.into() })?;
        let mut entries = files.list(&folder.path)?;
        let stands_alone = |inner: &usize| {
            let mut others = entries.iter().enumerate().filter(|(at, _)| at != inner);
            !others.any(|(_, entry)| entry.is_dir || has_image_name(&entry.name))
        };
        if let Some(inner) = entries.iter().position(is_images_folder).filter(stands_alone) {
            let inner = entries.swap_remove(inner);
            findings.texts.extend(entries.into_iter().map(|entry| entry.path));
            entries = files.list(&inner.path)?;
        }
        if entries.is_empty() {
            return Err(DataError::NoImages { path: folder.path.clone() });
        }
        images.extend(entries.into_iter().map(|entry| (entry.path, label)));
    }
    let gather = read_images(files, &images, options, findings)?;
    let seen: std::collections::BTreeSet<u32> = gather.labels().iter().copied().collect();
    match (0_u32..).zip(classes).find(|(label, _)| !seen.contains(label)) {
        // Nothing but text files, or images that were left out.
        Some((_, class)) => {
            let folder = folders.iter().find(|entry| entry.name == *class);
            let path = folder.map_or_else(|| class.into(), |entry| entry.path.clone());
            Err(DataError::NoImages { path })
        }
        None => Ok(gather),
    }
}

#[cfg(test)]
mod tests;
