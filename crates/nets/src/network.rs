//! A graph with values: parameters and running statistics.

use std::path::Path;
use std::sync::Arc;

use crate::builder::GraphBuilder;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::shape::MapShape;
use crate::shortened::shortened;
use crate::weights::{Array, StateDict, WeightFile};
use crate::{initial, named};

/// A network ready to run: its graph, parameters and running statistics.
#[derive(Clone, Debug)]
pub struct Network {
    name: String,
    graph: Arc<Graph>,
    pub(crate) parameters: Vec<Vec<f32>>,
    pub(crate) buffers: Vec<Vec<f32>>,
}

/// What a classifier needs beside its map: weight `[classes, channels]` and bias `[classes]`.
#[derive(Clone, Copy, Debug)]
pub struct Classifier<'a> {
    /// Row-major `[classes, channels]`.
    pub weight: &'a [f32],
    /// `[classes]`.
    pub bias: &'a [f32],
}

impl Network {
    /// A named network (see [`crate::graph_of`]) with PyTorch's start values drawn from `seed`.
    ///
    /// # Errors
    /// When the name is unknown or the image too small.
    pub fn new(name: &str, input: MapShape, classes: usize, seed: u64) -> Result<Self> {
        let graph = named::graph_of(name, input, classes)?;
        Ok(Self::from_graph(&named::lasting_name(name)?, graph, seed))
    }

    /// A network of your own graph, with start values drawn from `seed`.
    #[must_use]
    pub fn from_graph(name: &str, graph: Graph, seed: u64) -> Self {
        let parameters = graph.parameters.iter().map(|spec| initial::fill(spec, seed)).collect();
        let buffers = graph.buffers.iter().map(|spec| vec![spec.initial; spec.len]).collect();
        Self { name: name.to_owned(), graph: Arc::new(graph), parameters, buffers }
    }

    /// A network of your own graph with all values of a state dict; `path` only names it in errors.
    /// Nothing is reserved before every tensor is known to fit.
    pub(crate) fn of_state(
        name: &str,
        graph: Graph,
        mut state: StateDict,
        path: &Path,
    ) -> Result<Self> {
        check_fit(name, &graph, &state, path)?;
        let mut take = |name: &str| state.remove(name).map_or(Vec::new(), |array| array.values);
        let parameters = graph.parameters.iter().map(|spec| take(&spec.name)).collect();
        let buffers = graph.buffers.iter().map(|spec| take(&spec.name)).collect();
        Ok(Self { name: name.to_owned(), graph: Arc::new(graph), parameters, buffers })
    }

    /// A named network with the weights of a `.pth`, `.pt` or `.safetensors` file.
    ///
    /// # Errors
    /// When the file cannot be read, belongs to another network, or holds several sets of weights.
    pub fn load(name: &str, input: MapShape, classes: usize, path: &Path) -> Result<Self> {
        let mut file = WeightFile::open(path, None)?;
        Ok(Self::from_file(name, input, Some(classes), &mut file)?.0)
    }

    /// The same from an open file, with as many classes as it has unless their number is given; and
    /// what to know about the weights (see [`crate::weights::Fit::notes`]).
    ///
    /// # Errors
    /// When it belongs to another network, or holds several sets of weights and no key says which.
    pub fn from_file(
        name: &str,
        input: MapShape,
        classes: Option<usize>,
        file: &mut WeightFile,
    ) -> Result<(Self, Vec<String>)> {
        let probe = named::graph_of(name, input, classes.unwrap_or(1))?;
        let fit = file.fit(&probe, name)?;
        // Read first: it is the reader that bounds what the file may take.
        let state = file.take(&fit)?;
        let graph = match (classes, fit.classes) {
            (None, Some(own)) => named::graph_of(name, input, own)?,
            _ => probe,
        };
        let mut network = Self::from_graph(&named::lasting_name(name)?, graph, 0);
        network.set_state_dict(&state, file.path())?;
        Ok((network, fit.notes))
    }

