//! Node by node from the file's graph to ours.

use std::collections::{HashMap, HashSet};

use super::axes::Axes;
use super::fused::{self, Fusion};
use super::known::Known;
use super::model::{OnnxModel, OnnxNode};
use super::symbol::{Constant, Read, Symbol, Unread};
use crate::builder::GraphBuilder;
use crate::graph::Graph;
use crate::op::Op;
use crate::op::reshape::Reshape;
use crate::parameter::{BufferId, BufferSpec, Init, ParameterId, ParameterSpec, ValueId};
use crate::shape::MapShape;

/// Numbers of a sample in one value: 1 GiB of float32.
const MOST_ELEMENTS: usize = 1 << 28;

/// A graph made of a file, and the values that the file has for it.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) graph: Graph,
    /// For each parameter its values in the file; `None` for a new output layer.
    pub(crate) parameters: Vec<Option<Vec<f32>>>,
    pub(crate) buffers: Vec<Vec<f32>>,
    /// What is other than in the file.
    pub(crate) notes: Vec<String>,
}

/// The graph so far, and what each name of the file is in it.
pub(super) struct Translator<'m> {
    pub(super) model: &'m OnnxModel,
    pub(super) builder: GraphBuilder,
    pub(super) symbols: HashMap<String, Symbol>,
    /// Small tensors of known numbers.
    pub(super) known: HashMap<String, Known>,
    /// The nodes that read each tensor.
    readers: HashMap<&'m str, Vec<usize>>,
    /// Nodes that an earlier one was read together with.
    pub(super) done: Vec<bool>,
    pub(super) fusions: HashMap<usize, Fusion>,
    names: HashSet<String>,
    parameters: Vec<Option<Vec<f32>>>,
    buffers: Vec<Vec<f32>>,
    notes: Vec<String>,
    /// The node of the last layer with weights, and how many outputs it is to have.
    head: Option<(usize, usize)>,
    /// The node that is being read.
    pub(super) at: usize,
    dropouts: usize,
    /// Concatenations so far, so that those that begin alike are made once.
    pub(super) joined: HashMap<Vec<ValueId>, ValueId>,
}

/// The tensor of the logits: the output, or what its last activation is of; and that activation.
fn logits(model: &OnnxModel) -> (&str, Option<&str>) {
    let (mut output, mut activation) = (model.output.as_str(), None);
    // No chain is longer than the graph; a circle would be.
    for _ in 0..model.nodes.len() {
        let Some(node) = model.makers.get(output).map(|&number| &model.nodes[number]) else {
            break;
        };
        match (node.kind.as_str(), node.input(0)) {
            ("Softmax" | "LogSoftmax" | "Sigmoid", Some(input)) => {
                (output, activation) = (input, Some(node.kind.as_str()));
            }
            ("Identity" | "Cast", Some(input)) => output = input,
            _ => break,
        }
    }
    (output, activation)
}

/// The last layer with weights, if what comes after it knows no number of classes.
fn head(model: &OnnxModel, output: &str) -> Option<usize> {
    let mut name = output;
    for _ in 0..model.nodes.len() {
        let number = *model.makers.get(name)?;
        let node = &model.nodes[number];
        name = match node.kind.as_str() {
            "Gemm" | "MatMul" | "Conv" => return Some(number),
            "Add" => {
                let own = |name: &&String| model.constants.contains_key(*name);
                node.inputs.iter().find(|name| !own(name))?
            }
            "Flatten" | "Reshape" | "Squeeze" | "GlobalAveragePool" | "AveragePool"
            | "ReduceMean" | "Relu" | "Dropout" | "Identity" => node.input(0)?,
            _ => return None,
        };
    }
    None
}

