//! From TOML to a [`Plan`], with the line of everything.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expression::Expression;
use super::fault::Fault;
use super::plan::{Blocks, Entry, Kind, Layer, LinearStart, Name, Piece, Plan};
use crate::activation_kind::ActivationKind;
use crate::builder::{BatchNormConfig, ConvInit};
use crate::op::batch_norm::{BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM};

/// Keys that name what an entry is; one of them stands in each.
const KINDS: [&str; 16] = [
    "conv",
    "batch_norm",
    "activation",
    "linear",
    "global_pool",
    "product",
    "sum",
    "dropout",
    "stochastic_depth",
    "max_pool",
    "avg_pool",
    "shuffle",
    "concat",
    "value",
    "classifier",
    "block",
];

/// Most repetitions of a block.
const MOST_REPETITIONS: i64 = 1000;

/// Reads a description.
pub(super) fn parse(text: &str) -> Result<Plan, Fault> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = lines.at(error.span().map_or(0, |span| span.start));
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        lines.fault_in(
            line,
            format!("not valid TOML: {message}"),
            "write `key = value`, text in quotes",
        )
    })?;
    let mut top = Keys::of(&lines, 1, table.get_ref());
    let start = match top.text("start")? {
        None => ConvInit::KaimingFanOut,
        Some((text, line)) => match text.as_str() {
            "kaiming-fan-out" => ConvInit::KaimingFanOut,
            "pytorch" => ConvInit::PyTorchDefault,
            other => {
                let what = format!("`start` is `{other}`");
                return Err(lines.fault_in(line, what, "write `kaiming-fan-out` or `pytorch`"));
            }
        },
    };
    let Some((network, line)) = top.take("network") else {
        let what = "there is no `network`".to_owned();
        let hint = "write `network = [ … ]`, a list of layers and blocks in their order";
        return Err(lines.fault_in(1, what, hint));
    };
    let network = entries(&lines, network, line, "network", true)?;
    let mut blocks = BTreeMap::new();
    if let Some((value, line)) = top.take("blocks") {
        let DeValue::Table(table) = value else {
            return Err(lines.fault_in(line, "`blocks` is no table".to_owned(), BLOCKS));
        };
        for (name, layers) in table {
            let line = lines.at(name.span().start);
            let place = format!("block `{}`", name.get_ref());
            let all = entries(&lines, layers.get_ref(), line, &place, false)?;
            let layers = all.into_iter().filter_map(|entry| match entry {
                Entry::Layer(layer) => Some(layer),
                Entry::Blocks(_) => None,
            });
            blocks.insert(name.get_ref().to_string(), layers.collect::<Vec<Layer>>());
        }
    }
    top.done("the description")?;
    let mut used = BTreeSet::new();
    for own in &network {
        let Entry::Blocks(Blocks { line, block, .. }) = own else { continue };
        if !blocks.contains_key(block) {
            let known: Vec<String> = blocks.keys().map(|name| format!("`{name}`")).collect();
            let hint = match known.as_slice() {
                [] => BLOCKS.to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            let problem = format!("there is no block `{block}`");
            return Err(Fault { line: *line, problem, hint });
        }
        used.insert(block.clone());
    }
    if let Some(unused) = blocks.keys().find(|name| !used.contains(*name)) {
        let line = table.get_ref().iter().find(|(key, _)| key.get_ref() == "blocks");
        let line = line.map_or(1, |(key, _)| lines.at(key.span().start));
        let what = format!("block `{unused}` is not used");
        return Err(lines.fault_in(line, what, "use it in `network`, or remove it"));
    }
    Ok(Plan { start, network, blocks })
}

const BLOCKS: &str =
    "write `[blocks]`, and below it `NAME = [ … ]`, a list of layers in their order";

