//! What is in an ONNX file: checked, its tensors chosen, and written again for the runtime.

use std::cell::RefCell;
use std::path::{Component, Path, PathBuf};

use faculty_nets::MapShape;
use rten_onnx::onnx::{
    DataLocation, DataType, Dimension, GraphProto, ModelProto, NodeProto, TensorProto,
    ValueInfoProto,
};

use super::FrozenClassifier;
use super::nesting::check_nesting;

/// Model and external data together.
const MOST_BYTES: u64 = 2 << 30;

/// What went wrong, and how to mend it.
pub(super) type Outcome<T> = Result<T, (String, &'static str)>;

pub(super) const DAMAGED: &str =
    "the file is damaged or its download was cut: fetch or export it again";

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
    pub(super) input: String,
    pub(super) logits: String,
    pub(super) map: Option<String>,
    /// Whether the map was named, not found.
    pub(super) map_is_named: bool,
    /// The batch that the file was exported for, if fixed.
    pub(super) fixed_batch: Option<usize>,
    pub(super) classifier: Option<FrozenClassifier>,
    pub(super) class_names: Option<Vec<String>>,
    pub(super) files: Vec<PathBuf>,
}

pub(super) fn read(path: &Path, choice: &OnnxChoice, images: MapShape) -> Outcome<OnnxFile> {
    let mut files = vec![path.to_owned()];
    let bytes = read_bounded(path)?;
    check_nesting(&bytes).map_err(|what| (what, DAMAGED))?;
    let mut model = ModelProto::parse_buf(&bytes)
        .map_err(|error| (format!("no readable ONNX file: {error}"), DAMAGED))?;
    let class_names = class_names(&model)?;
    let Some(graph) = model.graph.as_mut() else {
        return Err(("it holds no graph".to_owned(), DAMAGED));
    };
    inline_external_data(path, graph, &mut files)?;
    let input = the_input(graph)?;
    let fixed_batch = check_input(input, images)?;
    let input = input.name.clone().unwrap_or_default();
    let logits = the_output(graph, choice.output.as_deref())?;
    let head = Head::find(graph, &logits);
    let map = choice.map.clone().or_else(|| head.as_ref()?.map.clone());
    if let Some(name) = &choice.map
        && !graph.node.iter().any(|node| node.output.contains(name))
    {
        return Err((
            format!("it has no tensor `{name}`, which `map` names"),
            "name an output of one of its nodes; a viewer of graphs shows them",
        ));
    }
    let classifier = head.map(|head| head.classifier);
    // What stands there of shapes is for the batch of the export; the runtime finds its own.
    graph.value_info.clear();
    let output = |name: &String| ValueInfoProto { name: Some(name.clone()), r#type: None };
    graph.output = std::iter::once(&logits).chain(&map).map(output).collect();
    let model = RefCell::new(model);
    let map_is_named = choice.map.is_some();
    Ok(OnnxFile {
        model,
        input,
        logits,
        map,
        map_is_named,
        fixed_batch,
        classifier,
        class_names,
        files,
    })
}

impl OnnxFile {
    /// The file for the runtime, for batches of `batch` samples.
    pub(super) fn model(&self, batch: usize) -> Outcome<Vec<u8>> {
        let mut model = self.model.borrow_mut();
        let inputs = model.graph.iter_mut().flat_map(|graph| &mut graph.input);
        let own = inputs.filter(|input| input.name.as_ref() == Some(&self.input));
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

pub(super) fn read_bounded(path: &Path) -> Outcome<Vec<u8>> {
    let failed = |error: std::io::Error| {
        (format!("it cannot be read: {error}"), "check the path and its permissions")
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err((format!("{size} bytes are more than 2 GiB"), "export a smaller network"));
    }
    std::fs::read(path).map_err(failed)
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

pub(super) fn the_input(graph: &GraphProto) -> Outcome<&ValueInfoProto> {
    let weight = |input: &&ValueInfoProto| graph.initializer.iter().any(|t| t.name == input.name);
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|input| !weight(input)).collect();
    match inputs.as_slice() {
        [input] => Ok(input),
        _ => {
            let names = inputs.iter().map(|input| input.name.as_deref());
            let text = format!("it has {} inputs{}", inputs.len(), list(names));
            Err((text, "export a network with the images as its only input"))
        }
    }
}

/// The batch, if it is fixed.
fn check_input(input: &ValueInfoProto, images: MapShape) -> Outcome<Option<usize>> {
    const EXPORT: &str = "export it for float32 images [batch, channels, height, width]";
    let name = input.name.as_deref().unwrap_or_default();
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let Some(tensor) = tensor else {
        return Err((format!("input `{name}` is no tensor"), EXPORT));
    };
    if let Some(kind) = tensor.elem_type.filter(|&kind| kind != DataType::FLOAT) {
        return Err((format!("input `{name}` is of type {kind}, FLOAT is expected"), EXPORT));
    }
    let Some(shape) = &tensor.shape else { return Ok(None) };
    let fixed: Vec<Option<usize>> = shape
        .dim
        .iter()
        .map(|dim| dim.dim_value.and_then(|size| usize::try_from(size).ok()).filter(|&n| n > 0))
        .collect();
    let [batch, sizes @ ..] = fixed.as_slice() else {
        return Err((format!("input `{name}` has no dimensions"), EXPORT));
    };
    let wanted = [images.channels, images.height, images.width];
    let fits = sizes.len() == 3
        && sizes.iter().zip(wanted).all(|(own, wanted)| own.is_none_or(|own| own == wanted));
    if !fits {
        let sizes: Vec<String> = sizes
            .iter()
            .map(|size| size.map_or_else(|| "?".to_owned(), |n| n.to_string()))
            .collect();
        return Err((
            format!("input `{name}` is for images {}, they are {images}", sizes.join("×")),
            "scale the images for this teacher with `input_size = [height, width]`; channels must \
             be the data's",
        ));
    }
    Ok(*batch)
}

fn the_output(graph: &GraphProto, wanted: Option<&str>) -> Outcome<String> {
    let names = || graph.output.iter().map(|output| output.name.as_deref());
    match (wanted, graph.output.as_slice()) {
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
            Err((text, "name the one with the logits: `output = …`"))
        }
    }
}

fn list<'a>(names: impl Iterator<Item = Option<&'a str>>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> =
        names.take(SHOWN).map(|n| format!("`{}`", n.unwrap_or_default())).collect();
    if names.is_empty() { String::new() } else { format!(" {}", names.join(", ")) }
}

/// The last linear layer and the map that it seems to see.
struct Head {
    classifier: FrozenClassifier,
    map: Option<String>,
}

impl Head {
    /// Nothing if the logits come from something else. Whether it is right is tried out later.
    fn find(graph: &GraphProto, logits: &str) -> Option<Self> {
        let last = producer(graph, logits, &["Identity"])?;
        let (weight, bias, from, transposed) = match last.op_type.as_deref()? {
            "Gemm" => {
                let whole = |name| attribute(last, name).and_then(|a| a.i).unwrap_or(0);
                let one = |name| attribute(last, name).and_then(|a| a.f).unwrap_or(1.0) == 1.0;
                if whole("transA") != 0 || !one("alpha") || !one("beta") {
                    return None;
                }
                (last.input.get(1)?, last.input.get(2), last.input.first()?, whole("transB") != 0)
            }
            "MatMul" => (last.input.get(1)?, None, last.input.first()?, false),
            "Add" => {
                let [a, b] = last.input.as_slice() else { return None };
                let (product, bias) = match producer(graph, a, &[]) {
                    Some(node) if node.op_type.as_deref() == Some("MatMul") => (node, b),
                    _ => (producer(graph, b, &[])?, a),
                };
                if product.op_type.as_deref() != Some("MatMul") {
                    return None;
                }
                (product.input.get(1)?, Some(bias), product.input.first()?, false)
            }
            _ => return None,
        };
        let (shape, values) = constant(graph, weight)?;
        let &[first, second] = shape.as_slice() else { return None };
        let (classes, channels) = if transposed { (first, second) } else { (second, first) };
        let weight = if transposed {
            values
        } else {
            let row = |class| (0..channels).map(move |channel| channel * classes + class);
            (0..classes).flat_map(row).map(|index| values[index]).collect()
        };
        let bias = match bias.filter(|name| !name.is_empty()) {
            Some(name) => constant(graph, name)?.1,
            None => vec![0.0; classes],
        };
        let shaping = ["Identity", "Flatten", "Reshape", "Squeeze", "Dropout"];
        let map = producer(graph, from, &shaping).and_then(|node| {
            let pools = ["GlobalAveragePool", "ReduceMean", "AveragePool"];
            pools.contains(&node.op_type.as_deref()?).then(|| node.input.first().cloned())?
        });
        Some(Self { classifier: FrozenClassifier { weight, bias }, map })
    }
}

/// The node that makes a tensor, looking through nodes of the kinds `through`.
fn producer<'g>(graph: &'g GraphProto, name: &str, through: &[&str]) -> Option<&'g NodeProto> {
    let mut name = name;
    // No chain is longer than the graph; a circle would be.
    for _ in 0..=graph.node.len() {
        let node = graph.node.iter().find(|node| node.output.iter().any(|o| o == name))?;
        if !node.op_type.as_deref().is_some_and(|kind| through.contains(&kind)) {
            return Some(node);
        }
        name = node.input.first()?;
    }
    None
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n rten_onnx::onnx::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

/// Shape and values of a constant of floats.
fn constant(graph: &GraphProto, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
    let weight = graph.initializer.iter().find(|tensor| tensor.name.as_deref() == Some(name));
    let tensor = weight.or_else(|| {
        let node = graph.node.iter().find(|node| node.output.iter().any(|o| o == name))?;
        (node.op_type.as_deref() == Some("Constant"))
            .then(|| attribute(node, "value")?.t.as_ref())?
    })?;
    if tensor.data_type != Some(DataType::FLOAT) {
        return None;
    }
    let shape: Option<Vec<usize>> =
        tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = shape?;
    let values: Vec<f32> = match &tensor.raw_data {
        Some(bytes) => bytes
            .borrow()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&chunk| f32::from_le_bytes(chunk))
            .collect(),
        None => tensor.float_data.clone(),
    };
    let length = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
    (length == values.len()).then_some((shape, values))
}
