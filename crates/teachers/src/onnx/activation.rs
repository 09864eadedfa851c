//! A network's last activation, and the logits in front of it.
//!
//! A softmax or sigmoid at the end of a file makes probabilities of logits. The methods want the
//! logits. Here they are found by the shape of the graph; whether the activation of them gives what
//! the file gives is tried out on made-up images before anyone believes it.

use faculty_contract::class_cost::probabilities;
use rten_onnx::onnx::GraphProto;

use super::graph::{Index, kind, node};

/// What the outputs of a file are of its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Over the classes.
    Softmax,
    /// Of each class by itself.
    Sigmoid,
}

impl Activation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// Of one sample's logits.
    #[must_use]
    pub fn apply(self, logits: &[f32]) -> Vec<f64> {
        match self {
            Self::Softmax => probabilities(logits),
            Self::Sigmoid => logits.iter().map(|&z| 1.0 / (1.0 + (-f64::from(z)).exp())).collect(),
        }
    }
}

/// The tensor in front of the last activation, in the shape of the output.
pub(super) struct BeforeActivation {
    pub(super) logits: String,
    pub(super) activation: Activation,
    /// Largest difference that rounding behind the activation explains, as a share of the largest
    /// output or as it is.
    pub(super) tolerance: (f64, f64),
}

impl BeforeActivation {
    /// Whether the activation of these logits is this output of `samples` samples.
    pub(super) fn explain(&self, logits: &[f32], output: &[f32], samples: usize) -> bool {
        let classes = logits.len() / samples;
        if logits.len() != output.len() || classes == 0 {
            return false;
        }
        let largest = output.iter().fold(0.0_f64, |largest, &p| largest.max(f64::from(p).abs()));
        let tolerance = (self.tolerance.0 * largest).max(self.tolerance.1);
        let mut rows = logits.chunks_exact(classes).zip(output.chunks_exact(classes));
        rows.all(|(logits, output)| {
            let own = self.activation.apply(logits);
            own.iter().zip(output).all(|(own, &p)| (own - f64::from(p)).abs() <= tolerance)
        })
    }
}

/// Kinds that change the shape of what they are given, or its type.
const SHAPING: [&str; 6] = ["Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"];

/// Kinds that round or bound probabilities, and would spoil logits.
const ROUNDING: [&str; 3] = ["Clip", "QuantizeLinear", "DequantizeLinear"];

/// Looks for an activation behind which only the shape of the output is changed, and puts the same
/// changes of shape behind the tensor in front of it.
pub(super) fn before_activation(graph: &mut GraphProto, output: &str) -> Option<BeforeActivation> {
    let index = Index::new(graph);
    let mut chain = index.chain(output, &[&SHAPING[..], &ROUNDING].concat())?;
    let last = chain.pop()?;
    let (activation, from) = match kind(last)? {
        "Softmax" => (Activation::Softmax, last.input.first()?),
        "Sigmoid" => (Activation::Sigmoid, last.input.first()?),
        // Of a log-softmax.
        "Exp" => (Activation::Softmax, last.input.first()?),
        // The softmax of older exporters: exp(x) / sum(exp(x)).
        "Div" => {
            let power = index.maker(last.input.first()?)?;
            if kind(power) != Some("Exp") {
                return None;
            }
            (Activation::Softmax, power.input.first()?)
        }
        _ => return None,
    };
    let rounds = chain.iter().any(|node| kind(node).is_some_and(|kind| ROUNDING.contains(&kind)));
    let mut logits = from.clone();
    let mut again = Vec::new();
    for (step, shaping) in chain.into_iter().rev().enumerate() {
        if kind(shaping).is_some_and(|kind| SHAPING.contains(&kind)) {
            let name = format!("faculty.logits.{step}");
            let mut copy = shaping.clone();
            copy.name = None;
            *copy.input.first_mut()? = logits;
            copy.output = vec![name.clone()];
            again.push(copy);
            logits = name;
        }
    }
    // A cast to whole numbers would cut logits; then nothing is found, and the output stands.
    drop(index);
    graph.node.extend(again);
    if graph.input.iter().any(|input| input.name.as_ref() == Some(&logits)) {
        // An input is no output of a node.
        let name = "faculty.logits".to_owned();
        graph.node.push(node("Identity", &[&logits], vec![name.clone()], Vec::new()));
        logits = name;
    }
    let tolerance = if rounds { (0.0, 1.0 / 100.0) } else { (1e-3, 1e-7) };
    Some(BeforeActivation { logits, activation, tolerance })
}

/// Whether all rows are probabilities: not negative, and of the sum 1, or 100.
pub(super) fn are_probabilities(outputs: &[f32], classes: usize) -> bool {
    classes > 1
        && !outputs.is_empty()
        && outputs.chunks_exact(classes).all(|row| {
            let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
            row.iter().all(|&p| p >= 0.0)
                && [1.0, 100.0].iter().any(|all| (sum / all - 1.0).abs() < 1e-3)
        })
}

/// Smallest probability that a logarithm is taken of: what float32 tells from 1.
const LEAST: f32 = 1e-7;

/// Logits of probabilities or percentages, row by row: their logarithm.
pub(super) fn log_of(outputs: &mut [f32], classes: usize) {
    for row in outputs.chunks_exact_mut(classes) {
        let sum: f32 = row.iter().sum();
        for p in row {
            // A NaN stays one.
            let share = *p / sum;
            *p = if share < LEAST { LEAST.ln() } else { share.ln() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_explains_its_own_outputs_and_no_others() {
        let logits = [2.0_f32, -1.0, 0.5, 30.0, 0.0, -30.0];
        let outputs = |activation: Activation| -> Vec<f32> {
            logits.chunks(3).flat_map(|row| activation.apply(row)).map(|p| p as f32).collect()
        };
        for activation in [Activation::Softmax, Activation::Sigmoid] {
            let before =
                BeforeActivation { logits: String::new(), activation, tolerance: (1e-3, 1e-7) };
            let own = outputs(activation);
            assert!(before.explain(&logits, &own, 2));
            let mut other = own.clone();
            other[1] += 0.01;
            assert!(!before.explain(&logits, &other, 2));
            assert!(!before.explain(&logits, &own[..3], 2));
            assert!(!before.explain(&[f32::NAN; 6], &own, 2));
        }
        assert_ne!(outputs(Activation::Softmax), outputs(Activation::Sigmoid));
    }

    #[test]
    fn probabilities_and_percentages_are_told_from_logits() {
        assert!(are_probabilities(&[0.2, 0.8, 1.0, 0.0], 2));
        assert!(are_probabilities(&[20.0, 80.0], 2));
        for outputs in [&[0.2, 0.9][..], &[-0.2, 1.2], &[f32::NAN, 1.0], &[0.2, 0.8, 0.2, 0.7], &[]]
        {
            assert!(!are_probabilities(outputs, 2), "{outputs:?}");
        }
        assert!(!are_probabilities(&[1.0, 1.0], 1));
        let mut outputs = [25.0, 75.0, 0.0, 100.0];
        log_of(&mut outputs, 2);
        let want = [0.25_f32.ln(), 0.75_f32.ln(), 1e-7_f32.ln(), 0.0];
        assert!(
            outputs.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6),
            "{outputs:?}"
        );
    }
}
