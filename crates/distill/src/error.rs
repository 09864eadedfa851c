//! Everything that can stop a run, each with a way to fix it.

use std::path::PathBuf;

use faculty_comm::CommError;
use faculty_files::{FileError, LockError};

use crate::recipe::RecipeError;
use faculty_records::run::Change;
use faculty_teachers::TeacherError;

mod hint;

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A run that cannot start or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe is wrong; all its problems are inside.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The data set cannot be used.
    #[error(transparent)]
    Data(#[from] faculty_data::DataError),
    /// Other processes of this training are gone, or do something else.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// What several processes cannot share.
    #[error("{what} cannot be trained by {processes} processes: {why}")]
    OneProcess {
        /// What it is about.
        what: String,
        /// How many there are.
        processes: usize,
        /// Why not.
        why: &'static str,
    },
    /// Processes of one training whose students are no longer the same.
    #[error("the students of the {processes} processes differ after epoch {epoch}")]
    ProcessesDiffer {
        /// How many there are.
        processes: usize,
        /// Finished epochs.
        epoch: usize,
    },
    /// A network or weight file cannot be used.
    #[error(transparent)]
    Network(#[from] faculty_nets::Error),
    /// A method that cannot be used so.
    #[error(transparent)]
    Method(#[from] faculty_methods::MethodError),
    /// A file of class costs that cannot be used.
    #[error(transparent)]
    ClassCost(#[from] faculty_contract::ClassCostError),
    /// A learner that cannot be made.
    #[error(transparent)]
    Learner(#[from] faculty_learner::LearnerError),
    /// Teachers, what they are measured on, or their cache cannot be used.
    #[error(transparent)]
    Teacher(TeacherError),
    /// A finished student that cannot be used.
    #[error("student `{}`: {reason}", path.display())]
    Student {
        /// Run folder or weight file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
        /// How to fix it.
        hint: &'static str,
    },
    /// An exported network that does not do what the student does.
    #[error(
        "`{}` was not written: in a second runtime its logits differ by {relative:.1e} of the \
         largest from the student's",
        path.display()
    )]
    ExportDiffers {
        /// The file that was to be written.
        path: PathBuf,
        /// Largest difference as a share of the largest logit.
        relative: f64,
    },
    /// A student in 8 bits is worse than allowed.
    #[error(
        "`{}` would get {int8:.2} % right in 8 bits, and {float:.2} % as floats: more than \
         {most_loss} points are lost",
        path.display()
    )]
    Int8LosesTooMuch {
        /// The file that was to be written.
        path: PathBuf,
        /// Accuracy of the float file in percent.
        float: f64,
        /// Accuracy in 8 bits in percent.
        int8: f64,
        /// Points that may be lost.
        most_loss: f64,
    },
    /// The second runtime fails on what was exported.
    #[error("the exported network cannot be run: {reason}")]
    SecondRuntime {
        /// The runtime's reason.
        reason: String,
    },
    /// A method that needs a part of a teacher which that teacher does not have.
    #[error("method `{method}` needs {what}, and {who} has none")]
    MissingPart {
        /// Name of the method.
        method: &'static str,
        /// What is missing.
        what: String,
        /// The student or the teacher.
        who: String,
    },
    /// A head on a map that the network does not have.
    #[error("teacher `{teacher}` has no map `{tap}` for a head; it has {}", quoted(known))]
    NoSuchTap {
        /// Name in the recipe.
        teacher: String,
        /// What is asked for.
        tap: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A method that mounts heads, and no teacher that could carry one.
    #[error("method `{method}` mounts heads on its teachers' maps, and no teacher is a network")]
    NoPlaceForHeads {
        /// Name of the method.
        method: &'static str,
    },
    /// A head that has not been trained.
    #[error("head `{head}` is not trained yet: there is no `{}`", path.display())]
    HeadMissing {
        /// The teacher that it makes.
        head: String,
        /// Where it would lie.
        path: PathBuf,
    },
    /// A head whose loss broke down.
    #[error("the loss of head `{head}` became {value} in epoch {epoch}")]
    HeadNotFinite {
        /// The teacher that it makes.
        head: String,
        /// NaN or an infinity.
        value: f64,
        /// From 1.
        epoch: usize,
    },
    /// The training of heads was stopped from outside.
    #[error("stopped training heads on teacher `{teacher}`")]
    HeadsStopped {
        /// Name in the recipe.
        teacher: String,
    },
    /// A method that trains its teachers, and one that cannot be trained.
    #[error("method `{method}` trains its teachers, but not {what}")]
    FixedTeacher {
        /// Name of the method.
        method: &'static str,
        /// What cannot be trained.
        what: String,
        /// What to do about it.
        fix: String,
    },
    /// A method that compares samples with each other, and batches that do not allow it.
    #[error("method `{method}` needs {what}")]
    Batches {
        /// Name of the method.
        method: &'static str,
        /// Which batches.
        what: String,
        /// The recipe key that mends it, with a value.
        fix: String,
    },
    /// A method that reads all labels, and samples without one.
    #[error(
        "method `{method}` reads the label of every training sample, and {unlabelled} have none"
    )]
    NeedsLabels {
        /// Its name.
        method: &'static str,
        /// Training samples without a label.
        unlabelled: usize,
    },
    /// A method that keeps images, and data of texts.
    #[error("method `{method}` keeps images of earlier steps, and the data are texts")]
    ImagesOnly {
        /// Its name.
        method: &'static str,
    },
    /// Too few samples for the folds of a linear model.
    #[error("{folds} folds of {samples} training samples")]
    Folds {
        /// Asked for.
        folds: usize,
        /// There are.
        samples: usize,
    },
    /// A key that says nothing about this student.
    #[error("`{key}` has no effect here: {why}")]
    NoEffect {
        /// The key.
        key: &'static str,
        /// Whose it is.
        why: &'static str,
    },
    /// A text encoder on another device than the CPU.
    #[error("networks that read texts are trained on the CPU only, not on `{device}`")]
    TextsOnCpu {
        /// As the recipe names it.
        device: &'static str,
    },
    /// A folder with another kind of text encoder than the recipe says.
    #[error(
        "the student's weights are of a `{found}` by their `config.json`, the recipe says `{named}`"
    )]
    OtherFamily {
        /// In the recipe.
        named: &'static str,
        /// In the folder.
        found: &'static str,
    },
    /// A size that the student's weights have already.
    #[error("`{key}` is {given}, the weights have {own}")]
    FixedByWeights {
        /// The key.
        key: &'static str,
        /// In the recipe.
        given: usize,
        /// In the weights.
        own: usize,
    },
    /// Layers of the weights that are not there, or too many or too few of them.
    #[error(
        "`student.from_layers` is {given:?}; the student has {layers} layers, the weights have {own}"
    )]
    FromLayers {
        /// In the recipe.
        given: Vec<usize>,
        /// Of the student.
        layers: usize,
        /// Of the weights.
        own: usize,
    },
    /// Something to freeze that is no part of the network.
    #[error("`student.freeze` names `{prefix}`, and network `{network}` has no such part")]
    NothingFrozen {
        /// As given.
        prefix: String,
        /// The student's network.
        network: String,
        /// The nearest part that there is.
        near: Option<String>,
        /// Its largest parts.
        parts: Vec<String>,
    },
    /// A student that has nothing to learn with.
    #[error("`student.freeze` names all of network `{network}`: nothing is left to train")]
    AllFrozen {
        /// The student's network.
        network: String,
    },
    /// Class weights that are not one a class.
    #[error("`train.class_weights` has {given} weights, and the data has {classes} classes")]
    ClassWeights {
        /// Weights in the recipe.
        given: usize,
        /// Classes of the data.
        classes: usize,
    },
    /// Settings of the task loss, and a method without one.
    #[error("method `{method}` has no cross-entropy against the labels for `{key}` to act on")]
    NoTaskLoss {
        /// Name of the method.
        method: &'static str,
        /// The recipe key.
        key: &'static str,
    },
    /// Samples mixed from two, and a method that needs one label of each.
    #[error("method `{method}` needs one label of each sample, and `{key}` gives samples two")]
    OneLabel {
        /// Name of the method.
        method: &'static str,
        /// The recipe key.
        key: &'static str,
    },
    /// A method that trains two students, one after the other, and a run without epochs for both.
    #[error(
        "method `{method}` trains a first student for {first} epochs and another one after it, and \
         the run has {epochs} epochs"
    )]
    NoSecondTraining {
        /// Name of the method.
        method: &'static str,
        /// Epochs of the first training.
        first: usize,
        /// Epochs of the run.
        epochs: usize,
    },
    /// A teacher whose values broke down while it taught.
    #[error("teacher `{teacher}` gives {value} in its {what} in epoch {epoch}, batch {batch}")]
    TeacherBroke {
        /// Name in the recipe.
        teacher: String,
        /// `logits` or the tap.
        what: String,
        /// NaN, an infinity, or a number far beyond any network's.
        value: f32,
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// The last good checkpoint, if one was written.
        kept: Option<PathBuf>,
    },
    /// A method that weighs teachers by their validation accuracy, and no validation split.
    #[error("method `{method}` measures its teachers on the validation split, and there is none")]
    NeedsValidation {
        /// Name of the method.
        method: &'static str,
    },
    /// An ablation without a teacher that could be left out.
    #[error(
        "method `{method}` {}, so no teacher can be left out of {teachers}",
        if *unused { "does not use teachers".to_owned() } else { format!("needs {least}") }
    )]
    NothingToLeaveOut {
        /// Name of the method.
        method: &'static str,
        /// Teachers of the recipe.
        teachers: usize,
        /// Fewest teachers of the method.
        least: usize,
        /// Whether the method does not look at them at all.
        unused: bool,
    },
    /// A run that does not fit into memory.
    #[error(
        "the run needs about {needed:.1} GiB more memory, and {available:.1} GiB are available"
    )]
    Memory {
        /// GiB beside data and teachers.
        needed: f64,
        /// GiB, swap included.
        available: f64,
        /// Whether most of it are teacher outputs that are kept.
        outputs: bool,
    },
    /// A run folder that already holds a run.
    #[error("`{}` already holds a run", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
        /// Whether that run is finished.
        finished: bool,
    },
    /// A folder that another process writes.
    #[error(transparent)]
    Folder(#[from] LockError),
    /// A key of the recipe that cannot change in the middle of a run.
    #[error("`{key}` cannot change in the middle of a run")]
    CannotChange {
        /// The key.
        key: String,
    },
    /// Nothing to resume.
    #[error("`{}` holds no run to resume", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint `{}` cannot be used: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A checkpoint of another run.
    #[error("`{}` belongs to another run: {} differ{}", path.display(), describe_changes(changes), if changes.len() == 1 { "s" } else { "" })]
    OtherRun {
        /// Its folder.
        path: PathBuf,
        /// What differs.
        changes: Vec<Change>,
        /// Whether the command that resumes it could be asked to resume all the same.
        can_allow: bool,
    },
    /// A method that reads what the recipe's cache does not keep.
    #[error(
        "method `{method}` reads `{tap}` of the teachers, and `cache.maps = \"{maps}\"` leaves it out"
    )]
    CacheMaps {
        /// Name of the method.
        method: String,
        /// What it reads.
        tap: String,
        /// `cache.maps`.
        maps: &'static str,
    },
    /// Methods that want a teacher's logits over different classes, and one cache.
    #[error(
        "methods `{}` and `{}` read the teachers' logits over different classes, and a cache holds \
         one kind",
        methods[0],
        methods[1]
    )]
    CacheLabels {
        /// One of each kind.
        methods: [String; 2],
    },
    /// A teacher of which nobody knows how far its classes are from the data's.
    #[error(
        "teacher `{teacher}` has no pooled linear classifier, so nothing tells how far its classes \
         are from the data's"
    )]
    NoClassCost {
        /// Name in the recipe.
        teacher: String,
    },
    /// An answer that says nothing.
    #[error("the network's output for `{}` is {value}", path.display())]
    NoAnswer {
        /// The image.
        path: PathBuf,
        /// NaN or an infinity.
        value: f32,
    },
    /// The loss broke down.
    #[error("{what} became {value} in epoch {epoch}, batch {batch}")]
    NotFinite {
        /// The term or the weights that broke first.
        what: String,
        /// NaN or an infinity.
        value: f64,
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// The last good checkpoint, if one was written.
        kept: Option<PathBuf>,
    },
    /// Stopped from outside.
    #[error("stopped in epoch {epoch} after batch {batch}")]
    Interrupted {
        /// The epoch that was not finished.
        epoch: usize,
        /// Its finished batches.
        batch: usize,
        /// The last good checkpoint, if one was written.
        kept: Option<PathBuf>,
    },
    /// A comparison in which no method is compared with another.
    #[error("there is no method to compare with `{reference}`")]
    NothingToCompare {
        /// Name of the reference.
        reference: String,
    },
    /// A reference that is not among the methods.
    #[error("`{name}` is not among the compared methods")]
    UnknownReference {
        /// Its name.
        name: String,
        /// What is among them.
        methods: Vec<String>,
    },
    /// A sweep of one setting.
    #[error("method `{method}` has nothing to sweep")]
    NothingToSweep {
        /// Name of the method.
        method: String,
    },
    /// A setting that a sweep cannot vary.
    #[error("a sweep cannot vary `{key}` (`{sets}`)")]
    SweptKey {
        /// What the setting changes.
        sets: String,
        /// The part of the recipe.
        key: &'static str,
    },
    /// A run of a comparison that ended early.
    #[error("run `{run}` of the comparison ended early: {source}")]
    RunOfComparison {
        /// Its folder below that of the comparison.
        run: String,
        /// Why.
        source: Box<Error>,
    },
    /// A recipe for several students, where one is wanted.
    #[error("the recipe's `[plan]` (`{kind}`) trains several students, and this trains one")]
    Planned {
        /// `plan.kind`.
        kind: &'static str,
    },
    /// Assistants that do not become smaller.
    #[error(
        "`{before}` ({} parameters) comes before `{after}` ({}), and assistants fall in size",
        sizes[0], sizes[1]
    )]
    AssistantSizes {
        /// The network that comes first.
        before: String,
        /// The one that learns from it.
        after: String,
        /// Their trainable values.
        sizes: [usize; 2],
    },
    /// A student of a plan whose training ended early.
    #[error("student `{student}` of the plan: {source}")]
    StudentOfPlan {
        /// Its name.
        student: String,
        /// Why.
        source: Box<Error>,
    },
    /// A comparison that was stopped from outside.
    #[error("stopped the comparison in `{}` after {done} of {runs} runs", path.display())]
    ComparisonStopped {
        /// Its folder.
        path: PathBuf,
        /// Finished runs.
        done: usize,
        /// All of them.
        runs: usize,
    },
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a teacher's error shares with a run's is reported as the run's.
impl From<TeacherError> for Error {
    fn from(error: TeacherError) -> Self {
        match error {
            TeacherError::Data(error) => Self::Data(error),
            TeacherError::Network(error) => Self::Network(error),
            TeacherError::Folder(error) => Self::Folder(error),
            TeacherError::File(error) => Self::File(error),
            error => Self::Teacher(error),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `train.epochs` (then 3, now 60), …
fn describe_changes(changes: &[Change]) -> String {
    const SHOWN: usize = 5;
    let more = changes.len().saturating_sub(SHOWN);
    let shown = changes.iter().take(SHOWN).map(|Change { key, then, now, .. }| {
        let key = if key.contains(' ') { key.clone() } else { format!("`{key}`") };
        format!("{key} (then {then}, now {now})")
    });
    let more = (more > 0).then(|| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}
