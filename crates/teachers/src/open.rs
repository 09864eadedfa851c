//! Teachers of a recipe, opened for the data of a run.

use faculty_data::View;
use std::path::{Path, PathBuf};

use faculty_data::{LogitTable, Normalisation};
use faculty_nets::weights::{WeightFile, file_hash};
use faculty_nets::{MapShape, Network, graph_of};

use crate::as_logits::AsLogits;
use crate::class_file;
use crate::class_map::{ClassMap, ClassProblem, Declared};
use crate::class_mapped::ClassMappedTeacher;
use crate::encoder::EncoderTeacher;
use crate::error::{Result, TeacherError};
use crate::evaluate::for_each_batch;
use crate::head::Head;
use crate::identity::TeacherIdentity;
use crate::network::NetworkTeacher;
use crate::onnx::{OnnxChoice, OnnxTeacher};
use crate::precision::precision_of;
use crate::raw_outputs::{OutputMeter, RawOutputs};
use crate::run_data::RunData;
use crate::run_data::check_channels;
use crate::run_data::limited;
use crate::source::Teacher;
use crate::source::{TeacherBatch, TeacherSource};
use crate::table::TableTeacher;
use faculty_contract::ClassSpace;
use faculty_nets::Tap;
use faculty_nets::{Renormalise, TeacherInput};
use faculty_recipe::{self as recipe, OutputType};
use faculty_records::run::TeacherCard;

/// Loads one teacher of a recipe for `data`, whose classes are `classes`: any source, with its own
/// input size, normalisation and classes. Values at `taps` can be asked for, as far as it has them.
///
/// # Errors
/// When its file cannot be used, its classes do not match, or a table lacks samples of the training
/// part or of the part that teachers are measured on.
pub fn load_teacher(
    spec: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    taps: &[Tap],
    class_space: ClassSpace,
) -> Result<(Teacher, TeacherCard)> {
    let (teacher, identity) = open_teacher(spec, data, classes, taps, class_space)?;
    let card = identity.card(&teacher.name);
    Ok((teacher, card))
}

/// The same with what the teacher's outputs depend on.
///
/// # Errors
/// As [`load_teacher`].
pub fn open_teacher(
    spec: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    taps: &[Tap],
    class_space: ClassSpace,
) -> Result<(Teacher, TeacherIdentity)> {
    let declared = class_file::declared(spec.classes.as_ref())?;
    let Opened { source, beside, names, mut notes, reading, computed } =
        match (&spec.onnx, &spec.logits) {
            (Some(path), _) => open_onnx(spec, path, data, taps)?,
            (None, Some(path)) => open_table(spec, path, data)?,
            (None, None) => open_network(spec, data, taps)?,
        };
    let (source, raw) = match reading.is_empty() {
        true => as_logits(spec, source, data)?,
        // The file's own logits are read already, whatever the recipe says of its outputs.
        false => (source, RawOutputs::LOGITS),
    };
    notes.extend(raw.notes());
    let map = match class_space {
        ClassSpace::Teacher => None,
        ClassSpace::Dataset => ClassMap::between(
            source.classes(),
            &with_names(declared, spec, names, classes),
            classes,
        )
        .map_err(|problem| class_error(spec, problem))?,
    };
    let known = identify_teacher(spec, data, class_space)?;
    let mut identity = TeacherIdentity {
        beside_sha256: hashes(&beside)?,
        classes: map.as_ref().map(ClassMap::summary).unwrap_or_default(),
        notes,
        outputs: known.outputs + &reading + computed,
        ..known
    };
    if raw.output_type() != OutputType::Logits {
        identity.outputs += &format!(", {}", raw.output_type().name());
    }
    let source = match map {
        None => source,
        Some(map) => Box::new(ClassMappedTeacher::new(source, map)),
    };
    Ok((Teacher { name: spec.name.clone(), source }, identity))
}

