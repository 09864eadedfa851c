//! From a [`Plan`] to a graph for images of a size.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::Expression;
use super::fault::Fault;
use super::plan::{Blocks, Entry, Kind, Layer, Name, Piece, Plan};
use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::shape::{MapShape, Window};
use crate::tap::Tap;

/// Channels of a value, and classes.
const MOST_CHANNELS: i64 = 1 << 20;
/// Side of a window, its stride and its padding.
const MOST_SIDE: i64 = 1 << 10;
/// Values of the network.
const MOST_LAYERS: usize = 20_000;
/// Parameters, 1 GiB of them: what a short file may ask for.
const MOST_PARAMETERS: usize = 1 << 28;

/// The network for samples of `input`.
pub(super) fn build(plan: &Plan, input: MapShape, classes: usize) -> Result<Graph, Fault> {
    let (builder, image) = GraphBuilder::new(input);
    let mut work = Work {
        plan,
        builder,
        values: BTreeMap::new(),
        last: image,
        image,
        classes,
        names: BTreeSet::new(),
        parameters: 0,
        taps: 0,
        pooled: None,
        is_over: false,
    };
    let line = match plan.network.last() {
        Some(Entry::Layer(layer)) => layer.line,
        Some(Entry::Blocks(blocks)) => blocks.line,
        None => 1,
    };
    let outer =
        Frame { block: None, prefix: String::new(), parameters: BTreeMap::new(), input: image };
    for entry in &plan.network {
        match entry {
            Entry::Layer(layer) => work.layer(layer, &outer)?,
            Entry::Blocks(blocks) => work.blocks(blocks)?,
        }
    }
    if !work.is_over {
        let problem = "the network does not end in a classifier".to_owned();
        let hint = "add `{ classifier = \"fc\" }` as the last layer".to_owned();
        return Err(Fault { line, problem, hint });
    }
    Ok(work.builder.finish())
}

/// Where a layer stands.
struct Frame<'a> {
    block: Option<&'a str>,
    /// In front of the names of layers.
    prefix: String,
    parameters: BTreeMap<&'a str, i64>,
    /// What the block reads.
    input: ValueId,
}

struct Work<'a> {
    plan: &'a Plan,
    builder: GraphBuilder,
    values: BTreeMap<String, ValueId>,
    last: ValueId,
    image: ValueId,
    classes: usize,
    /// Of layers with parameters.
    names: BTreeSet<String>,
    parameters: usize,
    taps: usize,
    /// The map of the last `global_pool` outside blocks.
    pooled: Option<ValueId>,
    is_over: bool,
}

