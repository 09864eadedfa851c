//! Running text in files, split into documents to train on, to choose by and to judge by.
//!
//! ```text
//! a file, or a folder's `.txt` files in the order of their names       each a document
//! splits that are named    files or folders inside
//! shares                   of 20 documents or more: whole documents; of fewer: parts that end with a line
//! ```
//! Which document or part is held out is decided by the hash of its text and nothing else: not by its
//! place, its name or the run's seed. Parts that lie side by side and go to the same split stay one
//! text.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use faculty_random::{Purpose, draw};
use faculty_recipe::{LanguageData, Validation};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::LanguageError;
use crate::run_error::RunError;
use crate::tokenizer::read;

/// Fewer documents than these are cut into parts.
const FEW: usize = 20;
/// Characters of a part: a fortieth of all, within these bounds.
const PART: [usize; 2] = [256, 8192];
/// Folders within folders that are looked into.
const DEEPEST: usize = 8;
/// Names that a split's folder or file has without being named by the recipe.
const NAMES: [&[&str]; 3] =
    [&["train", "training"], &["validation", "valid", "val", "dev"], &["test", "testing"]];

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Hash of the text: the same wherever it lies.
    pub id: u64,
    /// Its file.
    pub path: PathBuf,
    /// The text.
    pub text: String,
}

impl Document {
    /// A text with its id.
    #[must_use]
    pub fn new(path: PathBuf, text: String) -> Self {
        Self { id: xxh3_64(text.as_bytes()), path, text }
    }
}

/// The documents of each split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corpus {
    /// To train on; at least one.
    pub train: Vec<Document>,
    /// To choose the best step by; may be empty.
    pub validation: Vec<Document>,
    /// For the final numbers; may be empty.
    pub test: Vec<Document>,
}

impl Corpus {
    /// Reads and splits what a recipe names.
    ///
    /// # Errors
    /// When a file cannot be read or is not UTF-8, a named split is not there, or nothing is left to
    /// train on.
    pub fn open(data: &LanguageData) -> Result<Self, RunError> {
        let root = &data.path;
        let named = |split: usize, name: Option<&str>| -> Result<Option<PathBuf>, RunError> {
            match name {
                Some(name) => inside(root, name).map(Some),
                None => Ok(NAMES[split].iter().find_map(|name| {
                    [root.join(name), root.join(format!("{name}.txt"))]
                        .into_iter()
                        .find(|p| p.exists())
                })),
            }
        };
        let share = |own: &Validation| match own {
            Validation::Share(share) => (*share, None),
            Validation::Split(name) => (0.0, Some(name.clone())),
        };
        let [(validation_share, validation), (test_share, test)] =
            [share(&data.validation), share(&data.test)];
        let validation = named(1, validation.as_deref())?;
        let test = named(2, test.as_deref())?;
        let train = named(0, data.train.as_deref())?;
        let held: BTreeSet<PathBuf> = [&validation, &test].into_iter().flatten().cloned().collect();
        let all = documents(train.as_deref().unwrap_or(root), &held)?;
        let read_split = |path: Option<&Path>| match path {
            Some(path) => documents(path, &BTreeSet::new()),
            None => Ok(Vec::new()),
        };
        let mut corpus = Self {
            train: all,
            validation: read_split(validation.as_deref())?,
            test: read_split(test.as_deref())?,
        };
        let shares = [
            if validation.is_some() { 0.0 } else { validation_share },
            if test.is_some() { 0.0 } else { test_share },
        ];
        corpus.hold_out(shares);
        if corpus.train.is_empty() {
            return Err(RunError::Data {
                path: root.clone(),
                problem: "no text is left to train on".to_owned(),
                fix: "give more text, or lower `data.validation` and `data.test`",
            });
        }
        Ok(corpus)
    }

