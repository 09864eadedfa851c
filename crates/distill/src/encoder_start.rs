//! A text encoder before its first step: drawn from the seed, or with layers of trained weights.

use faculty_data::Tokenize as _;
use faculty_nets::weights::WeightFile;
use faculty_nets::{EncoderConfig, EncoderFamily, EncoderFolder, Network, Pooling};
use faculty_teachers::{RunData, TeacherError, check_tokens};

use crate::error::{Error, Result};
use crate::recipe::{self, Device, Recipe};

/// Layers and width of a text encoder of which the recipe says nothing.
const LAYERS: usize = 2;
const WIDTH: usize = 128;

pub(crate) fn other_kind(spec: &recipe::Student, reads: &'static str, data: &'static str) -> Error {
    let (who, network) = ("the student".to_owned(), spec.network.clone());
    TeacherError::OtherKind { who, network, reads, data }.into()
}

/// A key of the recipe that only text encoders have.
pub(crate) fn text_key(spec: &recipe::Student) -> Option<&'static str> {
    let keys = [
        ("student.layers", spec.layers.is_some()),
        ("student.from_layers", spec.from_layers.is_some()),
        ("student.width", spec.width.is_some()),
        ("student.heads", spec.heads.is_some()),
        ("student.feed_forward", spec.feed_forward.is_some()),
        ("student.pooling", spec.pooling.is_some()),
        ("student.dropout", spec.dropout.is_some()),
        ("student.tokenizer", spec.tokenizer.is_some()),
        ("student.max_tokens", spec.max_tokens != recipe::Student::default().max_tokens),
    ];
    keys.into_iter().find(|(_, given)| *given).map(|(key, _)| key)
}

/// A student of this family, and what to know of its weights.
///
/// # Errors
/// When its sizes, its weights or its tokenizer do not fit.
pub(crate) fn open(
    recipe: &Recipe,
    family: EncoderFamily,
    data: &RunData,
    classes: usize,
) -> Result<(Network, Vec<String>)> {
    let spec = &recipe.student;
    if recipe.train.device != Device::Cpu {
        let device = recipe.train.device.name();
        return Err(Error::TextsOnCpu { device });
    }
    let tokenizer = data.tokenizer.as_ref().expect("the caller has looked");
    match &spec.weights {
        None => {
            let config = untrained(spec, family, tokenizer.vocabulary());
            check_tokens("the student", tokenizer, &config)?;
            let graph = config.graph(classes)?;
            Ok((Network::from_graph(family.name(), graph, recipe.seed), Vec::new()))
        }
        Some(path) => {
            let folder = EncoderFolder::open(path)?;
            let config = of_folder(spec, family, &folder)?;
            check_tokens("the student", tokenizer, &config)?;
            trained(spec, &folder, &config, classes, recipe.seed)
        }
    }
}

/// Sizes from the recipe alone.
fn untrained(spec: &recipe::Student, family: EncoderFamily, vocabulary: usize) -> EncoderConfig {
    let bag = family == EncoderFamily::Bag;
    let layers = if bag { 0 } else { spec.layers.unwrap_or(LAYERS) };
    let plain = EncoderConfig::new(family, vocabulary, layers, spec.width.unwrap_or(WIDTH));
    EncoderConfig {
        heads: if bag { 1 } else { spec.heads.unwrap_or(plain.heads) },
        intermediate: if bag { 0 } else { spec.feed_forward.unwrap_or(plain.intermediate) },
        pooling: pooling(spec).unwrap_or(Pooling::Mean),
        dropout: spec.dropout.map_or(plain.dropout, |share| share as f32),
        longest: plain.longest.max(spec.max_tokens),
        ..plain
    }
}

fn pooling(spec: &recipe::Student) -> Option<Pooling> {
    spec.pooling.as_deref().and_then(Pooling::of)
}

/// Sizes of a folder, with what the recipe changes.
fn of_folder(
    spec: &recipe::Student,
    family: EncoderFamily,
    folder: &EncoderFolder,
) -> Result<EncoderConfig> {
    let own = &folder.config;
    if own.family != family {
        return Err(Error::OtherFamily { named: family.name(), found: own.family.name() });
    }
    let fixed = [
        ("student.width", spec.width, own.width),
        ("student.heads", spec.heads, own.heads),
        ("student.feed_forward", spec.feed_forward, own.intermediate),
    ];
    for (key, given, own) in fixed {
        if let Some(given) = given.filter(|given| *given != own) {
            return Err(Error::FixedByWeights { key, given, own });
        }
    }
    let layers = spec.layers.or(spec.from_layers.as_ref().map(Vec::len)).unwrap_or(own.layers);
    if layers > own.layers && spec.from_layers.is_none() {
        return Err(Error::FixedByWeights {
            key: "student.layers",
            given: layers,
            own: own.layers,
        });
    }
    let pooling = pooling(spec).unwrap_or(match folder.says_pooling {
        true => own.pooling,
        false => Pooling::Mean,
    });
    Ok(EncoderConfig {
        layers,
        pooling,
        dropout: spec.dropout.map_or(own.dropout, |share| share as f32),
        ..own.clone()
    })
}

/// With the weights of a folder, of which layers are chosen.
fn trained(
    spec: &recipe::Student,
    folder: &EncoderFolder,
    config: &EncoderConfig,
    classes: usize,
    seed: u64,
) -> Result<(Network, Vec<String>)> {
    let (count, own) = (config.layers, folder.config.layers);
    let from = match &spec.from_layers {
        // At equal distances, the last among them.
        None => (1..=count).map(|layer| (layer * own).div_ceil(count.max(1)) - 1).collect(),
        Some(given) => {
            if given.len() != count || given.iter().any(|&layer| layer >= own) {
                return Err(Error::FromLayers { given: given.clone(), layers: count, own });
            }
            given.clone()
        }
    };
    let mut file = WeightFile::open(&folder.weights, spec.weights_key.as_deref())?;
    let loaded = config.load_layers(&mut file, Some(classes), seed, Some(&from))?;
    let mut notes = Vec::new();
    if count < own {
        let from: Vec<String> = from.iter().map(usize::to_string).collect();
        notes.push(format!("layers {} of {own}, counted from 0", from.join(", ")));
    }
    if !loaded.anew.is_empty() {
        notes.push(format!("starts anew: {}", loaded.anew.join(", ")));
    }
    Ok((loaded.network, notes))
}
