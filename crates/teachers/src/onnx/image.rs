//! The image input of an ONNX file: its layout and type, and a float32 input
//! `[batch, channels, height, width]` in its place.

use faculty_nets::MapShape;
use rten_onnx::onnx::{
    DataType, Dimension, GraphProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

use super::graph::{float_tensor, int_attribute, ints_attribute, node};
use faculty_nets::onnx_file::{Outcome, list};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

/// What a file says of the images that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageInput {
    pub(super) name: String,
    /// The batch that the file was exported for, if fixed.
    pub(super) batch: Option<usize>,
    /// The other dimensions as far as they are fixed; nothing if no shape is given.
    sizes: Option<[Option<usize>; 3]>,
    /// Whether pixels are bytes from 0 to 255.
    pub(super) bytes: bool,
}

impl ImageInput {
    pub(super) fn read(graph: &GraphProto) -> Outcome<Self> {
        const EXPORT: &str = "export it for float32 images [batch, channels, height, width]";
        const CAST: &str = "export it for float32 images, with a cast to its own type inside";
        let input = the_input(graph)?;
        let name = input.name.clone().unwrap_or_default();
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let Some(tensor) = tensor else {
            return Err((format!("input `{name}` is no tensor"), EXPORT));
        };
        let bytes = match tensor.elem_type {
            // The runtime computes with float32 whatever float the file has.
            None | Some(DataType::FLOAT | DataType::FLOAT16 | DataType::DOUBLE) => false,
            Some(DataType::UINT8) => true,
            Some(kind) => {
                let text = format!("input `{name}` is of type {kind}, FLOAT or UINT8 is expected");
                return Err((text, CAST));
            }
        };
        let Some(shape) = &tensor.shape else {
            return Ok(Self { name, batch: None, sizes: None, bytes });
        };
        let size = |dim: &Dimension| usize::try_from(dim.dim_value?).ok().filter(|&n| n > 0);
        let sizes: Vec<Option<usize>> = shape.dim.iter().map(size).collect();
        match *sizes.as_slice() {
            [batch, a, b, c] => Ok(Self { name, batch, sizes: Some([a, b, c]), bytes }),
            _ => {
                let sizes = shown(&sizes);
                Err((format!("input `{name}` is [{sizes}], images have four dimensions"), EXPORT))
            }
        }
    }

    /// `[channels, height, width]` as far as they are fixed, in the likelier layout.
    pub(super) fn image_sizes(&self) -> [Option<usize>; 3] {
        let [a, b, c] = self.sizes.unwrap_or_default();
        match self.likely_layout() {
            Layout::ChannelsFirst => [a, b, c],
            Layout::ChannelsLast => [c, a, b],
        }
    }

    fn likely_layout(&self) -> Layout {
        let few = |size: Option<usize>| size.is_some_and(|size| size <= 4);
        match self.sizes {
            Some([first, _, last]) if few(last) && !few(first) => Layout::ChannelsLast,
            _ => Layout::ChannelsFirst,
        }
    }

    /// The layout in which it reads `images`.
    pub(super) fn layout(&self, images: MapShape) -> Outcome<Layout> {
        let Some([a, b, c]) = self.sizes else { return Ok(Layout::ChannelsFirst) };
        let MapShape { channels, height, width } = images;
        let fits = |sizes: [Option<usize>; 3]| {
            let is = [channels, height, width];
            sizes.iter().zip(is).all(|(size, is)| size.is_none_or(|size| size == is))
        };
        if fits([a, b, c]) {
            return Ok(Layout::ChannelsFirst);
        }
        if fits([c, a, b]) {
            return Ok(Layout::ChannelsLast);
        }
        let layout = match self.likely_layout() {
            Layout::ChannelsFirst => "",
            Layout::ChannelsLast => " with channels last (NHWC)",
        };
        let sizes = self.image_sizes();
        let text = format!(
            "input `{}` is for images {}{layout}, they are {images}",
            self.name,
            sizes.map(|size| size.map_or_else(|| "?".to_owned(), |n| n.to_string())).join("×")
        );
        let hint = match (sizes[0], channels) {
            (Some(3), 1) => {
                "for grey images, export it with `net(x.repeat(1, 3, 1, 1))` as its forward, \
                 normalisation behind the repeat"
            }
            (Some(1), 3) => {
                "for colour images, export it with `net(x.mean(1, keepdim=True))` as its forward"
            }
            (Some(own), is) if own != is => {
                "channels must be the data's: export it with a forward that makes its channels of \
                 the data's"
            }
            _ => "scale the images for this teacher with `input_size = [height, width]`",
        };
        Err((text, hint))
    }

    /// Puts a float32 input `[batch, channels, height, width]` in front of the graph.
    pub(super) fn replace(&mut self, graph: &mut GraphProto, layout: Layout) {
        const PIXELS: &str = "faculty.image";
        graph.input.retain(|input| input.name.as_ref() != Some(&self.name));
        let mut front = Vec::new();
        let mut last = PIXELS.to_owned();
        let mut step = |kind: &str, inputs: &[&str], attributes| {
            let output = format!("{PIXELS}.{}", front.len());
            let inputs = [&[last.as_str()], inputs].concat();
            front.push(node(kind, &inputs, vec![output.clone()], attributes));
            last = output;
        };
        if self.bytes {
            for (name, value) in [("faculty.black", 0.0), ("faculty.white", 255.0)] {
                graph.initializer.push(float_tensor(name, Vec::new(), &[value]));
            }
            step("Round", &[], Vec::new());
            step("Clip", &["faculty.black", "faculty.white"], Vec::new());
            step("Cast", &[], vec![int_attribute("to", i64::from(DataType::UINT8.0))]);
        }
        if layout == Layout::ChannelsLast {
            step("Transpose", &[], vec![ints_attribute("perm", vec![0, 2, 3, 1])]);
        }
        let name = match front.last_mut() {
            Some(node) => {
                node.output = vec![std::mem::take(&mut self.name)];
                PIXELS.to_owned()
            }
            None => self.name.clone(),
        };
        front.append(&mut graph.node);
        graph.node = front;
        let [channels, height, width] = self.image_sizes();
        graph.input.push(declared(&name, [self.batch, channels, height, width]));
        self.name = name;
    }
}

/// A float32 input.
fn declared(name: &str, sizes: [Option<usize>; 4]) -> ValueInfoProto {
    let names = ["batch", "channels", "height", "width"];
    let dim = sizes
        .iter()
        .zip(names)
        .map(|(size, name)| {
            let dim_value = size.and_then(|size| i64::try_from(size).ok());
            let dim_param = dim_value.is_none().then(|| format!("faculty.{name}"));
            Dimension { dim_value, dim_param }
        })
        .collect();
    let tensor =
        TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() });
    ValueInfoProto { name: Some(name.to_owned()), r#type }
}

fn shown(sizes: &[Option<usize>]) -> String {
    let size = |size: &Option<usize>| size.map_or_else(|| "?".to_owned(), |n| n.to_string());
    sizes.iter().map(size).collect::<Vec<_>>().join(", ")
}

fn the_input(graph: &GraphProto) -> Outcome<&ValueInfoProto> {
    let weights: std::collections::HashSet<&Option<String>> =
        graph.initializer.iter().map(|tensor| &tensor.name).collect();
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !weights.contains(&input.name)).collect();
    match inputs.as_slice() {
        [input] => Ok(input),
        _ => {
            let names = inputs.iter().map(|input| input.name.as_deref());
            let text = format!("it has {} inputs{}", inputs.len(), list(names));
            Err((text, "export a network with the images as its only input"))
        }
    }
}