/// The layers of a list, and in the network blocks too.
fn entries(
    lines: &Lines,
    value: &DeValue<'_>,
    line: usize,
    place: &str,
    is_network: bool,
) -> Result<Vec<Entry>, Fault> {
    let hint = "write `[ … ]` with one `{ … }` for each layer";
    let DeValue::Array(items) = value else {
        return Err(lines.fault_in(line, format!("{place} is no list"), hint));
    };
    if items.is_empty() {
        return Err(lines.fault_in(line, format!("{place} has no layers"), hint));
    }
    items.iter().map(|item| entry(lines, item, place, is_network)).collect()
}

fn entry(
    lines: &Lines,
    item: &Spanned<DeValue<'_>>,
    place: &str,
    is_network: bool,
) -> Result<Entry, Fault> {
    let line = lines.at(item.span().start);
    let DeValue::Table(table) = item.get_ref() else {
        let what = format!("{place} holds something that is no layer");
        return Err(lines.fault_in(line, what, "write `{ conv = \"conv1\", … }`"));
    };
    let mut keys = Keys::of(lines, line, table);
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| keys.has(kind)).collect();
    let [kind] = given[..] else {
        let all = KINDS.map(|kind| format!("`{kind}`")).join(", ");
        let what = match given.len() {
            0 => format!("a layer of {place} does not say what it is"),
            _ => format!("a layer of {place} is several things: `{}`", given.join("`, `")),
        };
        return Err(lines.fault_in(line, what, &format!("give one of {all}")));
    };
    if kind == "block" {
        if !is_network {
            let what = format!("{place} uses another block");
            return Err(lines.fault_in(
                line,
                what,
                "write its layers out: blocks are made of layers",
            ));
        }
        return Ok(Entry::Blocks(blocks(lines, keys, line)?));
    }
    let read = kind_of(&mut keys, kind)?;
    let layer = Layer {
        line,
        kind: read,
        from: match kind {
            // They name what they read.
            "concat" | "value" => None,
            _ => keys.word("from")?,
        },
        to: keys.word("to")?,
        when: keys.expression("when")?,
        // The network's end is no map.
        tap: kind != "classifier" && keys.flag("tap")?,
    };
    keys.done(&format!("`{kind}` of {place}"))?;
    Ok(Entry::Layer(layer))
}

fn kind_of(keys: &mut Keys<'_>, kind: &str) -> Result<Kind, Fault> {
    Ok(match kind {
        "conv" => Kind::Conv {
            name: keys.name(kind)?,
            channels: keys.required("channels")?,
            kernel: keys.required("kernel")?,
            stride: keys.expression("stride")?,
            padding: keys.expression("padding")?,
            groups: keys.expression("groups")?,
            bias: keys.flag("bias")?,
            add: keys.word("add")?,
        },
        "batch_norm" => Kind::BatchNorm {
            name: keys.name(kind)?,
            relu: keys.flag("relu")?,
            add: keys.word("add")?,
            config: BatchNormConfig {
                epsilon: keys.share("epsilon", f64::from(BATCH_NORM_EPSILON))? as f32,
                momentum: keys.share("momentum", f64::from(BATCH_NORM_MOMENTUM))? as f32,
            },
        },
        "activation" => Kind::Activation(keys.one_of(kind, &ActivationKind::NAMES)?),
        "linear" => Kind::Linear {
            name: keys.name(kind)?,
            outputs: keys.required("outputs")?,
            start: keys.linear_start()?,
        },
        "global_pool" => keys.one_of(kind, &[("average", Kind::GlobalPool)])?,
        "product" => Kind::Product(keys.word(kind)?.unwrap_or_default()),
        "sum" => Kind::Sum(keys.word(kind)?.unwrap_or_default()),
        "dropout" => Kind::Dropout(keys.share(kind, 0.0)?),
        "stochastic_depth" => Kind::StochasticDepth {
            share: keys.share(kind, 0.0)?,
            part: keys.expression("part")?,
            of: keys.expression("of")?,
        },
        "max_pool" | "avg_pool" => Kind::Pool {
            max: kind == "max_pool",
            kernel: keys.required(kind)?,
            stride: keys.expression("stride")?,
            padding: keys.expression("padding")?,
        },
        "shuffle" => Kind::Shuffle { groups: keys.required(kind)? },
        "concat" => Kind::Concat {
            values: keys.pair(kind)?,
            groups: keys.expression("groups")?,
            first: keys.expression("first")?,
            last: keys.expression("last")?,
        },
        "value" => Kind::Value(keys.word(kind)?.unwrap_or_default()),
        _ => Kind::Classifier {
            name: keys.name(kind)?,
            start: keys.linear_start()?,
            pooled: keys.flag("pooled")?,
        },
    })
}