    /// Moves these shares of the training text to validation and test.
    fn hold_out(&mut self, [validation, test]: [f64; 2]) {
        if validation == 0.0 && test == 0.0 {
            return;
        }
        let all = std::mem::take(&mut self.train);
        let whole = all.len() >= FEW;
        let characters: usize = all.iter().map(|own| own.text.len()).sum();
        let part = (characters / 40).clamp(PART[0], PART[1]);
        // Number of the document, and the part of it.
        let mut units: Vec<(usize, Document)> = Vec::new();
        for (number, document) in all.into_iter().enumerate() {
            match whole {
                true => units.push((number, document)),
                false => {
                    units.extend(parts(&document.text, part).map(|text| {
                        (number, Document::new(document.path.clone(), text.to_owned()))
                    }))
                }
            }
        }
        let mut order: Vec<usize> = (0..units.len()).collect();
        let rank = |unit: usize| draw(Purpose::Split, 0, units[unit].1.id, 0, 0);
        // Equal texts stay in their order: which of them goes makes no difference.
        order.sort_by_key(|&unit| (rank(unit), unit));
        let count = |share: f64| match share {
            0.0 => 0,
            share => ((share * units.len() as f64).round() as usize).max(1),
        };
        let [validation, test] = [count(validation), count(test)];
        let mut split = vec![0; units.len()];
        order.iter().take(validation).for_each(|&unit| split[unit] = 1);
        order.iter().skip(validation).take(test).for_each(|&unit| split[unit] = 2);
        let mut last = None;
        for ((number, document), split) in units.into_iter().zip(split) {
            let list = [&mut self.train, &mut self.validation, &mut self.test]
                .into_iter()
                .nth(split)
                .expect("three splits");
            match list.last_mut() {
                Some(before) if last == Some((number, split)) => {
                    let text = std::mem::take(&mut before.text) + &document.text;
                    *before = Document::new(document.path, text);
                }
                _ => list.push(document),
            }
            last = Some((number, split));
        }
    }

    /// A hash of all texts and of the split that each is in.
    #[must_use]
    pub fn id(&self) -> u64 {
        let mut bytes = Vec::new();
        for (split, documents) in [&self.train, &self.validation, &self.test].iter().enumerate() {
            for document in *documents {
                bytes.push(split as u8);
                bytes.extend(document.id.to_le_bytes());
            }
        }
        xxh3_64(&bytes)
    }
}

/// Parts of a text of about so many bytes that end with a line, or in a long line with a word.
fn parts(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut at = size.min(rest.len());
        while !rest.is_char_boundary(at) {
            at += 1;
        }
        let tail = &rest[at..];
        let line = tail.find('\n').filter(|&end| end <= size).map(|end| end + 1);
        // A word begins with its space, as tokenizers see it.
        let end = line.or_else(|| tail.find(' ')).unwrap_or(tail.len());
        let (part, after) = rest.split_at(at + end);
        rest = after;
        Some(part)
    })
}

/// A split inside the data's folder.
fn inside(root: &Path, name: &str) -> Result<PathBuf, RunError> {
    let path = root.join(name);
    let refuse = |problem: String, fix| Err(RunError::Data { path: root.to_owned(), problem, fix });
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return refuse(
            format!("split `{name}` leads out of it"),
            "name a file or folder inside `data.path`",
        );
    }
    if !path.exists() {
        return refuse(
            format!("there is no split `{name}` in it"),
            "name a file or folder inside `data.path`, or give a share such as 0.1",
        );
    }
    Ok(path)
}

/// The documents of a file, or of a folder without what is left out.
fn documents(path: &Path, left_out: &BTreeSet<PathBuf>) -> Result<Vec<Document>, RunError> {
    let mut files = Vec::new();
    if path.is_dir() {
        walk(path, left_out, 0, &mut files)?;
    } else {
        files.push(path.to_owned());
    }
    let mut documents = Vec::new();
    for file in files {
        let text = text_of(&file)?;
        if !text.trim().is_empty() {
            documents.push(Document::new(file, text));
        }
    }
    if documents.is_empty() {
        return Err(RunError::Data {
            path: path.to_owned(),
            problem: "it holds no text".to_owned(),
            fix: "give a file of UTF-8 text, or a folder of `.txt` files",
        });
    }
    Ok(documents)
}

