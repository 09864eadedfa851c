//! Teachers of a recipe: loaded and checked against the method.

use std::path::{Path, PathBuf};

use faculty_data::{LogitTable, Normalisation};
use faculty_nets::weights::{WeightFile, file_hash};
use faculty_nets::{MapShape, Network, graph_of};

use super::data::check_channels;
use super::preflight::limited;
use super::{RunData, Teacher};
use crate::cache::TeacherIdentity;
use crate::error::{Error, Result};
use crate::evaluate::for_each_batch;
use crate::heads::Head;
use crate::learner::LearningTeacher;
use crate::methods::{Method, Needs};
use crate::recipe::{self, OutputType};
use crate::record::TeacherCard;
use crate::tap::Tap;
use crate::teacher::{
    AsLogits, ClassMap, ClassProblem, Declared, Mapped, NetworkTeacher, OnnxChoice, OnnxTeacher,
    OutputMeter, RawOutputs, Renormalise, TableTeacher, TeacherBatch, TeacherInput, TeacherSource,
};

mod class_file;

/// What a teacher's outputs are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    /// The classes of the data, in their order.
    Data,
    /// Its own classes, whatever they are.
    Own,
}

impl Labels {
    pub(crate) fn of(method: &dyn Method) -> Self {
        if method.own_classes() { Self::Own } else { Self::Data }
    }
}

/// Loads one teacher of a recipe for `data`, whose classes are `classes`: any source, with its own
/// input size, normalisation and classes. Values at `taps` can be asked for, as far as it has them.
///
/// # Errors
/// When its file cannot be used, its classes do not match, or a table lacks samples of the training
/// part or of the part that teachers are measured on.
pub(crate) fn load_teacher(
    wanted: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    taps: &[Tap],
    labels: Labels,
) -> Result<(Teacher, TeacherCard)> {
    let (teacher, identity) = open_teacher(wanted, data, classes, taps, labels)?;
    let card = identity.card(&teacher.name);
    Ok((teacher, card))
}

/// The same with what the teacher's outputs depend on.
pub(crate) fn open_teacher(
    wanted: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    taps: &[Tap],
    labels: Labels,
) -> Result<(Teacher, TeacherIdentity)> {
    let declared = class_file::declared(wanted.classes.as_ref())?;
    let Opened { source, beside, names, mut notes, reading } = match (&wanted.onnx, &wanted.logits)
    {
        (Some(path), _) => open_onnx(wanted, path, data)?,
        (None, Some(path)) => open_table(wanted, path, data)?,
        (None, None) => open_network(wanted, data, taps)?,
    };
    let (source, raw) = match reading.is_empty() {
        true => as_logits(wanted, source, data)?,
        // The file's own logits are read already, whatever the recipe says of its outputs.
        false => (source, RawOutputs::LOGITS),
    };
    notes.extend(raw.notes());
    let map = match labels {
        Labels::Own => None,
        Labels::Data => ClassMap::between(
            source.classes(),
            &with_names(declared, wanted, names, classes),
            classes,
        )
        .map_err(|problem| class_error(wanted, problem))?,
    };
    let known = identify_teacher(wanted, data, labels)?;
    let mut identity = TeacherIdentity {
        beside_sha256: hashes(&beside)?,
        classes: map.as_ref().map(ClassMap::summary).unwrap_or_default(),
        notes,
        outputs: known.outputs + &reading,
        ..known
    };
    if raw.output_type() != OutputType::Logits {
        identity.outputs += &format!(", {}", raw.output_type().name());
    }
    let source = match map {
        None => source,
        Some(map) => Box::new(Mapped::new(source, map)),
    };
    Ok((Teacher { name: wanted.name.clone(), source }, identity))
}