/// Its outputs as logits, whatever they are: as the recipe says, or as they look.
fn as_logits(
    spec: &recipe::Teacher,
    mut source: Box<dyn TeacherSource>,
    data: &RunData,
) -> Result<(Box<dyn TeacherSource>, RawOutputs)> {
    // Networks of this program end in a linear layer.
    if spec.network.is_some() {
        return Ok((source, RawOutputs::LOGITS));
    }
    let meter = look_at_outputs(source.as_mut(), data)?;
    let raw = match spec.output_type {
        None => meter.recognise(),
        Some(given) => meter
            .declared(given)
            .map_err(|problem| format!("`output_type = \"{}\"`, but {problem}", given.name())),
    };
    let raw = raw
        .map_err(|problem| TeacherError::TeacherOutputs { teacher: spec.name.clone(), problem })?;
    match raw.output_type() {
        OutputType::Logits => Ok((source, raw)),
        _ => Ok((Box::new(AsLogits::new(&spec.name, source, raw)), raw)),
    }
}

/// Some outputs of a teacher that computes; all of one that only has to look them up.
fn look_at_outputs(source: &mut dyn TeacherSource, data: &RunData) -> Result<OutputMeter> {
    const COMPUTED: usize = 32;
    const AT_ONCE: usize = 1024;
    let classes = source.classes();
    let mut meter = OutputMeter::default();
    if !source.is_lookup() {
        let part = data.validation.as_ref().unwrap_or(&data.train);
        let few = limited(part, Some(COMPUTED))?;
        for_each_batch(&few, &data.views, |batch| {
            meter.add(&source.outputs(&batch.into(), &[])?.logits, classes);
            Ok(())
        })?;
        return Ok(meter);
    }
    let measured = data.validation.as_ref().or(data.test.as_ref());
    for part in measured.into_iter().chain([&data.train]) {
        for ids in part.ids().chunks(AT_ONCE) {
            let view = TeacherBatch { ids, view: View::Plain, inputs: (&[]).into() };
            meter.add(&source.outputs(&view, &[])?.logits, classes);
        }
    }
    Ok(meter)
}

/// What is declared of a teacher's classes, with the names in its file.
fn with_names(
    declared: Declared,
    spec: &recipe::Teacher,
    names: Option<Vec<String>>,
    classes: &[String],
) -> Declared {
    // A head was trained on classes of its own; what is declared speaks of the whole network.
    let declared = if spec.head.is_some() { Declared::default() } else { declared };
    // Names of numbers only say that the file knew no names.
    let named = |names: &[String]| names.iter().enumerate().any(|(i, n)| *n != i.to_string());
    let known = names.filter(|names| named(names) && (named(classes) || names == classes));
    Declared { names: declared.names.clone().or(known), ..declared }
}

fn class_error(spec: &recipe::Teacher, problem: ClassProblem) -> TeacherError {
    let (teacher, path) = (spec.name.clone(), main_file(spec).to_owned());
    TeacherError::TeacherClasses { teacher, path, problem }
}

/// For each of a teacher's `own` classes those of the data that it is, as far as names tell. No
/// network is built.
///
/// # Errors
/// When its files cannot be read, or what the recipe says of its classes does not fit.
pub fn same_classes(
    spec: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    own: usize,
) -> Result<Vec<Vec<usize>>> {
    let names = match (&spec.onnx, &spec.logits) {
        (Some(path), _) => open_onnx(spec, path, data, &[])?.names,
        (None, Some(path)) => LogitTable::read(path)?.class_names().map(<[String]>::to_vec),
        (None, None) => match EncoderTeacher::find(spec, data)? {
            Some(encoder) => encoder.class_names().or(stored_names(encoder.files().0)?),
            None => stored_names(spec.head.as_deref().unwrap_or(main_file(spec)))?,
        },
    };
    let declared = class_file::declared(spec.classes.as_ref())?;
    with_names(declared, spec, names, classes)
        .same_classes(own, classes)
        .map_err(|problem| class_error(spec, problem))
}