    /// Name in the table of networks, or the one given with the graph.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The structure.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    pub(crate) fn set_graph(&mut self, graph: Arc<Graph>) {
        self.graph = graph;
    }

    /// Number of classes: the length of the output.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.graph.shape(self.graph.output()).channels
    }

    /// Parameter values, one vector per [`Graph::parameters`] entry.
    #[must_use]
    pub fn parameters(&self) -> &[Vec<f32>] {
        &self.parameters
    }

    /// Parameter values for an optimiser. Lengths must stay as they are.
    #[must_use]
    pub fn parameters_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.parameters
    }

    /// Running statistics, one vector per [`Graph::buffers`] entry.
    #[must_use]
    pub fn buffers(&self) -> &[Vec<f32>] {
        &self.buffers
    }

    /// The same, to put earlier ones back. Lengths must stay as they are.
    #[must_use]
    pub fn buffers_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.buffers
    }

    /// The classifier behind global average pooling, if the network ends so.
    #[must_use]
    pub fn classifier(&self) -> Option<Classifier<'_>> {
        self.graph.classifier().map(|ids| Classifier {
            weight: &self.parameters[ids.weight.0],
            bias: &self.parameters[ids.bias.0],
        })
    }

    /// Bias of the linear layer that gives the output, `[classes]`; `None` for a network that ends
    /// otherwise, as none of the table does.
    #[must_use]
    pub fn output_bias_mut(&mut self) -> Option<&mut [f32]> {
        let bias = *self.graph.output_layer().last()?;
        Some(&mut self.parameters[bias.0])
    }

    /// This network as far as `value`, and a linear layer on that map, flattened: a classifier in
    /// the middle of the network. `weight` is `[classes, elements of the map]`, `bias` `[classes]`.
    ///
    /// # Panics
    /// If their lengths are others.
    #[must_use]
    pub fn with_head(&self, value: ValueId, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let elements = self.graph.shape(value).elements();
        assert_eq!(weight.len(), bias.len() * elements, "a row of {elements} for each class");
        let mut builder = GraphBuilder::from_part(&self.graph, value);
        builder.linear("head", value, bias.len());
        let mut network = Self { graph: Arc::new(builder.finish()), ..self.clone() };
        network.parameters.extend([weight, bias]);
        network
    }

    /// All values under their PyTorch names.
    #[must_use]
    pub fn state_dict(&self) -> StateDict {
        let parameters =
            self.graph.parameters.iter().zip(&self.parameters).map(|(spec, values)| {
                let array = Array { shape: spec.shape.clone(), values: values.clone() };
                (spec.name.clone(), array)
            });
        let buffers = self.graph.buffers.iter().zip(&self.buffers).map(|(spec, values)| {
            (spec.name.clone(), Array { shape: vec![spec.len], values: values.clone() })
        });
        parameters.chain(buffers).collect()
    }

    /// Takes all values from a state dict; `path` only names it in errors.
    ///
    /// # Errors
    /// When a tensor is missing, unexpected or of another shape; then nothing is changed.
    pub fn set_state_dict(&mut self, state: &StateDict, path: &Path) -> Result<()> {
        check_fit(&self.name, &self.graph, state, path)?;
        for (spec, values) in self.graph.parameters.iter().zip(&mut self.parameters) {
            values.clone_from(&state[&spec.name].values);
        }
        for (spec, values) in self.graph.buffers.iter().zip(&mut self.buffers) {
            values.clone_from(&state[&spec.name].values);
        }
        Ok(())
    }
}

/// An error if a state dict is not that of a graph.
fn check_fit(name: &str, graph: &Graph, state: &StateDict, path: &Path) -> Result<()> {
    let problems = misfits(graph, state);
    if problems.is_empty() {
        return Ok(());
    }
    let (path, network, problems) = (path.to_owned(), name.to_owned(), shortened(problems));
    Err(Error::DoNotFit { path, network, problems })
}

/// Every tensor of a state dict that a graph has not, has in another shape, or misses there.
pub(crate) fn misfits(graph: &Graph, state: &StateDict) -> Vec<String> {
    let parameters = graph.parameters.iter().map(|p| (&p.name, p.shape.clone()));
    let buffers = graph.buffers.iter().map(|b| (&b.name, vec![b.len]));
    let expected: std::collections::BTreeMap<_, _> = parameters.chain(buffers).collect();
    let mut problems: Vec<String> = Vec::new();
    for (&name, shape) in &expected {
        match state.get(name) {
            None => problems.push(format!("`{name}` is missing")),
            Some(array) if array.shape != *shape => problems
                .push(format!("`{name}` has shape {:?}, the network wants {shape:?}", array.shape)),
            Some(_) => {}
        }
    }
    problems.extend(
        state
            .keys()
            .filter(|name| !expected.contains_key(name))
            .map(|name| format!("`{name}` is unexpected")),
    );
    problems
}
