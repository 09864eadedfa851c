//! What is in an ONNX file: checked, its tensors chosen, lowered, and written again for the runtime.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use faculty_files::{NotReadable, open_regular};
use faculty_nets::MapShape;
use rten_onnx::onnx::{
    DataLocation, Dimension, GraphProto, ModelProto, TensorProto, ValueInfoProto,
};

use super::activation::{BeforeActivation, before_activation};
use super::graph::reads;
use super::head::Head;
use super::image::{ImageInput, Layout};
use super::limits::check_limits;
use super::lowering::lower;
use super::nesting::check_nesting;
use super::outcome::{DAMAGED, Outcome, list};
use faculty_nets::FrozenClassifier;

/// Model and external data together.
const MOST_BYTES: u64 = 2 << 30;

/// What a recipe says about the tensors of an ONNX file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxChoice {
    /// The output with the logits; its only one if none is named.
    pub output: Option<String>,
    /// The tensor that is the last map; found if none is named.
    pub map: Option<String>,
}

/// A file with its tensors chosen.
pub(super) struct OnnxFile {
    model: RefCell<ModelProto>,
    pub(super) image: ImageInput,
    pub(super) layout: Layout,
    /// The output that was chosen.
    pub(super) output: String,
    /// What stands in front of its activation, if it seems to have one.
    pub(super) before: Option<BeforeActivation>,
    pub(super) map: Option<String>,
    /// Whether the map was named, not found.
    pub(super) map_is_named: bool,
    pub(super) classifier: Option<FrozenClassifier>,
    /// Integer operators that are computed in float32.
    pub(super) lowered: Vec<String>,
    pub(super) class_names: Option<Vec<String>>,
    pub(super) files: Vec<PathBuf>,
}

/// The file's messages, checked as far as a reader must.
pub(super) fn parse(path: &Path) -> Outcome<(ModelProto, GraphProto)> {
    let bytes = read_bounded(path)?;
    check_nesting(&bytes).map_err(|what| (what, DAMAGED))?;
    let mut model = ModelProto::parse_buf(&bytes)
        .map_err(|error| (format!("no readable ONNX file: {error}"), DAMAGED))?;
    let graph = model.graph.take().ok_or_else(|| ("it holds no graph".to_owned(), DAMAGED))?;
    Ok((model, graph))
}

