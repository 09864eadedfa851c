//! A network from an ONNX file with its weights.

use crate::error::Result;
use crate::network::Network;
use crate::networks::Architecture as _;
use crate::onnx_reader::{OnnxNetwork, Translated};
use crate::shape::MapShape;

impl OnnxNetwork {
    /// The network for samples of `input` with the weights of the file; `classes` outputs if given, in
    /// place of its own. With it comes what is other than in the file.
    ///
    /// What the file has no weights for, a last layer of another number of classes, is drawn from
    /// `seed`.
    ///
    /// # Errors
    /// [`crate::Error::OnnxNodes`] with every node that cannot be read.
    pub fn network(
        &self,
        input: MapShape,
        classes: Option<usize>,
        seed: u64,
    ) -> Result<(Network, Vec<String>)> {
        let Translated { graph, parameters, buffers, mut notes } =
            self.translated(input, classes)?;
        let mut network = Network::from_graph(self.name(), graph, seed);
        for (own, values) in network.parameters.iter_mut().zip(&parameters) {
            if let Some(values) = values {
                own.copy_from_slice(values);
            }
        }
        for (own, values) in network.buffers.iter_mut().zip(&buffers) {
            own.copy_from_slice(values);
        }
        let new = |(spec, values): (&crate::ParameterSpec, &Option<Vec<f32>>)| {
            values.is_none().then(|| format!("`{}`", spec.name))
        };
        let new: Vec<String> =
            network.graph().parameters().iter().zip(&parameters).filter_map(new).collect();
        if !new.is_empty() {
            let classes = network.classes();
            notes.push(format!("for {classes} classes, {} start afresh", new.join(" and ")));
        }
        Ok((network, notes))
    }
}
