//! Operators on float32: those that the runtime lacks, attributes that may be left out, and what
//! older opsets or the runtime itself understand otherwise.

use rten_onnx::onnx::{AttributeProto, DataType, NodeProto};

use super::Lowering;
use crate::onnx::graph::{
    attribute, float, int_attribute, integer, ints_attribute, kind, operator,
};
use faculty_nets::onnx_file::Outcome;

/// Way out for networks that were exported as they train.
const EVAL: &str = "export it for inference: `net.eval()`, without `training=`";

/// Way out for what no other operator says.
const EXPLICIT: &str = "write its padding out: give `padding=` as numbers and export it again";

impl Lowering<'_> {
    /// Lowers an operator on float32, or makes it explicit; others are given back.
    pub(super) fn float(&mut self, mut node: NodeProto) -> Outcome<Option<NodeProto>> {
        let Some(kind) = kind(&node).map(str::to_owned) else { return Ok(Some(node)) };
        let input = node.input.first().cloned().unwrap_or_default();
        let output = node.output.first().cloned().unwrap_or_default();
        match kind.as_str() {
            "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "LpPool" => {
                let weight = node.input.get(1).cloned().unwrap_or_default();
                node.attribute = self.window(&node, &kind, &weight)?;
                return Ok(Some(node));
            }
            "Dropout" => self.dropout(&node)?,
            "BatchNormalization" if integer(&node, "training_mode").unwrap_or(0) != 0 => {
                return Err(("its BatchNormalization is in training mode".to_owned(), EVAL));
            }
            "Softmax" | "LogSoftmax" if self.opset < 13 => {
                // All dimensions from `axis` on are one row.
                let axis = int_attribute("axis", integer(&node, "axis").unwrap_or(1));
                let rows = self.make("Flatten", &[&input], vec![axis]);
                let rows = self.make(&kind, &[&rows], vec![int_attribute("axis", -1)]);
                let shape = self.make("Shape", &[&input], Vec::new());
                self.make_as(&output, "Reshape", &[&rows, &shape], Vec::new());
            }
            "Resize" if text(&node, "mode") == Some("cubic") => {
                let hint = "export it with bilinear or nearest interpolation";
                return Err(("Resize with cubic interpolation is not run".to_owned(), hint));
            }
            // The runtime cuts it to a whole number.
            "Cast" if integer(&node, "to") == Some(i64::from(DataType::BOOL.0)) => {
                let value = self.cast(&input, DataType::FLOAT);
                let zero = self.scalar(0.0);
                let none = self.make("Equal", &[&value, &zero], Vec::new());
                self.make_as(&output, "Not", &[&none], Vec::new());
            }
            "LRN" => self.local_response_norm(&node),
            "Selu" | "Celu" | "Mish" | "ThresholdedRelu" => self.rectifier(&kind, &node),
            _ => return Ok(Some(node)),
        }
        Ok(None)
    }

    /// In inference it does nothing.
    fn dropout(&mut self, node: &NodeProto) -> Outcome<()> {
        let input = |k: usize| node.input.get(k).map_or("", String::as_str);
        let training = match input(2) {
            "" => false,
            name => self.known.integers.get(name).is_none_or(|value| value != &[0]),
        };
        if training {
            return Err(("its Dropout is in training mode".to_owned(), EVAL));
        }
        let output = node.output.first().cloned().unwrap_or_default();
        self.make_as(&output, "Identity", &[input(0)], Vec::new());
        if let Some(mask) = node.output.get(1).filter(|name| !name.is_empty()) {
            self.make_as(mask, "Equal", &[input(0), input(0)], Vec::new());
        }
        Ok(())
    }

    /// `x / (bias + alpha / size * sum x²)^beta`, the sum over `size` neighbouring channels. Pooling
    /// is over the last two dimensions, so channels are brought there.
    fn local_response_norm(&mut self, node: &NodeProto) {
        let x = node.input.first().map_or("", String::as_str);
        let output = node.output.first().cloned().unwrap_or_default();
        let size = integer(node, "size").unwrap_or(1).max(1);
        let swap = || vec![ints_attribute("perm", vec![0, 2, 1, 3])];
        let (before, behind) = ((size - 1) / 2, size / 2);
        let squares = self.make("Mul", &[x, x], Vec::new());
        let columns = self.make("Transpose", &[&squares], swap());
        let pool = vec![
            ints_attribute("kernel_shape", vec![size, 1]),
            ints_attribute("strides", vec![1, 1]),
            ints_attribute("pads", vec![before, 0, behind, 0]),
            int_attribute("count_include_pad", 1),
        ];
        let means = self.make("AveragePool", &[&columns], pool);
        let means = self.make("Transpose", &[&means], swap());
        let alpha = self.scalar(float(node, "alpha").unwrap_or(1e-4));
        let bias = self.scalar(float(node, "bias").unwrap_or(1.0));
        let beta = self.scalar(float(node, "beta").unwrap_or(0.75));
        let scaled = self.make("Mul", &[&means, &alpha], Vec::new());
        let base = self.make("Add", &[&scaled, &bias], Vec::new());
        let divisor = self.make("Pow", &[&base, &beta], Vec::new());
        self.make_as(&output, "Div", &[x, &divisor], Vec::new());
    }

    fn rectifier(&mut self, kind: &str, node: &NodeProto) {
        let x = node.input.first().map_or("", String::as_str);
        let output = node.output.first().cloned().unwrap_or_default();
        let value = |name, default| float(node, name).unwrap_or(default);
        match kind {
            "Mish" => {
                let soft = self.make("Softplus", &[x], Vec::new());
                let gate = self.make("Tanh", &[&soft], Vec::new());
                self.make_as(&output, "Mul", &[x, &gate], Vec::new());
            }
            "ThresholdedRelu" => {
                let alpha = self.scalar(value("alpha", 1.0));
                let zero = self.scalar(0.0);
                let above = self.make("Greater", &[x, &alpha], Vec::new());
                self.make_as(&output, "Where", &[&above, x, &zero], Vec::new());
            }
            // gamma (max(x, 0) + alpha (exp(min(x, 0) / width) - 1))
            _ => {
                let (gamma, alpha, width) = if kind == "Selu" {
                    (value("gamma", 1.050_701), value("alpha", 1.673_263_2), 1.0)
                } else {
                    let alpha = value("alpha", 1.0);
                    (1.0, alpha, alpha)
                };
                let [gamma, alpha, width, zero, one] =
                    [gamma, alpha, width, 0.0, 1.0].map(|value| self.scalar(value));
                let high = self.make("Max", &[x, &zero], Vec::new());
                let low = self.make("Min", &[x, &zero], Vec::new());
                let low = self.make("Div", &[&low, &width], Vec::new());
                let low = self.make("Exp", &[&low], Vec::new());
                let low = self.make("Sub", &[&low, &one], Vec::new());
                let low = self.make("Mul", &[&low, &alpha], Vec::new());
                let sum = self.make("Add", &[&high, &low], Vec::new());
                self.make_as(&output, "Mul", &[&sum, &gamma], Vec::new());
            }
        }
    }

    /// The attributes of a convolution or pooling, with those that may be left out.
    pub(super) fn window(
        &mut self,
        node: &NodeProto,
        kind: &str,
        weight: &str,
    ) -> Outcome<Vec<AttributeProto>> {
        let ints = |name| attribute(node, name).map(|attribute| attribute.ints.clone());
        let of_weight = || self.known.dims.get(weight)?.get(2..).map(<[i64]>::to_vec);
        let kernel = ints("kernel_shape").or_else(of_weight);
        // A kernel that is computed has no known shape; images have two dimensions.
        let rank = kernel.as_ref().map_or(2, Vec::len);
        let strides = ints("strides").unwrap_or_else(|| vec![1; rank]);
        let dilations = ints("dilations").unwrap_or_else(|| vec![1; rank]);
        let mut attributes = node.attribute.clone();
        let mut set = |name: &str, values: Vec<i64>| {
            attributes.retain(|attribute| attribute.name.as_deref() != Some(name));
            attributes.push(ints_attribute(name, values));
        };
        set("strides", strides.clone());
        let pools = kind.ends_with("Pool");
        if pools && dilations.iter().any(|&dilation| dilation != 1) {
            return Err((format!("{} with dilations is not run", operator(node)), EXPLICIT));
        }
        if !pools {
            set("dilations", dilations.clone());
        }
        let automatic = text(node, "auto_pad").unwrap_or("NOTSET");
        match automatic {
            "NOTSET" if ints("pads").is_none() => set("pads", vec![0; 2 * rank]),
            "VALID" => set("pads", vec![0; 2 * rank]),
            "SAME_UPPER" | "SAME_LOWER" if kind == "ConvTranspose" => {
                return Err((
                    format!("ConvTranspose with auto_pad {automatic} is not run"),
                    EXPLICIT,
                ));
            }
            // The runtime knows the other one only. At a stride of 1 the padding is that of the
            // kernel, whatever the image.
            "SAME_LOWER" => {
                let Some(kernel) = kernel.filter(|_| strides.iter().all(|&stride| stride == 1))
                else {
                    let text = format!(
                        "{} with auto_pad SAME_LOWER and strides is not run",
                        operator(node)
                    );
                    return Err((text, EXPLICIT));
                };
                let all: Vec<i64> = kernel
                    .iter()
                    .zip(&dilations)
                    .map(|(&size, step)| (size - 1).saturating_mul(*step))
                    .collect();
                let before = all.iter().map(|all| all - all / 2);
                let behind = all.iter().map(|all| all / 2);
                set("pads", before.chain(behind).collect());
                attributes.retain(|attribute| attribute.name.as_deref() != Some("auto_pad"));
            }
            _ => {}
        }
        Ok(attributes)
    }
}

fn text<'n>(node: &'n NodeProto, name: &str) -> Option<&'n str> {
    attribute(node, name)?.s.as_deref()
}