pub(super) fn read(path: &Path, choice: &OnnxChoice, images: MapShape) -> Outcome<OnnxFile> {
    let mut files = vec![path.to_owned()];
    let (mut model, mut graph) = parse(path)?;
    let class_names = class_names(&model)?;
    let mut image = ImageInput::read(&graph)?;
    let layout = image.layout(images)?;
    let output = the_output(&graph, choice.output.as_deref())?;
    if let Some(name) = &choice.map
        && !graph.node.iter().any(|node| node.output.contains(name))
    {
        return Err((
            format!("it has no tensor `{name}`, which `map` names"),
            "name an output of one of its nodes; a viewer of graphs shows them",
        ));
    }
    let requested: Vec<&str> =
        std::iter::once(&output).chain(&choice.map).map(String::as_str).collect();
    keep_only(&mut graph, &requested);
    check_limits(&graph)?;
    inline_external_data(path, &mut graph, &mut files)?;
    image.replace(&mut graph, layout);
    let lowered = lower(&mut graph, opset(&model))?;
    let before = before_activation(&mut graph, &output);
    let logits = before.as_ref().map_or(&output, |before| &before.logits);
    let head = Head::find(&graph, logits);
    let map = choice.map.clone().or_else(|| head.as_ref()?.map.clone());
    let classifier = head.map(|head| head.classifier);
    // What stands there of shapes is for the batch of the export; the runtime finds its own.
    graph.value_info.clear();
    let declared = |name: &String| ValueInfoProto { name: Some(name.clone()), r#type: None };
    let outputs = std::iter::once(&output).chain(before.as_ref().map(|b| &b.logits)).chain(&map);
    graph.output = outputs.map(declared).collect();
    // Lowering makes a graph longer.
    check_limits(&graph)?;
    model.graph = Some(graph);
    Ok(OnnxFile {
        model: RefCell::new(model),
        image,
        layout,
        output,
        before,
        map,
        map_is_named: choice.map.is_some(),
        classifier,
        lowered,
        class_names,
        files,
    })
}

/// The version of ONNX's own operators.
fn opset(model: &ModelProto) -> Option<i64> {
    let own = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
    model.opset_import.iter().find(|set| own(&set.domain))?.version
}

/// Leaves out what none of the tensors `requested` comes from.
fn keep_only(graph: &mut GraphProto, requested: &[&str]) {
    let mut makers = HashMap::new();
    for (number, node) in graph.node.iter().enumerate() {
        makers.extend(node.output.iter().map(|output| (output.as_str(), number)));
    }
    let mut kept = HashSet::new();
    let mut open: Vec<usize> =
        requested.iter().filter_map(|name| makers.get(name).copied()).collect();
    while let Some(number) = open.pop() {
        if kept.insert(number) {
            open.extend(reads(&graph.node[number]).iter().filter_map(|name| makers.get(name)));
        }
    }
    let mut number = 0;
    graph.node.retain(|_| {
        number += 1;
        kept.contains(&(number - 1))
    });
}

impl OnnxFile {
    /// The file for the runtime, for batches of `batch` samples.
    pub(super) fn model(&self, batch: usize) -> Outcome<Vec<u8>> {
        let mut model = self.model.borrow_mut();
        let inputs = model.graph.iter_mut().flat_map(|graph| &mut graph.input);
        let own = inputs.filter(|input| input.name.as_ref() == Some(&self.image.name));
        let shapes =
            own.filter_map(|input| input.r#type.as_mut()?.tensor_type.as_mut()?.shape.as_mut());
        for shape in shapes {
            if let Some(first) = shape.dim.first_mut() {
                *first = Dimension { dim_value: i64::try_from(batch).ok(), dim_param: None };
            }
        }
        model.write_buf().map_err(|error| (format!("it cannot be prepared: {error}"), DAMAGED))
    }
}

/// A whole regular file: a device or a pipe could be read for ever.
fn read_bounded(path: &Path) -> Outcome<Vec<u8>> {
    let failed = |error: std::io::Error| {
        (format!("it cannot be read: {error}"), "check the path and its permissions")
    };
    let (file, length) = open_regular(path).map_err(|error| match error {
        NotReadable::Io(error) => failed(error),
        _ => {
            let hint = "give a regular file; a copy of it is one";
            ("it is a folder, a device or a pipe, no regular file".to_owned(), hint)
        }
    })?;
    let mut bytes = Vec::new();
    if length <= MOST_BYTES {
        // Files of the system may hold more than they say.
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if length.max(bytes.len() as u64) > MOST_BYTES {
        return Err(("it holds more than 2 GiB".to_owned(), "export a smaller network"));
    }
    Ok(bytes)
}

fn class_names(model: &ModelProto) -> Outcome<Option<Vec<String>>> {
    let mut props = model.metadata_props.iter();
    let own = props.find(|prop| prop.key.as_deref() == Some("class_names"));
    own.and_then(|prop| prop.value.as_deref()).map_or(Ok(None), |text| {
        serde_json::from_str(text).map(Some).map_err(|error| {
            (
                format!("its metadata `class_names` is no JSON list of names: {error}"),
                "write it with `json.dumps`",
            )
        })
    })
}

/// Puts the values of tensors that lie in other files into the graph.
fn inline_external_data(
    path: &Path,
    graph: &mut GraphProto,
    files: &mut Vec<PathBuf>,
) -> Outcome<()> {
    const BESIDE: &str =
        "put the data file beside the ONNX file, or export with the weights inside";
    let mut total = 0_u64;
    let mut loaded: Option<(PathBuf, Vec<u8>)> = None;
    let outside = |t: &&mut TensorProto| t.data_location == Some(DataLocation::EXTERNAL);
    for tensor in graph.initializer.iter_mut().filter(outside) {
        let name = tensor.name.clone().unwrap_or_default();
        let value = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries.find(|entry| entry.key.as_deref() == Some(key))?.value.as_deref()
        };
        let wrong = |what: &str| (format!("external data of tensor `{name}`: {what}"), BESIDE);
        let location = value("location").ok_or_else(|| wrong("no file is named"))?;
        let mut parts = Path::new(location).components();
        let (Some(Component::Normal(file)), None) = (parts.next(), parts.next()) else {
            return Err(wrong(&format!("`{location}` is no file beside it")));
        };
        let file = path.with_file_name(file);
        let number = |key, or: usize| value(key).map_or(Some(or), |text| text.parse().ok());
        if loaded.as_ref().is_none_or(|(known, _)| *known != file) {
            let bytes = read_bounded(&file)
                .map_err(|(what, hint)| (format!("`{}`: {what}", file.display()), hint))?;
            total += bytes.len() as u64;
            if total > MOST_BYTES {
                return Err(wrong("the data files hold more than 2 GiB"));
            }
            if !files.contains(&file) {
                files.push(file.clone());
            }
            loaded = Some((file, bytes));
        }
        let bytes = loaded.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let start = number("offset", 0).ok_or_else(|| wrong("no valid offset"))?;
        let length = number("length", bytes.len().saturating_sub(start));
        let length = length.ok_or_else(|| wrong("no valid length"))?;
        let part = start.checked_add(length).and_then(|end| bytes.get(start..end));
        let part = part.ok_or_else(|| wrong("the file is too short"))?.to_vec();
        tensor.raw_data = Some(RefCell::new(part));
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

fn the_output(graph: &GraphProto, requested: Option<&str>) -> Outcome<String> {
    let names = || graph.output.iter().map(|output| output.name.as_deref());
    match (requested, graph.output.as_slice()) {
        (Some(name), outputs) if outputs.iter().any(|o| o.name.as_deref() == Some(name)) => {
            Ok(name.to_owned())
        }
        (Some(name), _) => {
            let text = format!("it has no output `{name}`, but{}", list(names()));
            Err((text, "name one of them as `output`"))
        }
        (None, [output]) => Ok(output.name.clone().unwrap_or_default()),
        (None, _) => {
            let text = format!("it has {} outputs{}", graph.output.len(), list(names()));
            Err((text, "name the one with the logits, or else the probabilities: `output = …`"))
        }
    }
}