fn walk(
    folder: &Path,
    left_out: &BTreeSet<PathBuf>,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), RunError> {
    let failed = |source| LanguageError::Read { path: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.file_type().map_err(failed)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if left_out.contains(&path) {
            continue;
        }
        let is_text = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("txt"));
        // Links of folders are not followed: they may lead in a circle.
        if kind.is_dir() && depth < DEEPEST {
            walk(&path, left_out, depth + 1, files)?;
        } else if is_text && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// A file's text without a byte order mark.
fn text_of(path: &Path) -> Result<String, RunError> {
    let bytes = read(path)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
            Err(RunError::Data {
                path: path.to_owned(),
                problem: format!("line {line} is not UTF-8"),
                fix: "convert it, for example with `iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW`",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(path: &Path) -> LanguageData {
        LanguageData { path: path.to_owned(), ..LanguageData::default() }
    }

    fn texts(documents: &[Document]) -> Vec<&str> {
        documents.iter().map(|own| own.text.as_str()).collect()
    }

    #[test]
    fn parts_of_one_text_are_held_out_and_nothing_is_lost_or_there_twice() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..400).map(|n| format!("line {n} says é {}\n", n * 7)).collect();
        let path = folder.path().join("book.txt");
        std::fs::write(&path, lines.concat()).unwrap();
        let corpus = Corpus::open(&data(&path)).unwrap();
        let all = [texts(&corpus.train), texts(&corpus.validation), texts(&corpus.test)].concat();
        let mut found: Vec<&str> = all.iter().flat_map(|text| text.split_inclusive('\n')).collect();
        let mut want: Vec<&str> = lines.iter().map(String::as_str).collect();
        found.sort_unstable();
        want.sort_unstable();
        assert_eq!(found, want);
        let share = |documents: &[Document]| {
            let own: usize = documents.iter().map(|own| own.text.len()).sum();
            own as f64 / lines.concat().len() as f64
        };
        for held in [&corpus.validation, &corpus.test] {
            assert!((share(held) - 0.1).abs() < 0.05, "{}", share(held));
        }
        // Text before it moves no part of what comes after to another split: only its own parts are new.
        assert_eq!(Corpus::open(&data(&path)).unwrap(), corpus);
        let none = LanguageData {
            validation: Validation::Share(0.0),
            test: Validation::Share(0.0),
            ..data(&path)
        };
        let whole = Corpus::open(&none).unwrap();
        assert_eq!(texts(&whole.train), [lines.concat()]);
        assert!(whole.validation.is_empty() && whole.id() != corpus.id());
    }

    #[test]
    fn documents_go_to_the_same_split_whatever_lies_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |n: usize| {
            std::fs::write(folder.path().join(format!("{n:02}.txt")), format!("text {n}\n"))
                .unwrap();
        };
        (0..30).for_each(write);
        std::fs::write(folder.path().join("notes.md"), "no text").unwrap();
        let corpus = Corpus::open(&data(folder.path())).unwrap();
        assert_eq!([corpus.train.len(), corpus.validation.len(), corpus.test.len()], [24, 3, 3]);
        std::fs::rename(folder.path().join("00.txt"), folder.path().join("99.txt")).unwrap();
        let renamed = Corpus::open(&data(folder.path())).unwrap();
        assert_eq!(texts(&renamed.test), texts(&corpus.test));
    }

    #[test]
    fn named_splits_are_taken_and_odd_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.txt", "first"), ("b.txt", "second"), ("c.txt", "third")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let named = |name: &str| Validation::Split(name.to_owned());
        let own = LanguageData {
            validation: named("b.txt"),
            test: named("c.txt"),
            ..data(folder.path())
        };
        let corpus = Corpus::open(&own).unwrap();
        let all = [&corpus.train, &corpus.validation, &corpus.test].map(|own| texts(own).concat());
        assert_eq!(all, ["first", "second", "third"]);
        for (name, word) in [("../b.txt", "leads out"), ("d.txt", "no split `d.txt`")] {
            let own = LanguageData { test: named(name), ..data(folder.path()) };
            let error = Corpus::open(&own).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        std::fs::write(folder.path().join("a.txt"), b"one\ntw\xe9").unwrap();
        let error = Corpus::open(&own).unwrap_err();
        assert!(error.to_string().contains("line 2 is not UTF-8"), "{error}");
    }
}
