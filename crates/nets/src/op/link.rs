//! ONNX nodes in a row, as an operation of an inference plan becomes them.

use std::cell::RefCell;

use rten_onnx::onnx::{AttributeProto, AttributeType, DataType, TensorProto};

use crate::shape::{ConvWindow, Window};

/// One ONNX node of a step: it reads the value before it (or the step's input), and constants.
pub(crate) struct Link {
    pub(crate) kind: &'static str,
    /// What stands in front of that value among the inputs.
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
    pub(crate) attributes: Vec<AttributeProto>,
    /// Whether it reads the step's first input beside the value, as its last.
    pub(crate) again: bool,
    /// Version of the operators that has it; 0 where the oldest that is written does.
    pub(crate) opset: i64,
}

impl Link {
    pub(crate) fn new(kind: &'static str) -> Self {
        let (before, after, attributes) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, before, after, attributes, again: false, opset: 0 }
    }

    /// The same, which also reads the step's first input.
    pub(crate) fn with_first_input(mut self) -> Self {
        self.again = true;
        self
    }

    /// The same as an operator that this version of the operators brought.
    pub(crate) fn since(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    pub(crate) fn reading(mut self, inputs: impl IntoIterator<Item = String>) -> Self {
        self.after.extend(inputs);
        self
    }

    pub(crate) fn with_int(self, name: &str, value: usize) -> Self {
        let i = Some(whole(value));
        self.with(
            name,
            AttributeProto { i, r#type: Some(AttributeType::INT), ..Default::default() },
        )
    }

    pub(crate) fn with_ints(self, name: &str, values: &[usize]) -> Self {
        let ints = values.iter().copied().map(whole).collect();
        let kind = Some(AttributeType::INTS);
        self.with(name, AttributeProto { ints, r#type: kind, ..Default::default() })
    }

    pub(crate) fn with_float(self, name: &str, value: f32) -> Self {
        let kind = Some(AttributeType::FLOAT);
        self.with(name, AttributeProto { f: Some(value), r#type: kind, ..Default::default() })
    }

    fn with(mut self, name: &str, attribute: AttributeProto) -> Self {
        self.attributes.push(AttributeProto { name: Some(name.to_owned()), ..attribute });
        self
    }

    /// The window of a convolution.
    pub(crate) fn with_conv_window(self, window: ConvWindow) -> Self {
        let ConvWindow { kernel, stride, padding: [rows, columns], dilation } = window;
        let link = self
            .with_ints("kernel_shape", &kernel)
            .with_ints("strides", &stride)
            .with_ints("pads", &[rows, columns, rows, columns]);
        if dilation == [1; 2] { link } else { link.with_ints("dilations", &dilation) }
    }

    /// Windows padded alike on all sides.
    pub(crate) fn with_window(self, window: Window) -> Self {
        let Window { kernel, stride, padding } = window;
        self.with_ints("kernel_shape", &[kernel; 2])
            .with_ints("strides", &[stride; 2])
            .with_ints("pads", &[padding; 4])
    }

    /// The same with a constant in front of the value.
    pub(crate) fn behind(mut self, constant: String) -> Self {
        self.before.push(constant);
        self
    }

    /// The same with a second value added and ReLU applied behind it.
    pub(crate) fn then(self, second: Option<&str>, relu: bool) -> Vec<Self> {
        let add = second.map(|name| Self::new("Add").reading([name.to_owned()]));
        std::iter::once(self).chain(add).chain(relu.then(|| Self::new("Relu"))).collect()
    }
}

/// The constants of an ONNX graph.
pub(crate) struct Constants<'a> {
    pub(crate) initializers: &'a mut Vec<TensorProto>,
}

impl Constants<'_> {
    /// Floats under a name, which is given back.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let raw_data = Some(RefCell::new(bytes));
        self.constant(
            name,
            shape,
            TensorProto { raw_data, data_type: Some(DataType::FLOAT), ..Default::default() },
        )
    }

    /// Whole numbers likewise.
    pub(crate) fn indices(&mut self, name: &str, values: &[usize]) -> String {
        let bytes = values.iter().flat_map(|&value| whole(value).to_le_bytes()).collect();
        let raw_data = Some(RefCell::new(bytes));
        self.constant(
            name,
            &[values.len()],
            TensorProto { raw_data, data_type: Some(DataType::INT64), ..Default::default() },
        )
    }

    fn constant(&mut self, name: &str, shape: &[usize], tensor: TensorProto) -> String {
        let dims = shape.iter().copied().map(whole).collect();
        self.initializers.push(TensorProto { name: Some(name.to_owned()), dims, ..tensor });
        name.to_owned()
    }
}

/// A size as ONNX writes it.
pub(crate) fn whole(size: usize) -> i64 {
    i64::try_from(size).expect("sizes in memory fit")
}
