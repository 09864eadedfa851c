//! What each file of `faculty init` is: a network, a text encoder, an ONNX file, or a table of logits.

use std::path::{Path, PathBuf};

use faculty_data::{LogitTable, Normalisation};
use faculty_nets::weights::{self, WeightFile};
use faculty_nets::{EncoderFolder, MapShape, Network, recognise};
use faculty_teachers::{OnnxChoice, OnnxTeacher, TeacherInput, TeacherSource as _};

use super::kind::Kind;
use crate::failure::Failure;

/// Longest name that is taken from a file's; caches and reports have files of these names.
const LONGEST_NAME: usize = 40;

/// A teacher as it was found in a file.
pub(super) struct Found {
    /// Unlike all others' names, and good for a file name.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) source: Source,
    /// Which of several sets of weights in the file.
    pub(super) weights_key: Option<String>,
    /// Length of its output.
    pub(super) classes: usize,
    /// The normalisation that the file tells.
    pub(super) normalisation: Option<Normalisation>,
    /// What to know about it.
    pub(super) notes: Vec<String>,
}

pub(super) enum Source {
    Network { name: String },
    Encoder { family: &'static str, layers: usize },
    Onnx { has_classifier: bool },
    Logits,
}

impl Source {
    pub(super) fn described(&self) -> String {
        match self {
            Self::Network { name } => format!("a {name}"),
            Self::Encoder { family, layers: 0 } => format!("a {family}"),
            Self::Encoder { family, layers } => format!("a {family} of {layers} layers"),
            Self::Onnx { .. } => "an ONNX file".to_owned(),
            Self::Logits => "a table of logits".to_owned(),
        }
    }

    /// Whether it has a last map and a classifier on it, as `ca-mkd` reads them.
    pub(super) fn has_classifier(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Encoder { .. } => true,
            Self::Onnx { has_classifier } => *has_classifier,
            Self::Logits => false,
        }
    }
}

impl Found {
    pub(super) fn network(&self) -> Option<&str> {
        match &self.source {
            Source::Network { name } => Some(name),
            Source::Encoder { family, .. } => Some(family),
            Source::Onnx { .. } | Source::Logits => None,
        }
    }
}

/// Recognises every file for samples of `kind`; `key` is for those with several sets of weights.
pub(super) fn look_at(
    paths: &[PathBuf],
    kind: Kind,
    key: Option<&str>,
) -> Result<Vec<Found>, Failure> {
    let mut found: Vec<Found> = Vec::new();
    for path in paths {
        let mut teacher = match kind {
            Kind::Images([channels, height, width]) => {
                of_images(path, MapShape::new(channels, height, width), key)?
            }
            Kind::Texts => of_texts(path, key)?,
        };
        teacher.name = unlike(&name_of(path), found.iter().map(|own| own.name.as_str()));
        found.push(teacher);
    }
    match key {
        Some(key) if found.iter().all(|teacher| teacher.weights_key.is_none()) => {
            Err(Failure::Usage {
                what: format!("`--weights-key {key}` has no effect: no file holds several sets"),
                hint: "leave it out".to_owned(),
            })
        }
        _ => Ok(found),
    }
}

/// One file or folder for texts; it has no name yet.
fn of_texts(path: &Path, key: Option<&str>) -> Result<Found, Failure> {
    match ending(path).as_deref() {
        Some("onnx") => {
            return Err(Failure::Usage {
                what: format!("`{}`: ONNX files are no teachers of texts", path.display()),
                hint: "give the folder of the encoder it was made of, or a table of its logits"
                    .to_owned(),
            });
        }
        Some("npy" | "parquet") => return table(path),
        Some("safetensors") if is_table(&WeightFile::open(path, None)?) => return table(path),
        _ => {}
    }
    let folder = EncoderFolder::open(path)?;
    let mut weights_key = None;
    let mut file = WeightFile::open(&folder.weights, None);
    if let (Err(faculty_nets::Error::SeveralSets { .. }), Some(key)) = (&file, key) {
        file = WeightFile::open(&folder.weights, Some(key));
        weights_key = Some(key.to_owned());
    }
    let mut file = file?;
    let config = &folder.config;
    let (family, layers) = (config.family.name(), config.layers);
    let untrained = || {
        Failure::Usage {
        what: format!("`{}` is a {family} without a trained classifier: no teacher yet", path.display()),
        hint: "train it on the classes first: `faculty init DATA --student FOLDER --output teacher.toml`, \
               then `faculty train teacher.toml`; the run's folder is the teacher"
            .to_owned(),
    }
    };
    let loaded = match config.load(&mut file, None, 0) {
        Ok(loaded) => loaded,
        // With a classifier from nothing all is well: that is what it lacks.
        Err(_) if config.load(&mut file, Some(2), 0).is_ok() => return Err(untrained()),
        Err(error) => return Err(error.into()),
    };
    if !loaded.anew.is_empty() {
        return Err(untrained());
    }
    let classes = loaded.network.classes();
    Ok(Found { weights_key, ..plain(path, Source::Encoder { family, layers }, classes) })
}

/// How a file's name ends, in lower case.
fn ending(path: &Path) -> Option<String> {
    path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase())
}

fn is_table(file: &WeightFile) -> bool {
    file.shape_of("logits").is_some() && file.shape_of("ids").is_some()
}

