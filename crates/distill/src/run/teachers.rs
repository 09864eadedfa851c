//! Teachers of a recipe: loaded, checked against the method, kept in memory where that pays.

use std::path::{Path, PathBuf};

use faculty_data::LogitTable;
use faculty_nets::weights::file_hash;
use faculty_nets::{MapShape, Network};

use super::data::check_channels;
use super::{RunData, Teacher};
use crate::error::{Error, Result};
use crate::methods::Needs;
use crate::recipe;
use crate::record::TeacherCard;
use crate::tap::Tap;
use crate::teacher::{
    ClassMap, Declared, KeptInMemory, Mapped, NetworkTeacher, OnnxChoice, OnnxTeacher, Renormalise,
    TableTeacher, TeacherInput, TeacherSource, bytes_needed,
};

mod class_file;

/// Teacher outputs are kept in memory when a run repeats its views and they take no more than this.
const KEEP_IN_MEMORY_BYTES: usize = 2 << 30;

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
) -> Result<(Teacher, TeacherCard)> {
    let declared = class_file::declared(wanted.classes.as_ref())?;
    let opened = match (&wanted.onnx, &wanted.logits) {
        (Some(path), _) => open_onnx(wanted, path, data)?,
        (None, Some(path)) => open_table(wanted, path, data)?,
        (None, None) => open_network(wanted, data, &declared, classes.len(), taps)?,
    };
    let Opened { source, path, kind, shown, details, names, notes } = opened;
    // Names of numbers only say that the file knew no names.
    let named = |names: &[String]| names.iter().enumerate().any(|(i, n)| *n != i.to_string());
    let known = names.filter(|names| named(names) && (named(classes) || names == classes));
    let declared = Declared { names: declared.names.clone().or(known), ..declared };
    let problem = |problem| Error::TeacherClasses {
        teacher: wanted.name.clone(),
        path: path.clone(),
        problem,
    };
    let map = ClassMap::between(source.classes(), &declared, classes).map_err(problem)?;
    let map_text = map.as_ref().map_or_else(|| "the data's".to_owned(), ClassMap::identity);
    let weights_sha256 = file_hash(&path)?;
    let card = TeacherCard {
        name: wanted.name.clone(),
        network: shown,
        source: kind.to_owned(),
        identity: format!("{kind} sha256={weights_sha256} {details} classes={map_text}"),
        weights_sha256,
        classes: map.as_ref().map(ClassMap::summary).unwrap_or_default(),
        notes,
        quality: None,
    };
    let source = match map {
        None => source,
        Some(map) => Box::new(Mapped::new(source, map)),
    };
    Ok((Teacher { name: wanted.name.clone(), source }, card))
}

/// A teacher before its classes are matched.
struct Opened {
    source: Box<dyn TeacherSource>,
    path: PathBuf,
    kind: &'static str,
    /// As people name it.
    shown: String,
    /// What its outputs depend on beside its file.
    details: String,
    /// The class names that its file gives.
    names: Option<Vec<String>>,
    notes: Vec<String>,
}

fn open_network(
    wanted: &recipe::Teacher,
    data: &RunData,
    declared: &Declared,
    classes: usize,
    taps: &[Tap],
) -> Result<Opened> {
    // The check of the recipe saw to it that both are given.
    let name = wanted.network.clone().unwrap_or_default();
    let path = wanted.weights.clone().unwrap_or_default();
    let (input, details) = own_input(wanted, data)?;
    let state = faculty_nets::weights::read(&path)?;
    let info = faculty_nets::find(&name)?;
    // The file knows how many classes there are, if its last layer is where networks have it.
    let probe = info.graph(input.shape(), classes)?;
    let stored = probe.classifier().and_then(|ids| state.get(&probe.parameter(ids.bias).name));
    let own = stored.map(|bias| bias.values.len()).or(declared.own_classes()).unwrap_or(classes);
    let graph = if own == classes { probe } else { info.graph(input.shape(), own)? };
    let mut network = Network::from_graph(&name, graph, 0);
    network.set_state_dict(&state, &path)?;
    let details = format!("network={name} {details}");
    let names = stored_names(&path)?;
    let source = Box::new(NetworkTeacher::with_input(&network, input, taps));
    Ok(Opened { source, path, kind: "network", shown: name, details, names, notes: Vec::new() })
}

/// `class_names` of a safetensors file, as this program writes it.
fn stored_names(path: &Path) -> Result<Option<Vec<String>>> {
    if path.extension().is_none_or(|e| e != "safetensors") {
        return Ok(None);
    }
    let metadata = faculty_nets::weights::read_safetensors(path)?.1;
    Ok(metadata.get("class_names").and_then(|text| serde_json::from_str(text).ok()))
}