/// Its outputs as logits, whatever they are: as the recipe says, or as they look.
fn as_logits(
    wanted: &recipe::Teacher,
    mut source: Box<dyn TeacherSource>,
    data: &RunData,
) -> Result<(Box<dyn TeacherSource>, RawOutputs)> {
    // Networks of this program end in a linear layer.
    if wanted.network.is_some() {
        return Ok((source, RawOutputs::LOGITS));
    }
    let meter = look_at_outputs(source.as_mut(), data)?;
    let raw = match wanted.output_type {
        None => meter.recognise(),
        Some(given) => meter.declared(given).map_err(|problem| Error::TeacherOutputs {
            teacher: wanted.name.clone(),
            problem: format!("`output_type = \"{}\"`, but {problem}", given.name()),
        })?,
    };
    match raw.output_type() {
        OutputType::Logits => Ok((source, raw)),
        _ => Ok((Box::new(AsLogits::new(&wanted.name, source, raw)), raw)),
    }
}

/// Some outputs of a teacher that computes; all of one that only has to look them up.
fn look_at_outputs(source: &mut dyn TeacherSource, data: &RunData) -> Result<OutputMeter> {
    const COMPUTED: usize = 32;
    const AT_ONCE: usize = 1024;
    let classes = source.classes();
    let mut meter = OutputMeter::default();
    if source.reads_pixels() {
        let part = data.validation.as_ref().unwrap_or(&data.train);
        let few = limited(part, Some(COMPUTED))?;
        for_each_batch(&few, &data.normalisation, |batch| {
            let (ids, images) = (&batch.ids, &batch.images);
            let view = TeacherBatch { ids, view: TeacherBatch::PLAIN_VIEW, images };
            meter.add(&source.outputs(&view, &[])?.logits, classes);
            Ok(())
        })?;
        return Ok(meter);
    }
    let measured = data.validation.as_ref().or(data.test.as_ref());
    for part in measured.into_iter().chain([&data.train]) {
        for ids in part.ids().chunks(AT_ONCE) {
            let view = TeacherBatch { ids, view: TeacherBatch::PLAIN_VIEW, images: &[] };
            meter.add(&source.outputs(&view, &[])?.logits, classes);
        }
    }
    Ok(meter)
}

/// What is declared of a teacher's classes, with the names in its file.
fn with_names(
    declared: Declared,
    wanted: &recipe::Teacher,
    names: Option<Vec<String>>,
    classes: &[String],
) -> Declared {
    // A head was trained on classes of its own; what is declared speaks of the whole network.
    let declared = if wanted.head.is_some() { Declared::default() } else { declared };
    // Names of numbers only say that the file knew no names.
    let named = |names: &[String]| names.iter().enumerate().any(|(i, n)| *n != i.to_string());
    let known = names.filter(|names| named(names) && (named(classes) || names == classes));
    Declared { names: declared.names.clone().or(known), ..declared }
}

fn class_error(wanted: &recipe::Teacher, problem: ClassProblem) -> Error {
    let (teacher, path) = (wanted.name.clone(), main_file(wanted).to_owned());
    Error::TeacherClasses { teacher, path, problem }
}

/// For each of a teacher's `own` classes those of the data that it is, as far as names tell. No
/// network is built.
pub(crate) fn same_classes(
    wanted: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    own: usize,
) -> Result<Vec<Vec<usize>>> {
    let names = match (&wanted.onnx, &wanted.logits) {
        (Some(path), _) => open_onnx(wanted, path, data)?.names,
        (None, Some(path)) => LogitTable::read(path)?.class_names().map(<[String]>::to_vec),
        (None, None) => stored_names(wanted.head.as_deref().unwrap_or(main_file(wanted)))?,
    };
    let declared = class_file::declared(wanted.classes.as_ref())?;
    with_names(declared, wanted, names, classes)
        .same_classes(own, classes)
        .map_err(|problem| class_error(wanted, problem))
}