/// What is known of a teacher from the recipe and its main file alone.
///
/// # Errors
/// When the file cannot be read.
pub fn identify_teacher(
    spec: &recipe::Teacher,
    data: &RunData,
    class_space: ClassSpace,
) -> Result<TeacherIdentity> {
    if let Some(encoder) = EncoderTeacher::find(spec, data)? {
        let declared = class_file::declared(spec.classes.as_ref())?;
        return Ok(TeacherIdentity {
            source: "encoder".to_owned(),
            network: shown_name(spec),
            weights_sha256: encoder.weights_sha256()?,
            beside_sha256: hashes(&encoder.files().1)?,
            outputs: encoder.reading(),
            precision: spec.precision,
            declared_classes: declared_classes(&declared, class_space),
            ..TeacherIdentity::default()
        });
    }
    let path = main_file(spec);
    let own = own_normalisation(spec, data)?;
    let source = match (&spec.onnx, &spec.logits, &spec.head) {
        (Some(_), ..) => "onnx",
        (None, Some(_), _) => "logits",
        (None, None, Some(_)) => "head",
        (None, None, None) => "network",
    };
    let outputs = match (&spec.onnx, &spec.weights_key) {
        (None, None) => String::new(),
        (None, Some(key)) => format!("of the weights below {key:?}"),
        (Some(_), _) => format!("{:?}, map {:?}", spec.output, spec.map),
    };
    let declared = class_file::declared(spec.classes.as_ref())?;
    Ok(TeacherIdentity {
        source: source.to_owned(),
        network: shown_name(spec),
        weights_sha256: file_hash(path)?,
        beside_sha256: spec.head.as_deref().map(file_hash).transpose()?.unwrap_or_default(),
        mean: own.mean,
        std: own.std,
        input_size: spec.input_size,
        outputs,
        precision: spec.precision,
        declared_classes: declared_classes(&declared, class_space),
        classes: String::new(),
        notes: Vec::new(),
    })
}

fn declared_classes(declared: &Declared, class_space: ClassSpace) -> String {
    match class_space {
        ClassSpace::Teacher => "its own".to_owned(),
        ClassSpace::Dataset if *declared == Declared::default() => "by name".to_owned(),
        ClassSpace::Dataset => format!("{declared:?}"),
    }
}

/// What is known of a teacher that no network has to be built for; ONNX files and tables are opened
/// and closed.
///
/// # Errors
/// When its files cannot be read.
pub fn identity_of(
    spec: &recipe::Teacher,
    data: &RunData,
    classes: &[String],
    class_space: ClassSpace,
) -> Result<TeacherIdentity> {
    if spec.onnx.is_none() && spec.logits.is_none() {
        return identify_teacher(spec, data, class_space);
    }
    open_teacher(spec, data, classes, &[], class_space).map(|(_, identity)| identity)
}

/// A teacher as people name it: its network, or its file.
#[must_use]
pub fn shown_name(spec: &recipe::Teacher) -> String {
    spec.network.clone().unwrap_or_else(|| {
        let path = main_file(spec);
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    })
}

/// The file that a teacher is in; the check of the recipe saw to it that there is one.
fn main_file(spec: &recipe::Teacher) -> &Path {
    let given = spec.onnx.as_ref().or(spec.logits.as_ref()).or(spec.weights.as_ref());
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
    /// What computes an ONNX file, if not its own runtime: last bits depend on it.
    computed: &'static str,
}