fn blocks(lines: &Lines, mut keys: Keys<'_>, line: usize) -> Result<Blocks, Fault> {
    let block = keys.word("block")?.unwrap_or_default();
    if !keys.has("name") {
        let what = format!("block `{block}` has no name here");
        let hint = "add `name = \"layer1.{i}\"`, which stands before the names of its layers";
        return Err(lines.fault_in(line, what, hint));
    }
    let name = keys.name("name")?;
    let repeat = keys.number("repeat")?.unwrap_or(1);
    if !(1..=MOST_REPETITIONS).contains(&repeat) {
        let what = format!("`repeat` is {repeat}");
        return Err(lines.fault_in(line, what, "give a number from 1 to 1000"));
    }
    let first = keys.number("first")?.unwrap_or(0);
    let tap = keys.flag("tap")?;
    let mut parameters = BTreeMap::new();
    for key in keys.rest() {
        if ["input", "in", "side", "i"].contains(&key.as_str()) {
            let what = format!("`{key}` is no parameter of a block: it is known already");
            return Err(lines.fault_in(line, what, "give it another name"));
        }
        parameters.extend(keys.number(&key)?.map(|number| (key, number)));
    }
    Ok(Blocks { line, block, name, repeat, first, parameters, tap })
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line of a place, from 1.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset).max(1)
    }

    fn fault_in(&self, line: usize, problem: String, hint: &str) -> Fault {
        Fault { line, problem, hint: hint.to_owned() }
    }
}

/// The keys of a table, each taken once.
struct Keys<'a> {
    lines: &'a Lines,
    line: usize,
    left: BTreeMap<String, (&'a DeValue<'a>, usize)>,
}

impl<'a> Keys<'a> {
    fn of(lines: &'a Lines, line: usize, table: &'a DeTable<'a>) -> Self {
        let left = table.iter().map(|(key, value)| {
            (key.get_ref().to_string(), (value.get_ref(), lines.at(key.span().start)))
        });
        Self { lines, line, left: left.collect() }
    }

    fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    fn take(&mut self, key: &str) -> Option<(&'a DeValue<'a>, usize)> {
        self.left.remove(key)
    }

    fn rest(&self) -> Vec<String> {
        self.left.keys().cloned().collect()
    }