/// What is known of a teacher from the recipe and its main file alone.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn identify_teacher(
    wanted: &recipe::Teacher,
    data: &RunData,
    labels: Labels,
) -> Result<TeacherIdentity> {
    let path = main_file(wanted);
    let own = own_normalisation(wanted, data)?;
    let source = match (&wanted.onnx, &wanted.logits, &wanted.head) {
        (Some(_), ..) => "onnx",
        (None, Some(_), _) => "logits",
        (None, None, Some(_)) => "head",
        (None, None, None) => "network",
    };
    let outputs = match (&wanted.onnx, &wanted.weights_key) {
        (None, None) => String::new(),
        (None, Some(key)) => format!("of the weights below {key:?}"),
        (Some(_), _) => format!("{:?}, map {:?}", wanted.output, wanted.map),
    };
    let declared = class_file::declared(wanted.classes.as_ref())?;
    Ok(TeacherIdentity {
        source: source.to_owned(),
        network: shown_name(wanted),
        weights_sha256: file_hash(path)?,
        beside_sha256: wanted.head.as_deref().map(file_hash).transpose()?.unwrap_or_default(),
        mean: own.mean,
        std: own.std,
        input_size: wanted.input_size,
        outputs,
        declared_classes: match labels {
            Labels::Own => "its own".to_owned(),
            Labels::Data if declared == Declared::default() => "by name".to_owned(),
            Labels::Data => format!("{declared:?}"),
        },
        classes: String::new(),
        notes: Vec::new(),
    })
}

/// A teacher as people name it: its network, or its file.
pub(super) fn shown_name(wanted: &recipe::Teacher) -> String {
    wanted.network.clone().unwrap_or_else(|| {
        let path = main_file(wanted);
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    })
}

/// The file that a teacher is in; the check of the recipe saw to it that there is one.
fn main_file(wanted: &recipe::Teacher) -> &Path {
    let given = wanted.onnx.as_ref().or(wanted.logits.as_ref()).or(wanted.weights.as_ref());
    given.map_or(Path::new(""), PathBuf::as_path)
}

/// A teacher before its classes are matched.
struct Opened {
    source: Box<dyn TeacherSource>,
    /// Files that belong to the main one.
    beside: Vec<PathBuf>,
    /// The class names that its file gives.
    names: Option<Vec<String>>,
    notes: Vec<String>,
    /// How its outputs are made logits, if they are none; empty otherwise.
    reading: String,
}

fn open_network(wanted: &recipe::Teacher, data: &RunData, taps: &[Tap]) -> Result<Opened> {
    // The check of the recipe saw to it that both are given.
    let name = wanted.network.clone().unwrap_or_default();
    let path = wanted.weights.clone().unwrap_or_default();
    let input = own_input(wanted, data)?;
    let mut file = WeightFile::open(&path, wanted.weights_key.as_deref())?;
    let (network, mut notes) = Network::from_file(&name, input.shape(), None, &mut file)?;
    let Some(head) = &wanted.head else {
        let names = stored_names(&path)?;
        let source = Box::new(NetworkTeacher::with_input(&network, input, taps));
        let (beside, reading) = (Vec::new(), String::new());
        return Ok(Opened { source, beside, names, notes, reading });
    };
    let head = Head::read(head)?;
    let network = head.on(&network)?;
    // In the middle of the network no method finds its map or pooled vector.
    let source = Box::new(NetworkTeacher::with_input(&network, input, &[]));
    notes.push(format!("a classifier head on `{}` of the network", head.tap));
    let (beside, names) = (vec![head.path], Some(head.class_names));
    Ok(Opened { source, beside, names, notes, reading: String::new() })
}

/// A teacher that is a network, whatever its classes, for its values at `taps`.
pub(crate) fn open_backbone(
    wanted: &recipe::Teacher,
    data: &RunData,
    taps: &[Tap],
) -> Result<Box<dyn TeacherSource>> {
    Ok(open_network(wanted, data, taps)?.source)
}

/// The feature maps of a network teacher, f0 first. Its weights are not read.
pub(crate) fn stage_taps(wanted: &recipe::Teacher, data: &RunData) -> Result<Vec<Tap>> {
    let name = wanted.network.clone().unwrap_or_default();
    let graph = faculty_nets::find(&name)?.graph(own_input(wanted, data)?.shape(), 1)?;
    Ok(Tap::features(&graph).collect())
}

/// Those of `taps` that a network teacher has, without reading its weights; all of them of a teacher
/// that only its file knows.
pub(crate) fn taps_there(
    wanted: &recipe::Teacher,
    data: &RunData,
    taps: &[Tap],
) -> Result<Vec<Tap>> {
    let Some(name) = &wanted.network else { return Ok(taps.to_vec()) };
    let graph = graph_of(name, own_input(wanted, data)?.shape(), 1)?;
    Ok(taps.iter().copied().filter(|tap| tap.value(&graph).is_some()).collect())
}