fn open_network(spec: &recipe::Teacher, data: &RunData, taps: &[Tap]) -> Result<Opened> {
    let precision = precision_of(spec.precision);
    if let Some(encoder) = EncoderTeacher::find(spec, data)? {
        let loaded = encoder.load(spec, None)?;
        let names = encoder.class_names().or(stored_names(encoder.files().0)?);
        let input = encoder.input(data);
        let source = NetworkTeacher::with_input(&loaded.network, input, taps, precision);
        let notes = match &loaded.left_out[..] {
            [] => Vec::new(),
            left_out => vec![format!("left out of its file: {}", left_out.join(", "))],
        };
        let (beside, reading) = (encoder.files().1, String::new());
        let source = Box::new(source);
        return Ok(Opened { source, beside, names, notes, reading, computed: "" });
    }
    // The check of the recipe saw to it that both are given.
    let name = spec.network.clone().unwrap_or_default();
    let path = spec.weights.clone().unwrap_or_default();
    let input = own_input(spec, data)?;
    let mut file = WeightFile::open(&path, spec.weights_key.as_deref())?;
    let (network, mut notes) = Network::from_file(&name, input.shape(), None, &mut file)?;
    let Some(head) = &spec.head else {
        let names = stored_names(&path)?;
        let source = Box::new(NetworkTeacher::with_input(&network, input, taps, precision));
        let (beside, reading) = (Vec::new(), String::new());
        return Ok(Opened { source, beside, names, notes, reading, computed: "" });
    };
    let head = Head::read(head)?;
    let network = head.on(&network)?;
    // In the middle of the network no method finds its map or pooled vector.
    let source = Box::new(NetworkTeacher::with_input(&network, input, &[], precision));
    notes.push(format!("a classifier head on `{}` of the network", head.tap));
    let (beside, names) = (vec![head.path], Some(head.class_names));
    Ok(Opened { source, beside, names, notes, reading: String::new(), computed: "" })
}

/// A teacher that is a network, whatever its classes, for its values at `taps`.
///
/// # Errors
/// When its files cannot be used.
pub fn open_backbone(
    spec: &recipe::Teacher,
    data: &RunData,
    taps: &[Tap],
) -> Result<Box<dyn TeacherSource>> {
    Ok(open_network(spec, data, taps)?.source)
}

/// The feature maps of a network teacher, f0 first. Its weights are not read.
///
/// # Errors
/// When the network is not known or too deep for the images.
pub fn stage_taps(spec: &recipe::Teacher, data: &RunData) -> Result<Vec<Tap>> {
    if let Some(encoder) = EncoderTeacher::find(spec, data)? {
        return Ok(Tap::features(&encoder.graph(1)?).collect());
    }
    let name = spec.network.clone().unwrap_or_default();
    let graph = faculty_nets::find(&name)?.graph(own_input(spec, data)?.shape(), 1)?;
    Ok(Tap::features(&graph).collect())
}

/// Those of `taps` that a network teacher has, without reading its weights; all of them of a teacher
/// that only its file knows.
///
/// # Errors
/// When the network is not known or too deep for the images.
pub fn taps_there(spec: &recipe::Teacher, data: &RunData, taps: &[Tap]) -> Result<Vec<Tap>> {
    let Some(name) = &spec.network else { return Ok(taps.to_vec()) };
    let graph = match EncoderTeacher::find(spec, data)? {
        Some(encoder) => encoder.graph(1)?,
        None => graph_of(name, own_input(spec, data)?.shape(), 1)?,
    };
    Ok(taps.iter().copied().filter(|tap| tap.value(&graph).is_some()).collect())
}

/// `class_names` of a safetensors file, as this program writes it.
fn stored_names(path: &Path) -> Result<Option<Vec<String>>> {
    let metadata = faculty_nets::weights::metadata(path)?;
    Ok(metadata.get("class_names").and_then(|text| serde_json::from_str(text).ok()))
}

fn open_onnx(spec: &recipe::Teacher, path: &Path, data: &RunData, taps: &[Tap]) -> Result<Opened> {
    let input = own_input(spec, data)?;
    let choice = OnnxChoice { output: spec.output.clone(), map: spec.map.clone() };
    let teacher = OnnxTeacher::load(path, &choice, input.clone())?;
    let (beside, reading) = (teacher.files()[1..].to_vec(), teacher.reading());
    let names = teacher.class_names().map(<[String]>::to_vec);
    let mut notes = teacher.notes().to_vec();
    // A map that is named is that of the file.
    let network = choice.map.is_none().then(|| teacher.as_network()).flatten();
    let mut computed = "";
    let source: Box<dyn TeacherSource> = match network {
        None if spec.precision != recipe::Precision::F32 => {
            return Err(runs_elsewhere(spec, path, choice.map.is_some()));
        }
        None => Box::new(teacher),
        Some(network) => {
            computed = ", as a network";
            notes.push("its graph is read as a network of this program".to_owned());
            Box::new(NetworkTeacher::with_input(
                &network,
                input,
                taps,
                precision_of(spec.precision),
            ))
        }
    };
    Ok(Opened { source, beside, names, notes, reading, computed })
}