impl<'m> Translator<'m> {
    /// With nothing read yet; and the tensor of the logits.
    ///
    /// # Errors
    /// When no layer can give `classes` outputs.
    pub(super) fn new(
        model: &'m OnnxModel,
        input: MapShape,
        classes: Option<usize>,
    ) -> Result<(Self, &'m str), Vec<String>> {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, node) in model.nodes.iter().enumerate() {
            for name in node.inputs.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(number);
            }
        }
        let (builder, image) = GraphBuilder::new(input);
        let mut done = vec![false; model.nodes.len()];
        let mut fusions = HashMap::new();
        for fusion in fused::find(model, &readers) {
            fusion.nodes.iter().for_each(|&node| done[node] = true);
            done[fusion.last] = false;
            fusions.insert(fusion.last, fusion);
        }
        let mut notes = Vec::new();
        let (output, activation) = logits(model);
        if let Some(kind) = activation {
            notes.push(format!("its last {kind} is left out: logits are learned"));
        }
        let constants = model.constants.iter();
        let symbols =
            constants.map(|(name, tensor)| (name.clone(), Symbol::constant(name, tensor)));
        let mut translator = Self {
            model,
            builder,
            symbols: symbols.collect(),
            known: HashMap::new(),
            readers,
            done,
            fusions,
            names: HashSet::new(),
            parameters: Vec::new(),
            buffers: Vec::new(),
            notes,
            head: classes.and_then(|classes| Some((head(model, output)?, classes))),
            at: 0,
            dropouts: 0,
            joined: HashMap::new(),
        };
        let axes = match model.is_channels_last(input) {
            true => Axes::map(input).channels_last(),
            false => Axes::map(input),
        };
        translator.symbols.insert(model.input.clone(), Symbol::Value(image, axes));
        Ok((translator, output))
    }

    pub(super) fn finish(
        mut self,
        output: &str,
        classes: Option<usize>,
    ) -> Result<Translated, String> {
        let shown = |Unread(text): Unread| text.unwrap_or_default();
        let (mut id, axes) = self.value(output).map_err(shown)?;
        let sizes = axes.sizes();
        let outputs = sizes.first().copied().unwrap_or(1);
        if sizes.iter().skip(1).any(|&size| size > 1) {
            return Err(format!(
                "output `{output}` is [batch, {sizes:?}], [batch, classes] is expected"
            ));
        }
        if classes.is_some_and(|classes| classes != outputs) {
            return Err(format!(
                "output `{output}` has {outputs} classes, and the layer that gives them cannot be told: \
                 export it with the classes of the data"
            ));
        }
        id = self.in_order(id, &axes).map_err(shown)?;
        // The output of a graph is the value made last.
        if id != self.builder.graph.output() || id.0 == 0 {
            let shape = self.builder.shape(id);
            self.builder.push(Reshape, [id], shape);
        }
        let mut graph = self.builder.finish();
        super::taps::mark(&mut graph);
        let Self { parameters, buffers, notes, .. } = self;
        Ok(Translated { graph, parameters, buffers, notes })
    }

    /// What a name stands for.
    pub(super) fn symbol(&self, name: &str) -> Read<&Symbol> {
        match self.symbols.get(name) {
            Some(Symbol::Missing) => Err(Unread(None)),
            Some(symbol) => Ok(symbol),
            None => {
                Err(format!("`{name}` is made by no node in front of it, and is no constant")
                    .into())
            }
        }
    }

    /// The same for an input of a node, by its place.
    pub(super) fn input<'n>(&self, node: &'n OnnxNode, index: usize) -> Read<&'n str> {
        node.input(index).ok_or_else(|| format!("it has no input {index}").into())
    }

    /// A value of the graph.
    pub(super) fn value(&self, name: &str) -> Read<(ValueId, Axes)> {
        match self.symbol(name)? {
            Symbol::Value(id, axes) => Ok((*id, axes.clone())),
            _ => Err(format!("`{name}` is a constant, a value is expected").into()),
        }
    }

    /// A map `[channels, height, width]` that lies so in memory.
    pub(super) fn map(&mut self, name: &str) -> Read<ValueId> {
        let (id, axes) = self.value(name)?;
        if axes.rank() != 3 {
            let sizes = axes.sizes();
            return Err(format!("`{name}` is [batch, {sizes:?}], a map is expected").into());
        }
        self.in_order(id, &axes)
    }

    /// A constant of floats.
    pub(super) fn constant(&self, name: &str) -> Read<Constant> {
        match self.symbol(name)? {
            Symbol::Constant(constant) => Ok(constant.clone()),
            _ => Err(format!("`{name}` is no constant of floats").into()),
        }
    }

    /// Whole numbers.
    pub(super) fn numbers(&self, name: &str) -> Read<Vec<Option<i64>>> {
        match self.symbol(name)? {
            Symbol::Numbers(numbers) => Ok(numbers.clone()),
            _ => Err(format!("`{name}` is not known while the file is read").into()),
        }
    }

    /// Whole numbers none of which is the size of the batch.
    pub(super) fn known(&self, name: &str) -> Read<Vec<i64>> {
        let numbers: Option<Vec<i64>> = self.numbers(name)?.into_iter().collect();
        numbers.ok_or_else(|| format!("`{name}` depends on the size of the batch").into())
    }

    /// The value with its axes in the order of memory, and of the shape that they give.
    pub(super) fn in_order(&mut self, mut id: ValueId, axes: &Axes) -> Read<ValueId> {
        let sizes = axes.sizes();
        let shape = match *sizes.as_slice() {
            [] => MapShape::new(1, 1, 1),
            [features] => MapShape::new(features, 1, 1),
            [channels, height] => MapShape::new(channels, height, 1),
            [channels, height, width] => MapShape::new(channels, height, width),
            _ => return Err(format!("a value [batch, {sizes:?}] has too many axes").into()),
        };
        if !axes.is_plain() {
            let groups = axes.shuffle_groups();
            let groups = groups.filter(|_| self.builder.shape(id).channels == shape.channels);
            let Some(groups) = groups else {
                return Err("it reads a value whose axes are in another order than [channels, height, width]".into());
            };
            id = self.builder.channel_shuffle(id, groups);
        }
        if self.builder.shape(id) != shape {
            id = self.push(Reshape, &[id], shape)?;
        }
        Ok(id)
    }

    /// Adds an operation.
    pub(super) fn push(
        &mut self,
        op: impl Op + 'static,
        inputs: &[ValueId],
        shape: MapShape,
    ) -> Read<ValueId> {
        let sizes = [shape.channels, shape.height, shape.width];
        let elements = sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
        if elements.is_none_or(|elements| elements == 0 || elements > MOST_ELEMENTS) {
            return Err(format!("its result would be {shape} for each image").into());
        }
        if let &[first, second] = inputs
            && first == second
        {
            // No operation reads one value twice.
            let copy = self.builder.push(Reshape, [second], self.builder.shape(second));
            return Ok(self.builder.push(op, [first, copy], shape));
        }
        Ok(self.builder.push(op, inputs.iter().copied(), shape))
    }

    /// Says what the first output of a node is.
    pub(super) fn set(&mut self, node: &OnnxNode, symbol: Symbol) -> Read<()> {
        let output = node.outputs.first().ok_or("it has no output")?;
        self.symbols.insert(output.clone(), symbol);
        Ok(())
    }

    pub(super) fn set_named(&mut self, name: &str, symbol: Symbol) {
        self.symbols.insert(name.to_owned(), symbol);
    }

    /// A map as the first output of a node.
    pub(super) fn set_map(&mut self, node: &OnnxNode, id: ValueId) -> Read<()> {
        let axes = Axes::map(self.builder.shape(id));
        self.set(node, Symbol::Value(id, axes))
    }

    /// A parameter that starts with the values of the file, if there are any.
    pub(super) fn parameter(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        initial: Init,
        values: Option<Vec<f32>>,
    ) -> ParameterId {
        let name = self.own_name(name);
        self.builder.graph.parameters.push(ParameterSpec { name, shape, initial });
        self.parameters.push(values);
        ParameterId(self.parameters.len() - 1)
    }

    /// The same for one that training leaves as it is.
    pub(super) fn frozen(&mut self, name: &str, values: Vec<f32>) -> ParameterId {
        // A constant of the network, whatever it starts with.
        let initial = Init::Constant(values.first().copied().unwrap_or(0.0));
        let id = self.parameter(name, vec![values.len()], initial, Some(values));
        self.builder.graph.frozen.push(id);
        id
    }

    /// A running statistic.
    pub(super) fn buffer(&mut self, constant: &Constant, initial: f32) -> BufferId {
        let (name, len) = (self.own_name(&constant.name), constant.values.len());
        self.builder.graph.buffers.push(BufferSpec { name, len, initial });
        self.buffers.push(constant.values.to_vec());
        BufferId(self.buffers.len() - 1)
    }

    /// Exporters write equal constants once; each layer has its own here.
    fn own_name(&mut self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let own = names.find(|name| !self.names.contains(name)).unwrap_or_default();
        self.names.insert(own.clone());
        own
    }

    /// How many outputs the layer that is being read gets instead of its own number.
    pub(super) fn new_outputs(&self, own: usize) -> Option<usize> {
        let (node, outputs) = self.head?;
        (node == self.at && outputs != own).then_some(outputs)
    }

    /// The number of the next dropout: each draws for itself.
    pub(super) fn next_dropout(&mut self) -> usize {
        self.dropouts += 1;
        self.dropouts - 1
    }

    /// The only node that reads a tensor, if it is of one of the `kinds` and nothing else needs the
    /// tensor.
    pub(super) fn only_reader(&self, name: &str, kinds: &[&str]) -> Option<(usize, &'m OnnxNode)> {
        let model = self.model;
        let &[number] = self.readers.get(name)?.as_slice() else { return None };
        let node = &model.nodes[number];
        let reads = node.inputs.iter().filter(|input| *input == name).count() == 1;
        let free = !self.done[number] && !self.fusions.contains_key(&number);
        (reads && free && name != model.output && kinds.contains(&node.kind.as_str()))
            .then_some((number, node))
    }

    /// Marks a node as read together with the one that is being read.
    pub(super) fn take(&mut self, number: usize) {
        self.done[number] = true;
    }
}