/// `class_names` of a safetensors file, as this program writes it.
fn stored_names(path: &Path) -> Result<Option<Vec<String>>> {
    let metadata = faculty_nets::weights::metadata(path)?;
    Ok(metadata.get("class_names").and_then(|text| serde_json::from_str(text).ok()))
}

fn open_onnx(wanted: &recipe::Teacher, path: &Path, data: &RunData) -> Result<Opened> {
    let input = own_input(wanted, data)?;
    let choice = OnnxChoice { output: wanted.output.clone(), map: wanted.map.clone() };
    let teacher = OnnxTeacher::load(path, &choice, input)?;
    Ok(Opened {
        beside: teacher.files()[1..].to_vec(),
        names: teacher.class_names().map(<[String]>::to_vec),
        notes: teacher.notes().to_vec(),
        reading: teacher.reading(),
        source: Box::new(teacher),
    })
}

/// Whether the teachers are of a kind that a method can train.
pub(super) fn check_can_learn(method: &'static str, recipe: &recipe::Recipe) -> Result<()> {
    let refuse =
        |what: String, mend: &str| Err(Error::FixedTeacher { method, what, mend: mend.to_owned() });
    if recipe.cache.is_some() {
        return refuse("what a cache says".to_owned(), "leave out `[cache]`");
    }
    for wanted in &recipe.teachers {
        if wanted.onnx.is_some() || wanted.logits.is_some() {
            let what = format!("teacher `{}`, which is no network of this program", wanted.name);
            return refuse(what, "give the teacher as `network` and `weights`");
        }
    }
    Ok(())
}

/// A network of a recipe once more, to be trained; `card` is that of the teacher as it was loaded.
pub(super) fn open_learning(
    method: &'static str,
    wanted: &recipe::Teacher,
    card: &TeacherCard,
    data: &RunData,
    classes: usize,
) -> Result<LearningTeacher> {
    if !card.classes.is_empty() {
        let what = format!("teacher `{}` behind a class map", wanted.name);
        let mend = "give a teacher that has the data's classes in the data's order".to_owned();
        return Err(Error::FixedTeacher { method, what, mend });
    }
    let (name, path) = (wanted.network.clone().unwrap_or_default(), main_file(wanted));
    let input = own_input(wanted, data)?;
    let mut file = WeightFile::open(path, wanted.weights_key.as_deref())?;
    let (network, _) = Network::from_file(&name, input.shape(), Some(classes), &mut file)?;
    Ok(LearningTeacher::new(network, input))
}

/// Of the files that belong to the main one: they count as much as it.
fn hashes(files: &[PathBuf]) -> Result<String> {
    let hashes = files.iter().map(|file| file_hash(file));
    Ok(hashes.collect::<faculty_nets::Result<Vec<_>>>()?.join("+"))
}

fn open_table(wanted: &recipe::Teacher, path: &Path, data: &RunData) -> Result<Opened> {
    let table = LogitTable::read(path)?;
    let names = table.class_names().map(<[String]>::to_vec);
    let beside = table.files()[1..].to_vec();
    let teacher = TableTeacher::new(&wanted.name, path.to_owned(), table);
    teacher.check_covers(&data.train.ids(), "training")?;
    match (&data.validation, &data.test) {
        (Some(part), _) => teacher.check_covers(&part.ids(), "validation")?,
        (None, Some(part)) => teacher.check_covers(&part.ids(), "test")?,
        (None, None) => {}
    }
    Ok(Opened {
        source: Box::new(teacher),
        beside,
        names,
        notes: vec!["a table of logits: the same for every augmented view of a sample".to_owned()],
        reading: String::new(),
    })
}

/// How the student's images become this teacher's.
fn own_input(wanted: &recipe::Teacher, data: &RunData) -> Result<TeacherInput> {
    let student = &data.normalisation;
    let own = own_normalisation(wanted, data)?;
    let [channels, height, width] = data.train.shape();
    let renormalise = Renormalise::between((&student.mean, &student.std), (&own.mean, &own.std));
    Ok(TeacherInput::new(MapShape::new(channels, height, width), renormalise, wanted.input_size))
}