/// Refuses a precision that is not that of the runtime of other ONNX files.
fn runs_elsewhere(spec: &recipe::Teacher, path: &Path, names_map: bool) -> TeacherError {
    let (precision, name) = (spec.precision.name(), &spec.name);
    let why = match names_map {
        true => "its `map` is named",
        false => "not all of its graph is read as a network of this program",
    };
    TeacherError::Onnx {
        path: path.to_owned(),
        reason: format!(
            "it cannot be run in {precision}: {why}, so that rten runs it, which computes in f32"
        ),
        hint: format!("remove `precision` from teacher `{name}`"),
    }
}

/// A network of a recipe once more with its images' shape, to be trained; `classes` are the data's.
///
/// # Errors
/// When its file cannot be used.
pub fn learnable_network(
    spec: &recipe::Teacher,
    data: &RunData,
    classes: usize,
) -> Result<(Network, TeacherInput)> {
    if let Some(encoder) = EncoderTeacher::find(spec, data)? {
        return Ok((encoder.load(spec, Some(classes))?.network, encoder.input(data)));
    }
    let name = spec.network.clone().unwrap_or_default();
    let input = own_input(spec, data)?;
    let mut file = WeightFile::open(main_file(spec), spec.weights_key.as_deref())?;
    let (network, _) = Network::from_file(&name, input.shape(), Some(classes), &mut file)?;
    Ok((network, input))
}

/// Of the files that belong to the main one: they count as much as it.
fn hashes(files: &[PathBuf]) -> Result<String> {
    let hashes = files.iter().map(|file| file_hash(file));
    Ok(hashes.collect::<faculty_nets::Result<Vec<_>>>()?.join("+"))
}

fn open_table(spec: &recipe::Teacher, path: &Path, data: &RunData) -> Result<Opened> {
    let table = LogitTable::read(path)?;
    let names = table.class_names().map(<[String]>::to_vec);
    let beside = table.files()[1..].to_vec();
    let teacher = TableTeacher::new(&spec.name, path.to_owned(), table);
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
        computed: "",
    })
}

/// How the student's images become this teacher's.
fn own_input(spec: &recipe::Teacher, data: &RunData) -> Result<TeacherInput> {
    let student = &data.views.images()?.normalisation;
    let own = own_normalisation(spec, data)?;
    let [channels, height, width] = data.train.shape()?;
    let renormalise = Renormalise::between((&student.mean, &student.std), (&own.mean, &own.std));
    Ok(TeacherInput::new(MapShape::new(channels, height, width), renormalise, spec.input_size))
}

fn own_normalisation(spec: &recipe::Teacher, data: &RunData) -> Result<Normalisation> {
    if spec.logits.is_some() && data.tokenizer.is_some() {
        return Ok(Normalisation { mean: Vec::new(), std: Vec::new() });
    }
    let mut own = data.views.images()?.normalisation.clone();
    for (key, given, value) in
        [("mean", &spec.mean, &mut own.mean), ("std", &spec.std, &mut own.std)]
    {
        if let Some(given) = given {
            let channels = data.train.shape()?[0];
            check_channels(&format!("teachers.{}.{key}", spec.name), given, channels)?;
            value.clone_from(given);
        }
    }
    let Some(path) = &spec.onnx else { return Ok(own) };
    if OnnxTeacher::describe(path)?.bytes {
        let bytes = Normalisation::bytes(own.mean.len());
        let given = spec.mean.is_some() || spec.std.is_some();
        if given && own != bytes {
            return Err(TeacherError::Onnx {
                path: path.clone(),
                reason: "its pixels are bytes from 0 to 255, the recipe says otherwise".to_owned(),
                hint: format!(
                    "leave out `mean` and `std` of teacher `{}`: it is given bytes",
                    spec.name
                ),
            });
        }
        return Ok(bytes);
    }
    Ok(own)
}
