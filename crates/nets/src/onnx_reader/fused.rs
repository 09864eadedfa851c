//! Several nodes that together are one activation.
//!
//! ```text
//! GELU         x / √2 → Erf → + 1, times x and 1/2 in any order        torch below operators 20
//! SiLU         Sigmoid(x) · x
//! hard swish   HardSigmoid(x) · x, of slope 1/6 and offset 1/2
//! ```

use std::collections::HashMap;

use faculty_kernels::activation::Activation;
use faculty_kernels::piecewise::Piecewise;

use super::model::{Data, OnnxModel};
use crate::op::activation::Activate;

/// Nodes that are one function of one value.
#[derive(Clone, Debug)]
pub(super) struct Fusion {
    pub(super) nodes: Vec<usize>,
    /// The one whose output is the function's value.
    pub(super) last: usize,
    pub(super) input: String,
    pub(super) function: Activate,
}

struct Finder<'m> {
    model: &'m OnnxModel,
    readers: &'m HashMap<&'m str, Vec<usize>>,
}

/// Every such group of nodes.
pub(super) fn find(model: &OnnxModel, readers: &HashMap<&str, Vec<usize>>) -> Vec<Fusion> {
    let finder = Finder { model, readers };
    let of = |number: usize| match model.nodes[number].kind.as_str() {
        "Erf" => finder.gelu(number),
        "Sigmoid" => finder.times_input(number, Activate::Smooth(Activation::Silu)),
        "HardSigmoid" => {
            let node = &model.nodes[number];
            let (slope, offset) = (node.float("alpha", 0.2), node.float("beta", 0.5));
            let swish = (slope - 1.0 / 6.0).abs() < 1e-6 && (offset - 0.5).abs() < 1e-6;
            swish.then(|| finder.times_input(number, Activate::Pieces(Piecewise::HardSwish)))?
        }
        _ => None,
    };
    (0..model.nodes.len()).filter_map(of).collect()
}

impl Finder<'_> {
    /// The only node that reads the output of a node.
    fn reader(&self, number: usize) -> Option<usize> {
        let output = self.model.nodes[number].outputs.first()?;
        match self.readers.get(output.as_str())?.as_slice() {
            &[reader] if *output != self.model.output => Some(reader),
            _ => None,
        }
    }

    /// The other input of a node of two.
    fn other(&self, number: usize, than: usize) -> Option<&str> {
        let own = self.model.nodes[than].outputs.first()?;
        match self.model.nodes[number].inputs.as_slice() {
            [first, second] if first == own && second != own => Some(second),
            [first, second] if second == own && first != own => Some(first),
            _ => None,
        }
    }

    /// The value of a constant of one number, given as one or by a node.
    fn number(&self, name: &str) -> Option<f32> {
        let given = self.model.constants.get(name).cloned();
        let tensor = given.or_else(|| {
            let node = &self.model.nodes[*self.model.makers.get(name)?];
            (node.kind == "Constant").then(|| node.constant())?
        })?;
        match tensor.data {
            Data::Floats(values) if values.len() == 1 => values.first().copied(),
            _ => None,
        }
    }

    fn is(&self, name: &str, value: f32) -> bool {
        self.number(name).is_some_and(|number| (number - value).abs() < 1e-4 * value.abs())
    }

    fn times_input(&self, number: usize, function: Activate) -> Option<Fusion> {
        let input = self.model.nodes[number].input(0)?.to_owned();
        let product = self.reader(number)?;
        let is_product = self.model.nodes[product].kind == "Mul";
        let fits = is_product && self.other(product, number) == Some(&input);
        fits.then(|| Fusion { nodes: vec![number, product], last: product, input, function })
    }

    fn gelu(&self, erf: usize) -> Option<Fusion> {
        let nodes = &self.model.nodes;
        let scaled = *self.model.makers.get(nodes[erf].input(0)?)?;
        let [from, by] = nodes[scaled].inputs.as_slice() else { return None };
        let root = std::f32::consts::SQRT_2;
        let input = match nodes[scaled].kind.as_str() {
            "Div" if self.is(by, root) => from,
            "Mul" if self.is(by, 1.0 / root) => from,
            "Mul" if self.is(from, 1.0 / root) => by,
            _ => return None,
        };
        let sum = self.reader(erf)?;
        if self.reader(scaled)? != erf
            || nodes[sum].kind != "Add"
            || !self.is(self.other(sum, erf)?, 1.0)
        {
            return None;
        }
        let mut fused = vec![scaled, erf, sum];
        let (mut by_input, mut by_half, mut last) = (false, false, sum);
        while !(by_input && by_half) {
            let product = self.reader(last)?;
            let other = self.other(product, last).filter(|_| nodes[product].kind == "Mul")?;
            if other == input && !by_input {
                by_input = true;
            } else if !by_half && self.is(other, 0.5) {
                by_half = true;
            } else {
                // `x / 2`, made beforehand.
                let half = *self.model.makers.get(other)?;
                let [a, b] = nodes[half].inputs.as_slice() else { return None };
                let halves = nodes[half].kind == "Mul"
                    && ((a == input && self.is(b, 0.5)) || (b == input && self.is(a, 0.5)));
                if by_input || by_half || !halves || self.reader(half) != Some(product) {
                    return None;
                }
                fused.push(half);
                (by_input, by_half) = (true, true);
            }
            fused.push(product);
            last = product;
        }
        let function = Activate::Smooth(Activation::Gelu);
        Some(Fusion { nodes: fused, last, input: input.clone(), function })
    }
}