    fn text(&mut self, key: &str) -> Result<Option<(String, usize)>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some((DeValue::String(text), line)) => Ok(Some((text.to_string(), line))),
            Some((_, line)) => {
                let what = format!("`{key}` is no text");
                Err(self.lines.fault_in(line, what, &format!("write `{key} = \"…\"`")))
            }
        }
    }

    /// The name of a value or block.
    fn word(&mut self, key: &str) -> Result<Option<String>, Fault> {
        Ok(self.text(key)?.map(|(text, _)| text))
    }

    fn name(&mut self, key: &str) -> Result<Name, Fault> {
        let (text, line) = self.text(key)?.unwrap_or_default();
        if text.is_empty() {
            let what = format!("`{key}` is an empty name");
            return Err(self.lines.fault_in(line, what, "give the name in PyTorch's state dict"));
        }
        pieces(&text).map_err(|why| {
            let hint = "write `{i}` or another expression in braces, and everything else as it is";
            self.lines.fault_in(line, format!("`{text}`: {why}"), hint)
        })
    }

    fn flag(&mut self, key: &str) -> Result<bool, Fault> {
        match self.take(key) {
            None => Ok(false),
            Some((DeValue::Boolean(flag), _)) => Ok(*flag),
            Some((_, line)) => {
                let what = format!("`{key}` is neither true nor false");
                Err(self.lines.fault_in(
                    line,
                    what,
                    &format!("write `{key} = true`, or leave it out"),
                ))
            }
        }
    }

    fn number(&mut self, key: &str) -> Result<Option<i64>, Fault> {
        let Some((value, line)) = self.take(key) else { return Ok(None) };
        let number = match value {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let wrong = || {
            let what = format!("`{key}` is no whole number");
            self.lines.fault_in(line, what, &format!("write `{key} = 2`"))
        };
        number.map(Some).ok_or_else(wrong)
    }

    fn expression(&mut self, key: &str) -> Result<Option<Expression>, Fault> {
        if let Some((DeValue::String(text), line)) = self.left.get(key).copied() {
            self.left.remove(key);
            let hint = "write a number, or names, numbers, + - * / and parentheses in quotes";
            return Expression::parse(text).map(Some).map_err(|why| {
                self.lines.fault_in(line, format!("`{key} = \"{text}\"`: {why}"), hint)
            });
        }
        Ok(self.number(key)?.map(Expression::Number))
    }

    fn required(&mut self, key: &str) -> Result<Expression, Fault> {
        let missing = || {
            let what = format!("`{key}` is missing");
            self.lines.fault_in(self.line, what, &format!("add `{key} = …`"))
        };
        let line_fault = missing();
        self.expression(key)?.ok_or(line_fault)
    }

    fn pair(&mut self, key: &str) -> Result<[String; 2], Fault> {
        let (value, line) = self.take(key).unwrap_or((&DeValue::Boolean(false), self.line));
        if let DeValue::Array(items) = value
            && let [DeValue::String(first), DeValue::String(second)] =
                items.iter().map(Spanned::get_ref).collect::<Vec<_>>()[..]
        {
            return Ok([first.to_string(), second.to_string()]);
        }
        let what = format!("`{key}` is no pair of values");
        Err(self.lines.fault_in(line, what, &format!("write `{key} = [\"left\", \"right\"]`")))
    }

    fn linear_start(&mut self) -> Result<LinearStart, Fault> {
        if self.has("start") {
            self.one_of("start", &LinearStart::NAMES)
        } else {
            Ok(LinearStart::PyTorch)
        }
    }

    /// What a word of several stands for.
    fn one_of<T: Clone>(&mut self, key: &str, known: &[(&str, T)]) -> Result<T, Fault> {
        let (text, line) = self.text(key)?.unwrap_or_default();
        let found = known.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
            let what = format!("`{key}` is `{text}`");
            self.lines.fault_in(line, what, &format!("write one of {}", names.join(", ")))
        })
    }

    /// A number from 0 to below 1.
    fn share(&mut self, key: &str, default: f64) -> Result<f64, Fault> {
        let Some((value, line)) = self.take(key) else { return Ok(default) };
        let number = match value {
            DeValue::Float(digits) => digits.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(digits) if digits.as_str() == "0" => Some(0.0),
            _ => None,
        };
        number.filter(|number| (0.0..1.0).contains(number)).ok_or_else(|| {
            let what = format!("`{key}` is no number from 0 to below 1");
            self.lines.fault_in(line, what, &format!("write `{key} = 0.2`"))
        })
    }

    /// That nothing is left.
    fn done(self, place: &str) -> Result<(), Fault> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((key, (_, line))) => {
                let what = format!("{place} has no key `{key}`");
                Err(self.lines.fault_in(
                    line,
                    what,
                    "`docs/students.md` lists the keys of each layer",
                ))
            }
        }
    }
}

/// Text and expressions of a name.
fn pieces(text: &str) -> Result<Name, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        pieces.push(Piece::Text(rest[..open].to_owned()));
        let Some(length) = rest[open..].find('}') else {
            return Err("a `}` is missing".to_owned());
        };
        pieces.push(Piece::Number(Expression::parse(&rest[open + 1..open + length])?));
        rest = &rest[open + length + 1..];
    }
    if rest.contains('}') {
        return Err("a `{` is missing".to_owned());
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(Name(pieces))
}
