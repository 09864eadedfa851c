//! What is in an ONNX file: checked, its tensors chosen, lowered, and written again for the runtime.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use faculty_nets::MapShape;
use faculty_nets::onnx_file::{class_names, inline_external_data, opset, parse};
use rten_onnx::onnx::{Dimension, GraphProto, ModelProto, ValueInfoProto};

use super::activation::{BeforeActivation, before_activation};
use super::graph::reads;
use super::head::Head;
use super::image::{ImageInput, Layout};
use super::limits::check_limits;
use super::lowering::lower;
use faculty_nets::FrozenClassifier;
use faculty_nets::onnx_file::{DAMAGED, Outcome, list};

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

fn the_output(graph: &GraphProto, requested: Option<&str>) -> Outcome<String> {
    let names = || graph.output.iter().map(|output| output.name.as_deref());
    match (requested, graph.output.as_slice()) {
        (Some(name), outputs) if outputs.iter().any(|o| o.name.as_deref() == Some(name)) => {
            Ok(name.to_owned())
        }
        (Some(name), _) => {
            let text = format!("it has no output `{name}`, but{}", list(names()));
            Err((text, "name one of them as `output`, on the command line as `--onnx-output`"))
        }
        (None, [output]) => Ok(output.name.clone().unwrap_or_default()),
        (None, _) => {
            let text = format!("it has {} outputs{}", graph.output.len(), list(names()));
            Err((
                text,
                "name the one with the logits, or else the probabilities: `output = …` in a recipe, \
                 `--onnx-output` on the command line",
            ))
        }
    }
}