impl Work<'_> {
    fn blocks(&mut self, own: &Blocks) -> Result<(), Fault> {
        let layers = self.plan.blocks.get(&own.block).map_or(&[][..], Vec::as_slice);
        for repetition in 0..own.repeat {
            let mut parameters: BTreeMap<&str, i64> =
                own.parameters.iter().map(|(name, &value)| (name.as_str(), value)).collect();
            // Only the first one of a stage makes maps smaller.
            let stride = parameters.get("stride").copied().filter(|_| repetition == 0);
            parameters.insert("stride", stride.unwrap_or(1));
            parameters.insert("i", own.first.saturating_add(repetition));
            let mut frame = Frame {
                block: Some(&own.block),
                prefix: String::new(),
                parameters,
                input: self.last,
            };
            let prefix = self.name(&own.name, own.line, &frame, self.last)?;
            frame.prefix = format!("{prefix}.");
            self.values.insert("input".to_owned(), self.last);
            self.values.insert("shortcut".to_owned(), self.last);
            for layer in layers {
                self.layer(layer, &frame)?;
            }
        }
        if own.tap {
            let frame = Frame {
                block: None,
                prefix: String::new(),
                parameters: BTreeMap::new(),
                input: self.last,
            };
            self.tap(own.line, &frame)?;
        }
        Ok(())
    }

    fn tap(&mut self, line: usize, frame: &Frame<'_>) -> Result<(), Fault> {
        self.taps += 1;
        if self.taps > Tap::MOST + 1 {
            let most = Tap::MOST + 1;
            return Err(fault(line, frame, format!("more than {most} taps"), "leave some out"));
        }
        if self.last == self.image {
            let what = "the image itself is no tap".to_owned();
            return Err(fault(line, frame, what, "put the tap behind a layer"));
        }
        self.builder.feature(self.last);
        Ok(())
    }

    fn layer(&mut self, layer: &Layer, frame: &Frame<'_>) -> Result<(), Fault> {
        let line = layer.line;
        if self.is_over {
            let what = "something stands behind the classifier".to_owned();
            return Err(fault(line, frame, what, "put the classifier last"));
        }
        let source = match &layer.from {
            Some(name) => self.value(name, line, frame)?,
            None => self.last,
        };
        if let Some(when) = &layer.when
            && self.number(when, line, frame, source)? == 0
        {
            return Ok(());
        }
        if self.builder.graph.nodes.len() > MOST_LAYERS {
            let what = format!("the network has more than {MOST_LAYERS} layers");
            return Err(fault(line, frame, what, "repeat blocks less often"));
        }
        self.last = self.made(&layer.kind, line, frame, source)?;
        if let Some(name) = &layer.to {
            self.values.insert(name.clone(), self.last);
        }
        if layer.tap { self.tap(line, frame) } else { Ok(()) }
    }

    fn made(
        &mut self,
        kind: &Kind,
        line: usize,
        frame: &Frame<'_>,
        source: ValueId,
    ) -> Result<ValueId, Fault> {
        let shape = self.builder.shape(source);
        let number = |work: &Self, own: &Expression| work.number(own, line, frame, source);
        let or = |work: &Self, own: &Option<Expression>, default: i64| {
            own.as_ref().map_or(Ok(default), |own| number(work, own))
        };
        let wrong = |problem: String, hint: &str| fault(line, frame, problem, hint);
        match kind {
            Kind::Conv { name, channels, kernel, stride, padding, groups, bias, add } => {
                let name = self.new_name(name, line, frame, source)?;
                let within = |what: &str, value: i64, range: std::ops::RangeInclusive<i64>| {
                    if range.contains(&value) {
                        return Ok(value as usize);
                    }
                    let (least, most) = (range.start(), range.end());
                    let hint = format!("give a number from {least} to {most}");
                    Err(wrong(format!("`{name}` has {what} {value}"), &hint))
                };
                let channels = within("channels", number(self, channels)?, 1..=MOST_CHANNELS)?;
                let kernel = number(self, kernel)?;
                let kernel = within("kernel", kernel, 1..=MOST_SIDE)?;
                let stride = within("stride", or(self, stride, 1)?, 1..=MOST_SIDE)?;
                let padding = or(self, padding, kernel as i64 / 2)?;
                let padding = within("padding", padding, 0..=kernel as i64)?;
                let groups = within("groups", or(self, groups, 1)?, 1..=MOST_CHANNELS)?;
                if !shape.channels.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
                    let from = shape.channels;
                    let what =
                        format!("`{name}` makes {channels} channels of {from} in {groups} groups");
                    return Err(wrong(what, "give a number of groups that divides both"));
                }
                self.count(
                    channels.saturating_mul(shape.channels / groups * kernel * kernel),
                    line,
                    frame,
                )?;
                let config = Conv2dConfig {
                    out_channels: channels,
                    kernel,
                    stride,
                    padding,
                    groups,
                    bias: *bias,
                    start: self.plan.start,
                };
                let window = Window { kernel, stride, padding };
                let to = MapShape { channels, ..self.windowed(&name, shape, window, line, frame)? };
                let add = self.added(add, &name, source, to, line, frame)?;
                self.builder.conv2d_plus(&name, source, add, config).map_err(|error| {
                    wrong(error.to_string(), "use larger images, or fewer strides and poolings")
                })
            }
            Kind::BatchNorm { name, relu, add, config } => {
                let name = self.new_name(name, line, frame, source)?;
                let add = self.added(add, &name, source, shape, line, frame)?;
                Ok(self.builder.batch_norm_with(&name, source, add, *relu, *config))
            }
            Kind::Activation(kind) => Ok(self.builder.activation(source, *kind)),
            Kind::GlobalPool => {
                if frame.block.is_none() {
                    self.pooled = Some(source);
                }
                Ok(self.builder.global_avg_pool(source))
            }
            Kind::Product(name) => {
                let map = self.value(name, line, frame)?;
                let of = self.builder.shape(map);
                if map == source || (shape != of && shape != MapShape::new(of.channels, 1, 1)) {
                    let what = format!("`product` of `{name}`, {of}, and {shape}");
                    return Err(wrong(
                        what,
                        "name another value, of the same shape or with a position for each of its \
                         channels' factors",
                    ));
                }
                Ok(self.builder.product(map, source))
            }
            Kind::Sum(name) => {
                let other = self.added(&Some(name.clone()), "sum", source, shape, line, frame)?;
                Ok(other.map_or(source, |other| self.builder.sum(source, other)))
            }
            Kind::Dropout(share) => Ok(self.builder.dropout(source, *share as f32)),
            Kind::StochasticDepth { share, part, of } => {
                let (part, of) = (or(self, part, 1)?, or(self, of, 1)?);
                if !(0 <= part && part <= of && of > 0) {
                    let what = format!("`stochastic_depth` of part {part} of {of}");
                    return Err(wrong(what, "give a `part` from 0 to `of`"));
                }
                let share = share * part as f64 / of as f64;
                Ok(self.builder.stochastic_depth(source, share as f32))
            }
            Kind::Linear { name, outputs, start } => {
                let name = self.new_name(name, line, frame, source)?;
                let outputs = number(self, outputs)?;
                if !(1..=MOST_CHANNELS).contains(&outputs) {
                    let what = format!("`{name}` has outputs {outputs}");
                    let hint = format!("give a number from 1 to {MOST_CHANNELS}");
                    return Err(wrong(what, &hint));
                }
                let (inputs, outputs) = (shape.elements(), outputs as usize);
                self.count(inputs.saturating_mul(outputs), line, frame)?;
                let made = self.builder.linear(&name, source, outputs);
                if let Some([weight, bias]) = start.values(inputs, outputs) {
                    self.builder.start_linear(weight, bias);
                }
                Ok(made)
            }
            Kind::Pool { max, kernel, stride, padding } => {
                let name = if *max { "max_pool" } else { "avg_pool" };
                let kernel = number(self, kernel)?;
                let stride = or(self, stride, kernel)?;
                let padding = or(self, padding, 0)?;
                let is_window = (1..=MOST_SIDE).contains(&kernel)
                    && (1..=MOST_SIDE).contains(&stride)
                    && (0..=kernel / 2).contains(&padding);
                if !is_window {
                    let what =
                        format!("`{name}` of {kernel} at stride {stride} with padding {padding}");
                    return Err(wrong(
                        what,
                        "give sides from 1, and padding of at most half of them",
                    ));
                }
                let window = Window {
                    kernel: kernel as usize,
                    stride: stride as usize,
                    padding: padding as usize,
                };
                self.windowed(name, shape, window, line, frame)?;
                let made = if *max {
                    self.builder.max_pool(name, source, window)
                } else {
                    self.builder.avg_pool(name, source, window)
                };
                made.map_err(|error| {
                    wrong(error.to_string(), "use larger images, or fewer poolings")
                })
            }
            Kind::Shuffle { groups } => {
                let groups = number(self, groups)?;
                let groups = self.dividing(groups, shape.channels, line, frame)?;
                Ok(self.builder.channel_shuffle(source, groups))
            }
            Kind::Concat { values: [first, second], groups, first: from, last: to } => {
                let [left, right] =
                    [self.value(first, line, frame)?, self.value(second, line, frame)?];
                let [a, b] = [self.builder.shape(left), self.builder.shape(right)];
                if left == right || (a.height, a.width) != (b.height, b.width) {
                    let what = format!("`concat` of `{first}`, {a}, and `{second}`, {b}");
                    return Err(wrong(what, "join two values of one height and width"));
                }
                let all = (a.channels + b.channels) as i64;
                let (from, to) = (or(self, from, 0)?, or(self, to, all)?);
                if all > MOST_CHANNELS {
                    let what = format!("`concat` of {all} channels, of at most {MOST_CHANNELS}");
                    return Err(wrong(what, "join fewer"));
                }
                if !(0 <= from && from < to && to <= all) {
                    let what = format!("`concat` keeps channels {from} to {to} of {all}");
                    return Err(wrong(
                        what,
                        "give `first` below `last`, which is not above all channels",
                    ));
                }
                let groups = or(self, groups, 1)?;
                let groups = self.dividing(groups, all as usize, line, frame)?;
                Ok(self.builder.concat_channels(left, right, groups, from as usize..to as usize))
            }
            Kind::Value(name) => self.value(name, line, frame),
            Kind::Classifier { name, start, pooled } => {
                if frame.block.is_some() {
                    return Err(wrong(
                        "a block has a classifier".to_owned(),
                        "put it into `network`",
                    ));
                }
                let name = self.new_name(name, line, frame, source)?;
                self.count(shape.channels.saturating_mul(self.classes), line, frame)?;
                let made = match (*pooled, self.pooled) {
                    (false, _) => self.builder.pooled_classifier(&name, source, self.classes),
                    (true, Some(map)) if shape.positions() == 1 => {
                        self.builder.vector_classifier(&name, map, source, self.classes)
                    }
                    (true, _) => {
                        let what = format!("`{name}` is to read a pooled map, and reads {shape}");
                        let hint = "write `{ global_pool = \"average\" }` into `network` in front \
                                    of it, or leave out `pooled`";
                        return Err(wrong(what, hint));
                    }
                };
                if let Some([weight, bias]) = start.values(shape.channels, self.classes) {
                    self.builder.start_linear(weight, bias);
                }
                self.is_over = true;
                Ok(made)
            }
        }
    }

    /// A value that is added to a layer's result.
    fn added(
        &self,
        add: &Option<String>,
        name: &str,
        source: ValueId,
        shape: MapShape,
        line: usize,
        frame: &Frame<'_>,
    ) -> Result<Option<ValueId>, Fault> {
        let Some(add) = add else { return Ok(None) };
        let value = self.value(add, line, frame)?;
        let own = self.builder.shape(value);
        if value == source || own != shape {
            let what = format!("`{name}` gives {shape}, and `{add}`, which it adds, is {own}");
            let hint = match value == source {
                true => "add another value than the one that it reads",
                false => "bring it to that shape first, with a convolution of kernel 1",
            };
            return Err(fault(line, frame, what, hint));
        }
        Ok(Some(value))
    }

    fn windowed(
        &self,
        name: &str,
        shape: MapShape,
        Window { kernel, stride, padding }: Window,
        line: usize,
        frame: &Frame<'_>,
    ) -> Result<MapShape, Fault> {
        if shape.height.min(shape.width) + 2 * padding < kernel {
            let what = format!("`{name}` of {kernel} does not fit into {shape}");
            return Err(fault(
                line,
                frame,
                what,
                "use larger images, or fewer strides and poolings",
            ));
        }
        let side = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        Ok(MapShape { height: side(shape.height), width: side(shape.width), ..shape })
    }

    fn dividing(
        &self,
        groups: i64,
        channels: usize,
        line: usize,
        frame: &Frame<'_>,
    ) -> Result<usize, Fault> {
        match usize::try_from(groups) {
            Ok(groups) if groups > 0 && channels.is_multiple_of(groups) => Ok(groups),
            _ => {
                let what = format!("{channels} channels are shuffled in {groups} groups");
                Err(fault(line, frame, what, "give a number of groups that divides the channels"))
            }
        }
    }

    /// Notes parameters before they are made.
    fn count(&mut self, parameters: usize, line: usize, frame: &Frame<'_>) -> Result<(), Fault> {
        self.parameters = self.parameters.saturating_add(parameters);
        if self.parameters > MOST_PARAMETERS {
            let what = format!("the network has more than {MOST_PARAMETERS} parameters");
            return Err(fault(line, frame, what, "give fewer channels"));
        }
        Ok(())
    }

    fn value(&self, name: &str, line: usize, frame: &Frame<'_>) -> Result<ValueId, Fault> {
        let found = match (name, frame.block) {
            ("input", None) => Some(self.image),
            _ => self.values.get(name).copied(),
        };
        found.ok_or_else(|| {
            let mut known: Vec<&str> = self.values.keys().map(String::as_str).collect();
            if known.is_empty() {
                known.push("input");
            }
            let hint = format!("values so far are `{}`; `to` names more", known.join("`, `"));
            fault(line, frame, format!("there is no value `{name}` yet"), &hint)
        })
    }

    fn number(
        &self,
        own: &Expression,
        line: usize,
        frame: &Frame<'_>,
        source: ValueId,
    ) -> Result<i64, Fault> {
        let image = self.builder.shape(self.image);
        let of = |name: &str| match name {
            "in" => Some(self.builder.shape(source).channels as i64),
            "input" => Some(self.builder.shape(frame.input).channels as i64),
            "side" => Some(image.height.min(image.width) as i64),
            _ => frame.parameters.get(name).copied(),
        };
        own.value(&of).map_err(|why| {
            let names: Vec<&str> = ["in", "input", "side"]
                .into_iter()
                .chain(frame.parameters.keys().copied())
                .collect();
            fault(line, frame, why, &format!("names of numbers here are `{}`", names.join("`, `")))
        })
    }

    fn name(
        &self,
        name: &Name,
        line: usize,
        frame: &Frame<'_>,
        source: ValueId,
    ) -> Result<String, Fault> {
        let mut text = frame.prefix.clone();
        for piece in &name.0 {
            match piece {
                Piece::Text(own) => text += own,
                Piece::Number(own) => text += &self.number(own, line, frame, source)?.to_string(),
            }
        }
        Ok(text)
    }

    /// The name of a layer with parameters, which no other one has.
    fn new_name(
        &mut self,
        name: &Name,
        line: usize,
        frame: &Frame<'_>,
        source: ValueId,
    ) -> Result<String, Fault> {
        let name = self.name(name, line, frame, source)?;
        if !self.names.insert(name.clone()) {
            let what = format!("two layers are called `{name}`");
            let hint =
                "give each its own name; `{i}` in the name of a block counts its repetitions";
            return Err(fault(line, frame, what, hint));
        }
        Ok(name)
    }
}

/// A fault with the block in which it is.
fn fault(line: usize, frame: &Frame<'_>, problem: String, hint: &str) -> Fault {
    let place = match frame.block {
        Some(block) => format!("block `{block}` as `{}`: ", frame.prefix.trim_end_matches('.')),
        None => String::new(),
    };
    Fault { line, problem: format!("{place}{problem}"), hint: hint.to_owned() }
}