/// One file for images; it has no name yet.
fn of_images(path: &Path, input: MapShape, key: Option<&str>) -> Result<Found, Failure> {
    if path.join("config.json").is_file() {
        return Err(Failure::Usage {
            what: format!("`{}` is the folder of a text encoder, the data are images", path.display()),
            hint: "give data of texts (`faculty datasets` lists the formats), or weights of a network \
                   of images"
                .to_owned(),
        });
    }
    match ending(path).as_deref() {
        Some("onnx") => {
            let own = TeacherInput::new(input, None, None);
            let teacher = OnnxTeacher::load(path, &OnnxChoice::default(), own)?;
            let source = Source::Onnx { has_classifier: teacher.classifier().is_some() };
            let notes = teacher.notes().to_vec();
            Ok(Found { notes, ..plain(path, source, teacher.classes()) })
        }
        Some("npy" | "parquet") => table(path),
        _ => {
            let metadata = weights::metadata(path)?;
            let file = WeightFile::open(path, None)?;
            if is_table(&file) {
                return table(path);
            }
            let stored = |key: &str| serde_json::from_str(metadata.get(key)?).ok();
            let mut found = network(file, input, metadata.get("network").map(String::as_str), key)?;
            if let (Some(mean), Some(std)) = (stored("mean"), stored("std")) {
                found.normalisation = Some(Normalisation { mean, std });
            }
            Ok(found)
        }
    }
}

fn plain(path: &Path, source: Source, classes: usize) -> Found {
    let (name, path, notes) = (String::new(), path.to_owned(), Vec::new());
    Found { name, path, source, weights_key: None, classes, normalisation: None, notes }
}

fn table(path: &Path) -> Result<Found, Failure> {
    Ok(plain(path, Source::Logits, LogitTable::read(path)?.classes()))
}

/// A network by its tensors; `named` is the one that the file names itself, `key` the set of weights
/// to take of several.
fn network(
    mut file: WeightFile,
    input: MapShape,
    named: Option<&str>,
    key: Option<&str>,
) -> Result<Found, Failure> {
    let path = file.path().to_owned();
    let mut weights_key = None;
    let mut recognised = recognise(&file, input);
    if let (Err(faculty_nets::Error::SeveralSets { .. }), Some(key)) = (&recognised, key) {
        file = WeightFile::open(&path, Some(key))?;
        recognised = recognise(&file, input);
        weights_key = Some(key.to_owned());
    }
    let fitting = match recognised {
        Ok(fitting) => fitting,
        // Networks with another one's classifier are not in the table, but our files name them.
        Err(error) => {
            let Some(name) = named else { return Err(error.into()) };
            let Ok((network, notes)) = Network::from_file(name, input, None, &mut file) else {
                return Err(error.into());
            };
            let source = Source::Network { name: name.to_owned() };
            return Ok(Found { notes, ..plain(&path, source, network.classes()) });
        }
    };
    let chosen = fitting.iter().find(|one| Some(one.network.name) == named).unwrap_or(&fitting[0]);
    let source = Source::Network { name: chosen.network.name.to_owned() };
    let mut found = plain(&path, source, chosen.classes);
    found.weights_key = weights_key;
    found.notes.clone_from(&chosen.fit.notes);
    if fitting.len() > 1 && named != Some(chosen.network.name) {
        let names: Vec<&str> = fitting.iter().map(|one| one.network.name).collect();
        found.notes.push(format!("its tensors fit several networks: {}", names.join(", ")));
    }
    Ok(found)
}

/// A teacher's name from its file's. Runs of this program all have `student.safetensors`, best
/// models elsewhere often one name: there the folder's name says more.
pub(super) fn name_of(path: &Path) -> String {
    const COMMON: [&str; 8] =
        ["student", "model", "best", "last", "checkpoint", "weights", "state_dict", "logits"];
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned());
    // A folder's name has no ending: `bge-small-en-v1.5`.
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let stem = text(stem).unwrap_or_default();
    let folder = path.parent().and_then(|folder| text(folder.file_name()));
    let chosen = match folder {
        Some(folder) if COMMON.contains(&stem.to_ascii_lowercase().as_str()) => folder,
        _ => stem,
    };
    // A dot would look like the name of a head (`NAME.f1`).
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-+".contains(c) { c } else { '-' };
    let name: String = chosen.chars().take(LONGEST_NAME).map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "teacher".to_owned() } else { name.to_owned() }
}

/// The name, with a number behind it if another teacher has it.
pub(super) fn unlike<'n>(name: &str, others: impl Iterator<Item = &'n str> + Clone) -> String {
    // Some file systems know no difference of case.
    let taken = |name: &str| others.clone().any(|other| other.eq_ignore_ascii_case(name));
    if !taken(name) {
        return name.to_owned();
    }
    (2..).map(|k| format!("{name}-{k}")).find(|name| !taken(name)).expect("numbers do not run out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_files_and_say_which_teacher_it_is() {
        let cases = [
            ("a/ada.safetensors", "ada"),
            ("runs/ben/student.safetensors", "ben"),
            ("resnet20.v1.pth", "resnet20-v1"),
            ("a/Füße & \"x\"\n.pth", "F--e----x"),
            ("...", "teacher"),
            ("学生.pth", "teacher"),
            ("student.safetensors", "student"),
        ];
        for (path, name) in cases {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
        assert_eq!(name_of(Path::new(&"x".repeat(200))).len(), LONGEST_NAME);
    }
}
