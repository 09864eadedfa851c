//! What is wrong with a teacher, with what it is asked about, or with what it said earlier.

use std::path::PathBuf;

use faculty_data::SampleId;
use faculty_files::{FileError, LockError};

use crate::class_map::ClassProblem;
use crate::soundness::{LARGEST_LOGIT, Soundness};
use crate::suspicion::Suspicion;

/// Result with this crate's [`TeacherError`].
pub type Result<T> = std::result::Result<T, TeacherError>;

/// Teachers that cannot be opened, measured, asked or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeacherError {
    /// The data set cannot be used.
    #[error(transparent)]
    Data(#[from] faculty_data::DataError),
    /// A network or weight file cannot be used.
    #[error(transparent)]
    Network(#[from] faculty_nets::Error),
    /// A folder that another process writes.
    #[error(transparent)]
    Folder(#[from] LockError),
    /// Texts, and nothing that makes tokens of them.
    #[error("the data are texts, and `{key}` is missing")]
    NoTokenizer {
        /// The key of the recipe.
        key: String,
    },
    /// Balanced sampling of samples of which some have no class.
    #[error("`train.sampling = \"balanced\"` needs the label of every training sample")]
    UnlabelledSampling,
    /// Mixtures of samples of which some have no class.
    #[error("`data.mixup` and `data.cutmix` need the label of every training sample")]
    UnlabelledMixing,
    /// A network of images and data of texts, or the reverse.
    #[error("network `{network}` of {who} reads {reads}, the data are {data}")]
    OtherKind {
        /// Whose.
        who: String,
        /// Its name.
        network: String,
        /// What it reads.
        reads: &'static str,
        /// What there is.
        data: &'static str,
    },
    /// A key of images and data of texts, or the reverse.
    #[error("`{key}` has no effect here: the data are {data}")]
    NoEffect {
        /// The key of the recipe.
        key: String,
        /// What there is.
        data: &'static str,
    },
    /// A folder with another kind of network than the recipe says.
    #[error("teacher `{teacher}` is a `{found}` by its `config.json`, the recipe says `{named}`")]
    OtherFamily {
        /// The teacher.
        teacher: String,
        /// In the recipe.
        named: String,
        /// In its folder.
        found: &'static str,
    },
    /// Tokens that a network cannot read.
    #[error("{who}: {problem}")]
    Tokens {
        /// A teacher's name, or the student.
        who: String,
        /// What does not fit.
        problem: String,
        /// What to do.
        fix: &'static str,
    },
    /// A teacher whose file lacks the head.
    #[error("teacher `{teacher}`: `{missing}` is not in `{}`", path.display())]
    Untrained {
        /// The teacher.
        teacher: String,
        /// Its weights.
        path: PathBuf,
        /// Names of parameters.
        missing: String,
    },
    /// A teacher whose classes are not those of the data.
    #[error("teacher `{teacher}` (`{}`) does not fit the data: {problem}", path.display())]
    TeacherClasses {
        /// Name in the recipe.
        teacher: String,
        /// Its file.
        path: PathBuf,
        /// What does not fit.
        problem: ClassProblem,
    },
    /// An ONNX file that cannot be used.
    #[error("ONNX file `{}`: {reason}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// How to fix it.
        hint: String,
    },
    /// A file of class names or a class map that cannot be used.
    #[error("class file `{}`: {reason}", path.display())]
    ClassFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A table of logits without some of the samples.
    #[error(
        "teacher `{teacher}` (`{}`) lacks {missing} of {samples} samples of the {part} split, first {}",
        path.display(),
        listed(first)
    )]
    MissingSamples {
        /// Name in the recipe.
        teacher: String,
        /// The table.
        path: PathBuf,
        /// The part of the data set.
        part: &'static str,
        /// How many it lacks.
        missing: usize,
        /// Samples of the part.
        samples: usize,
        /// The first of them.
        first: Vec<SampleId>,
    },
    /// A head file that cannot be used.
    #[error("head file `{}` cannot be used: {reason}", path.display())]
    HeadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A teacher whose outputs are not what they are taken for.
    #[error("teacher `{teacher}`: {problem}")]
    TeacherOutputs {
        /// Name in the recipe.
        teacher: String,
        /// What was seen.
        problem: String,
    },
    /// A teacher that gives what no loss can use.
    #[error(
        "teacher `{teacher}` gives {} among its logits on {} of {} samples ({:.2} %) of the {part} \
         part",
        shown_value(.soundness.example),
        soundness.unusable,
        soundness.samples,
        100.0 * soundness.unusable as f64 / soundness.samples.max(1) as f64
    )]
    UnusableTeacher {
        /// Name in the recipe.
        teacher: String,
        /// Where it was measured.
        part: &'static str,
        /// On how many samples.
        soundness: Soundness,
    },
    /// A teacher that has learnt next to nothing about these classes.
    #[error(
        "teacher `{teacher}` is right on {top1:.1} % of the {part} split{}, little more than chance \
         ({chance:.1} %: always the most frequent class); mean over the classes {balanced:.1} %{}",
        only_answer.as_ref().map_or_else(String::new, |own| format!(", says `{own}` on all of it")),
        suspicion.as_ref().map_or_else(String::new, |own| format!("; {}", own.what))
    )]
    WeakTeacher {
        /// Name in the recipe.
        teacher: String,
        /// Its accuracy, percent.
        top1: f64,
        /// Mean over the classes of its accuracy on them, percent.
        balanced: f64,
        /// The class that it names on every sample, if that is so.
        only_answer: Option<String>,
        /// Accuracy of always naming the most frequent class, percent.
        chance: f64,
        /// Where it was measured.
        part: &'static str,
        /// What seems to be wrong with it.
        suspicion: Option<Box<Suspicion>>,
    },
    /// No images to measure teachers on.
    #[error("there is neither a validation nor a test split to measure teachers on")]
    NothingToMeasureOn,
    /// Normalisation constants for another number of channels.
    #[error("`{key}` has {found} values, the images have {expected} channels")]
    Channels {
        /// Recipe key.
        key: String,
        /// Values given.
        found: usize,
        /// Channels of the images.
        expected: usize,
    },
    /// Too little data for one batch.
    #[error("the training split has {samples} samples, too few for one batch of {batch_size}")]
    TooFewSamples {
        /// Samples of the training split.
        samples: usize,
        /// `train.batch_size`.
        batch_size: usize,
    },
    /// A recipe without a cache, where one is asked for.
    #[error("the recipe has no `[cache]`")]
    NoCache,
    /// A cache that was made from something else.
    #[error("`{}` does not fit the recipe: {field} differs (cache: {cache}; recipe: {recipe})", path.display())]
    CacheMismatch {
        /// Its folder or manifest.
        path: PathBuf,
        /// What differs.
        field: String,
        /// Its value there.
        cache: String,
        /// The value now.
        recipe: String,
    },
    /// A file of a cache that was changed or cut short.
    #[error("`{}` is damaged: {reason}", path.display())]
    CacheDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that should be in a cache and is not.
    #[error("`{}` is not complete: {what} is missing", path.display())]
    CacheIncomplete {
        /// Its folder.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The building of a cache was stopped from outside.
    #[error("stopped building `{}`", path.display())]
    CacheStopped {
        /// Its folder.
        path: PathBuf,
    },
    /// A teacher's value that the cache cannot hold.
    #[error("teacher `{teacher}` gives {value} in its {what}, which {dtype} cannot hold")]
    CacheValue {
        /// Name in the recipe.
        teacher: String,
        /// `logits` or the tap.
        what: String,
        /// The value.
        value: f32,
        /// Type of the cache.
        dtype: &'static str,
    },
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl TeacherError {
    /// How to fix it, if there is a way worth naming.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::NoTokenizer { key } => Some(format!(
                "add `{key} = \"FOLDER\"`: a `tokenizer.json`, a `vocab.txt`, or a folder with one"
            )),
            Self::OtherKind { data, .. } => Some(match *data {
                "texts" => {
                    let known: Vec<&str> = faculty_nets::EncoderFamily::names().collect();
                    format!("networks that read texts: {}", known.join(", "))
                }
                _ => "`faculty networks` lists networks that read images".to_owned(),
            }),
            Self::UnlabelledSampling => Some(
                "leave `data.unlabelled` at `\"drop\"`, or `train.sampling` at `\"shuffled\"`"
                    .to_owned(),
            ),
            Self::UnlabelledMixing => Some(
                "leave `data.unlabelled` at `\"drop\"`, or remove `data.mixup` and `data.cutmix`"
                    .to_owned(),
            ),
            Self::NoEffect { .. } => Some("remove it".to_owned()),
            Self::OtherFamily { found, .. } => Some(format!("write `network = \"{found}\"`")),
            Self::Tokens { fix, .. } => Some((*fix).to_owned()),
            Self::Untrained { .. } => Some(
                "a teacher is trained on the classes first: `faculty train`, or any other program"
                    .to_owned(),
            ),
            Self::TeacherClasses { problem, .. } => Some(problem.hint()),
            Self::Onnx { hint, .. } => Some(hint.clone()),
            Self::ClassFile { .. } => Some(
                "give a JSON list or object of names, or a text file with one name a line"
                    .to_owned(),
            ),
            Self::MissingSamples { .. } => Some(
                "list the ids with `faculty datasets DATA --ids` and write the table for all of \
                 them; the data must be read as in the recipe (same `resize`, labels and classes)"
                    .to_owned(),
            ),
            Self::HeadFile { .. } => {
                Some("delete that file: the next run trains the head again".to_owned())
            }
            Self::TeacherOutputs { teacher, .. } => Some(format!(
                "fix its table, or say what it gives with `output_type` on teacher `{teacher}`: `logits`, \
                 `probabilities` or `sigmoid` (`--output-type` on the command line)"
            )),
            Self::UnusableTeacher { .. } => Some(format!(
                "a loss needs finite logits within ±{LARGEST_LOGIT:e}: check its weights and its \
                 normalisation (`mean`, `std`), whether half precision overflowed where it was \
                 made, and in a table the rows of these samples"
            )),
            Self::WeakTeacher { teacher, suspicion, .. } => {
                let first = suspicion.as_ref().map_or_else(
                    || "check its normalisation (`mean`, `std`) and class order".to_owned(),
                    |own| own.fix.clone(),
                );
                Some(format!("{first}, or set `allow_weak = true` on teacher `{teacher}`"))
            }
            Self::NothingToMeasureOn => {
                Some("set `data.validation` above 0, or to a split".to_owned())
            }
            Self::Channels { expected, .. } => {
                Some(format!("give {expected} values, or leave the key out to measure them"))
            }
            Self::TooFewSamples { .. } => {
                Some("lower `train.batch_size`, or use more samples".to_owned())
            }
            Self::NoCache => Some("add `[cache]`, and `views = 4` to `[data]`".to_owned()),
            Self::CacheMismatch { field, cache, .. } => Some(match field.as_str() {
                "`data.view_seed`" => format!(
                    "set `data.view_seed = {cache}`, so that runs of all seeds share the cache, or \
                     name another folder as `cache.path`"
                ),
                _ => "undo the change, or name another folder as `cache.path`".to_owned(),
            }),
            Self::CacheDamaged { .. } => Some(
                "delete that file and run `faculty cache` with the recipe: nothing else is \
                 computed again"
                    .to_owned(),
            ),
            Self::CacheIncomplete { .. } => {
                Some("run `faculty cache` with the recipe: it computes what is missing".to_owned())
            }
            Self::CacheStopped { .. } => {
                Some("what is finished is kept: the same command resumes from there".to_owned())
            }
            Self::CacheValue { dtype: "f16", .. } => Some("set `cache.dtype = \"f32\"`".to_owned()),
            Self::CacheValue { .. } => {
                Some("check the teacher's weights and normalisation".to_owned())
            }
            Self::Folder(error) => Some(error.hint().to_owned()),
            Self::File(error) => Some(error.hint().to_owned()),
        }
    }
}

fn shown_value(value: Option<f32>) -> String {
    value.map_or_else(String::new, |value| {
        if value.is_finite() { format!("{value:e}") } else { value.to_string() }
    })
}

fn listed(ids: &[SampleId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}