fn open_onnx(wanted: &recipe::Teacher, path: &Path, data: &RunData) -> Result<Opened> {
    let (input, details) = own_input(wanted, data)?;
    let choice = OnnxChoice { output: wanted.output.clone(), map: wanted.map.clone() };
    let teacher = OnnxTeacher::load(path, &choice, input)?;
    let beside = hashes(&teacher.files()[1..])?;
    let details =
        format!("beside={beside} output={:?} map={:?} {details}", choice.output, choice.map);
    Ok(Opened {
        path: path.to_owned(),
        kind: "onnx",
        shown: file_name(path),
        details,
        names: teacher.class_names().map(<[String]>::to_vec),
        notes: Vec::new(),
        source: Box::new(teacher),
    })
}

/// Of the files that belong to the main one: they count as much as it.
fn hashes(files: &[PathBuf]) -> Result<String> {
    let hashes = files.iter().map(|file| file_hash(file));
    Ok(hashes.collect::<faculty_nets::Result<Vec<_>>>()?.join("+"))
}

fn open_table(wanted: &recipe::Teacher, path: &Path, data: &RunData) -> Result<Opened> {
    let table = LogitTable::read(path)?;
    let names = table.class_names().map(<[String]>::to_vec);
    let beside = hashes(&table.files()[1..])?;
    let teacher = TableTeacher::new(&wanted.name, path.to_owned(), table);
    teacher.check_covers(&data.train.ids(), "training")?;
    match (&data.validation, &data.test) {
        (Some(part), _) => teacher.check_covers(&part.ids(), "validation")?,
        (None, Some(part)) => teacher.check_covers(&part.ids(), "test")?,
        (None, None) => {}
    }
    Ok(Opened {
        source: Box::new(teacher),
        path: path.to_owned(),
        kind: "logits",
        shown: file_name(path),
        details: format!("beside={beside}"),
        names,
        notes: vec!["a table of logits: the same for every augmented view of a sample".to_owned()],
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// How the student's images become this teacher's, and that as text.
fn own_input(wanted: &recipe::Teacher, data: &RunData) -> Result<(TeacherInput, String)> {
    let student = &data.normalisation;
    let [channels, height, width] = data.train.shape();
    let mut own = student.clone();
    for (key, given, value) in
        [("mean", &wanted.mean, &mut own.mean), ("std", &wanted.std, &mut own.std)]
    {
        if let Some(given) = given {
            check_channels(&format!("teachers.{}.{key}", wanted.name), given, channels)?;
            value.clone_from(given);
        }
    }
    let renormalise = Renormalise::between((&student.mean, &student.std), (&own.mean, &own.std));
    let from = MapShape::new(channels, height, width);
    let input = TeacherInput::new(from, renormalise, wanted.input_size);
    let details = format!(
        "input={}->{} mean={:?}->{:?} std={:?}->{:?}",
        from,
        input.shape(),
        student.mean,
        own.mean,
        student.std,
        own.std
    );
    Ok((input, details))
}

pub(super) fn check_parts(
    method: &'static str,
    needs: &Needs,
    student: &Network,
    teachers: &[Teacher],
) -> Result<()> {
    let missing = |what: String, who: String| Err(Error::MissingPart { method, what, who });
    for &tap in needs.student_taps.iter().chain(&needs.connector_taps) {
        if tap.value(student.graph()).is_none() {
            return missing(described(tap), "the student".to_owned());
        }
    }
    for teacher in teachers {
        let who = || format!("teacher `{}`", teacher.name);
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

fn described(tap: Tap) -> String {
    match tap {
        Tap::Feature(index) => format!("a feature map f{index}"),
        Tap::Map => "a last feature map".to_owned(),
        Tap::Pooled => "a pooled vector".to_owned(),
    }
}

/// Wraps teachers so that each view of each sample is computed once, where memory allows.
pub(super) fn keep_in_memory(
    teachers: Vec<Teacher>,
    needs: &Needs,
    data: &RunData,
    views: u32,
) -> Vec<Teacher> {
    let samples = data.train.len().saturating_mul(views as usize);
    let bytes: usize = teachers
        .iter()
        .map(|teacher| bytes_needed(teacher.source.as_ref(), &needs.teacher_taps, samples))
        .fold(0, usize::saturating_add);
    if bytes > KEEP_IN_MEMORY_BYTES {
        return teachers;
    }
    teachers
        .into_iter()
        .map(|Teacher { name, source }| Teacher {
            name,
            source: Box::new(KeptInMemory::new(source)),
        })
        .collect()
}