fn own_normalisation(wanted: &recipe::Teacher, data: &RunData) -> Result<Normalisation> {
    let mut own = data.normalisation.clone();
    for (key, given, value) in
        [("mean", &wanted.mean, &mut own.mean), ("std", &wanted.std, &mut own.std)]
    {
        if let Some(given) = given {
            let channels = data.train.shape()[0];
            check_channels(&format!("teachers.{}.{key}", wanted.name), given, channels)?;
            value.clone_from(given);
        }
    }
    let Some(path) = &wanted.onnx else { return Ok(own) };
    if OnnxTeacher::describe(path)?.bytes {
        let bytes = Normalisation::bytes(own.mean.len());
        let given = wanted.mean.is_some() || wanted.std.is_some();
        if given && own != bytes {
            return Err(Error::Onnx {
                path: path.clone(),
                reason: "its pixels are bytes from 0 to 255, the recipe says otherwise".to_owned(),
                hint: format!(
                    "leave out `mean` and `std` of teacher `{}`: it is given bytes",
                    wanted.name
                ),
            });
        }
        return Ok(bytes);
    }
    Ok(own)
}

/// Whether the recipe's batches are such as the method needs.
pub(super) fn check_batches(
    method: &'static str,
    needs: &Needs,
    train: &recipe::Train,
) -> Result<()> {
    let unfit = |what: String, mend: String| Err(Error::Batches { method, what, mend });
    if train.batch_size < needs.min_batch {
        let least = needs.min_batch;
        let what = format!("batches of {least} samples at least, to compare them with each other");
        return unfit(what, format!("train.batch_size = {least}"));
    }
    if needs.full_batches && !train.drop_last {
        let what = "full batches, since its trained parts are as wide as a batch".to_owned();
        return unfit(what, "train.drop_last = true".to_owned());
    }
    Ok(())
}

pub(super) fn check_parts(
    method: &'static str,
    needs: &Needs,
    student: &Network,
    teachers: &[Teacher],
    cards: &[TeacherCard],
) -> Result<()> {
    let missing = |what: String, who: String| Err(Error::MissingPart { method, what, who });
    for &tap in needs.student_taps.iter().chain(&needs.connector_taps) {
        if tap.value(student.graph()).is_none() {
            return missing(described(tap), "the student".to_owned());
        }
    }
    for (k, teacher) in teachers.iter().enumerate() {
        let head = cards.get(k).is_some_and(|card| card.source == "head");
        let what = if head { ", a head inside a network," } else { "" };
        let who = || format!("teacher `{}`{what}", teacher.name);
        for &tap in &needs.teacher_taps {
            if teacher.source.tap_shape(tap).is_none() {
                return missing(described(tap), who());
            }
        }
        if needs.teacher_classifiers && teacher.source.classifier().is_none() {
            return missing("a pooled linear classifier".to_owned(), who());
        }
    }
    Ok(())
}

pub(crate) fn described(tap: Tap) -> String {
    match tap {
        Tap::Feature(index) => format!("a feature map f{index}"),
        Tap::BeforeActivation(index) => format!("a feature map f{index} before its activation"),
        Tap::Map | Tap::LastFeature => "a last feature map".to_owned(),
        Tap::Pooled => "a pooled vector".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_a_method_cannot_use_are_refused_with_a_way_out() {
        let train = recipe::Train { batch_size: 1, drop_last: false, ..recipe::Train::default() };
        let compares = Needs { min_batch: 3, ..Needs::default() };
        let error = check_batches("ckd", &compares, &train).unwrap_err();
        let wanted =
            "method `ckd` needs batches of 3 samples at least, to compare them with each other";
        assert_eq!(error.to_string(), wanted);
        assert_eq!(error.hint().unwrap(), "set `train.batch_size = 3`");
        let wide = Needs { full_batches: true, ..Needs::default() };
        let error = check_batches("semckd", &wide, &train).unwrap_err();
        assert_eq!(error.hint().unwrap(), "set `train.drop_last = true`");
        let full = recipe::Train { drop_last: true, ..train };
        assert!(check_batches("semckd", &wide, &full).is_ok());
    }
}
