//! Integer operators in float32.
//!
//! ```text
//! (x - x_zero) and (w - w_zero) are whole numbers of 9 bits; float32 holds their sums exactly up to
//! 2^24, which is 257 products of the largest, and rounds larger ones by 6e-8 of themselves
//! ```
//! Padding comes behind the subtraction of the zero point, where it is 0 as the operators mean it.

use rten_onnx::onnx::{AttributeProto, DataType, NodeProto};

use super::Lowering;
use crate::onnx::graph::{
    attribute, float, float_attribute, float_tensor, int_attribute, integer, operator,
};
use faculty_nets::onnx_file::Outcome;

impl Lowering<'_> {
    /// Lowers an operator on quantised tensors; others are given back.
    pub(super) fn quantised(&mut self, mut node: NodeProto) -> Outcome<Option<NodeProto>> {
        let inputs: Vec<String> = node.input.clone();
        let input = |k: usize| inputs.get(k).map_or("", String::as_str);
        let output = node.output.first().cloned().unwrap_or_default();
        let attributes = node.attribute.clone();
        let kind = operator(&node);
        match kind.as_str() {
            "QuantizeLinear" | "com.microsoft.QuantizeLinear" => {
                node.domain = None;
                self.quantise_node(&mut node);
                return Ok(Some(node));
            }
            "com.microsoft.DequantizeLinear" => {
                node.domain = None;
                return Ok(Some(node));
            }
            "ConvInteger" => {
                let x = self.whole(input(0), input(2), 0);
                let w = self.whole(input(1), input(3), 0);
                let attributes = self.window(&node, "ConvInteger", input(1))?;
                let sums = self.make("Conv", &[&x, &w], attributes);
                self.make_as(&output, "Cast", &[&sums], to_int32());
            }
            "MatMulInteger" => {
                let a = self.whole(input(0), input(2), -2);
                let b = self.whole(input(1), input(3), -1);
                let sums = self.make("MatMul", &[&a, &b], Vec::new());
                self.make_as(&output, "Cast", &[&sums], to_int32());
            }
            "QLinearConv" => {
                let x = self.dequantised(input(0), input(1), input(2), 1);
                let w = self.dequantised(input(3), input(4), input(5), 0);
                let mut operands = vec![x, w];
                if !input(8).is_empty() {
                    let scale = self.make("Mul", &[input(1), input(4)], Vec::new());
                    operands.push(self.dequantised(input(8), &scale, "", 0));
                }
                let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
                let attributes = self.window(&node, "QLinearConv", input(3))?;
                let y = self.make("Conv", &operands, attributes);
                self.quantise(&y, input(6), input(7), &output);
            }
            "QLinearMatMul" | "com.microsoft.QLinearMatMul" => {
                let a = self.dequantised(input(0), input(1), input(2), -2);
                let b = self.dequantised(input(3), input(4), input(5), -1);
                let y = self.make("MatMul", &[&a, &b], Vec::new());
                self.quantise(&y, input(6), input(7), &output);
            }
            "com.microsoft.QLinearAdd" | "com.microsoft.QLinearMul" => {
                let a = self.dequantised(input(0), input(1), input(2), 1);
                let b = self.dequantised(input(3), input(4), input(5), 1);
                let kind = kind.trim_start_matches("com.microsoft.QLinear");
                let y = self.make(kind, &[&a, &b], Vec::new());
                self.quantise(&y, input(6), input(7), &output);
            }
            "com.microsoft.QLinearConcat" => {
                let parts: Vec<String> = (2..inputs.len())
                    .step_by(3)
                    .map(|k| self.dequantised(input(k), input(k + 1), input(k + 2), 1))
                    .collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let y = self.make("Concat", &parts, attributes);
                self.quantise(&y, input(0), input(1), &output);
            }
            "com.microsoft.QLinearGlobalAveragePool"
            | "com.microsoft.QLinearAveragePool"
            | "com.microsoft.QLinearLeakyRelu"
            | "com.microsoft.QLinearSigmoid"
            | "com.microsoft.QLinearReduceMean"
            | "com.microsoft.QLinearSoftmax" => {
                let kind = kind.trim_start_matches("com.microsoft.QLinear").to_owned();
                self.between_scales(&kind, &node)?;
            }
            "com.microsoft.QGemm" => self.quantised_gemm(&node),
            "com.microsoft.MatMulIntegerToFloat" => {
                let a = self.dequantised(input(0), input(2), input(4), -2);
                let b = self.dequantised(input(1), input(3), input(5), -1);
                self.product(&a, &b, input(6), &output);
            }
            "com.microsoft.DynamicQuantizeMatMul" => {
                let [q, scale, zero] = [self.fresh(), self.fresh(), self.fresh()];
                let made = vec![q.clone(), scale.clone(), zero.clone()];
                let dynamic = "DynamicQuantizeLinear";
                self.nodes.push(super::node(dynamic, &[input(0)], made, Vec::new()));
                let a = self.dequantised(&q, &scale, &zero, 1);
                let b = self.dequantised(input(1), input(2), input(3), -1);
                self.product(&a, &b, input(4), &output);
            }
            _ => return Ok(Some(node)),
        }
        Ok(None)
    }

    /// Whole numbers less their zero point, in float32.
    fn whole(&mut self, name: &str, zero: &str, axis: i64) -> String {
        let length = match self.known.dims.get(zero).map(Vec::as_slice) {
            Some(&[length]) if length > 1 => usize::try_from(length).unwrap_or(1),
            _ => 1,
        };
        let one = if length == 1 {
            self.scalar(1.0)
        } else {
            let name = self.fresh();
            let dims = self.known.dims[zero].clone();
            self.constants.push(float_tensor(&name, dims, &vec![1.0; length]));
            name
        };
        self.dequantised(name, &one, zero, axis)
    }

    /// `(q - zero) scale`; scale and zero point are of the whole tensor or of each place on `axis`.
    fn dequantised(&mut self, q: &str, scale: &str, zero: &str, axis: i64) -> String {
        let inputs = if zero.is_empty() { vec![q, scale] } else { vec![q, scale, zero] };
        self.make("DequantizeLinear", &inputs, vec![int_attribute("axis", axis)])
    }

    fn quantise(&mut self, y: &str, scale: &str, zero: &str, output: &str) {
        let mut inputs = vec![y, scale];
        if !zero.is_empty() {
            inputs.push(zero);
        }
        let mut node = super::node("QuantizeLinear", &inputs, vec![output.to_owned()], Vec::new());
        self.quantise_node(&mut node);
        self.nodes.push(node);
    }

    /// The runtime knows neither the default type nor the default axis.
    fn quantise_node(&mut self, node: &mut NodeProto) {
        if attribute(node, "axis").is_none() {
            node.attribute.push(int_attribute("axis", 1));
        }
        let without_zero = node.input.get(2).is_none_or(String::is_empty);
        if without_zero && integer(node, "output_dtype").unwrap_or(0) == 0 {
            node.attribute.retain(|attribute| attribute.name.as_deref() != Some("output_dtype"));
            node.attribute.push(int_attribute("output_dtype", i64::from(DataType::UINT8.0)));
        }
    }

    /// An operator with one tensor, its scale and zero point, and the output's: `[x, x_scale, x_zero,
    /// y_scale, y_zero]`.
    fn between_scales(&mut self, kind: &str, node: &NodeProto) -> Outcome<()> {
        const LAYOUT: &str = "convert the file without onnxruntime's own layout: quantise the network \
                              as it was exported, with `QuantFormat.QDQ`";
        let input = |k: usize| node.input.get(k).map_or("", String::as_str);
        let output = node.output.first().cloned().unwrap_or_default();
        if integer(node, "channels_last").unwrap_or(0) != 0 {
            return Err((format!("{} with channels last is not run", operator(node)), LAYOUT));
        }
        let mut attributes: Vec<AttributeProto> = node.attribute.clone();
        attributes.retain(|a| !matches!(a.name.as_deref(), Some("channels_last" | "opset")));
        let x = self.dequantised(input(0), input(1), input(2), 1);
        let y = self.fresh();
        let plain = super::node(kind, &[&x], vec![y.clone()], attributes);
        let opset = self.opset;
        if let Some(own) = integer(node, "opset") {
            self.opset = own;
        }
        let rest = self.float(plain)?;
        self.nodes.extend(rest);
        self.opset = opset;
        self.quantise(&y, input(3), input(4), &output);
        Ok(())
    }

    /// `[a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero]`; without `y_scale` it gives
    /// float32. `c` has the scale of the product.
    fn quantised_gemm(&mut self, node: &NodeProto) {
        let input = |k: usize| node.input.get(k).map_or("", String::as_str);
        let output = node.output.first().cloned().unwrap_or_default();
        let transposed = integer(node, "transB").unwrap_or(0) != 0;
        let alpha = float(node, "alpha").unwrap_or(1.0);
        let a = self.dequantised(input(0), input(1), input(2), 0);
        let b = self.dequantised(input(3), input(4), input(5), if transposed { 0 } else { 1 });
        let mut operands = vec![a, b];
        if !input(6).is_empty() {
            let mut scale = self.make("Mul", &[input(1), input(4)], Vec::new());
            if alpha != 1.0 {
                let alpha = self.scalar(alpha);
                scale = self.make("Mul", &[&scale, &alpha], Vec::new());
            }
            operands.push(self.dequantised(input(6), &scale, "", -1));
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let attributes = vec![
            float_attribute("alpha", alpha),
            int_attribute("transA", integer(node, "transA").unwrap_or(0)),
            int_attribute("transB", i64::from(transposed)),
        ];
        if input(7).is_empty() {
            self.make_as(&output, "Gemm", &operands, attributes);
        } else {
            let y = self.make("Gemm", &operands, attributes);
            self.quantise(&y, input(7), input(8), &output);
        }
    }

    fn product(&mut self, a: &str, b: &str, bias: &str, output: &str) {
        if bias.is_empty() {
            self.make_as(output, "MatMul", &[a, b], Vec::new());
        } else {
            let y = self.make("MatMul", &[a, b], Vec::new());
            self.make_as(output, "Add", &[&y, bias], Vec::new());
        }
    }
}

fn to_int32() -> Vec<AttributeProto> {
    vec![int_attribute("to", i64::from(DataType::INT32.0))]
}
