//! The student before its first step: drawn from the seed, or started from trained weights, with
//! what is frozen of it.

use faculty_nets::weights::WeightFile;
use faculty_nets::{EncoderFamily, MapShape, Network, OnnxNetwork};
use faculty_recipe::{Recipe, nearest};
use faculty_teachers::RunData;

use crate::encoder_start;
use crate::error::{Error, Result};
use crate::weight_file::weight_file;

/// The recipe's network, and what to know of its weights.
///
/// # Errors
/// When there is no such network, or its weights cannot be used.
pub(crate) fn open(
    recipe: &Recipe,
    data: &RunData,
    classes: usize,
) -> Result<(Network, Vec<String>)> {
    let (student, seed) = (&recipe.student, recipe.seed);
    match (EncoderFamily::of(&student.network), &data.tokenizer) {
        (Some(family), Some(_)) => return encoder_start::open(recipe, family, data, classes),
        (Some(_), None) => return Err(encoder_start::other_kind(student, "texts", "images")),
        (None, Some(_)) => return Err(encoder_start::other_kind(student, "images", "texts")),
        (None, None) => {}
    }
    if let Some(key) = encoder_start::text_key(student) {
        return Err(Error::NoEffect { key, why: "it is of networks that read texts" });
    }
    let [channels, height, width] = data.train.shape()?;
    let input = MapShape::new(channels, height, width);
    if let (None, Some(path), None | Some(false)) = (&student.weights, &student.onnx, student.fresh)
    {
        let onnx = OnnxNetwork::open(path, None)?;
        onnx.register()?;
        return Ok(onnx.network(input, Some(classes), seed)?);
    }
    let Some(path) = &student.weights else {
        return Ok((Network::new(&student.network, input, classes, seed)?, Vec::new()));
    };
    let mut file = WeightFile::open(&weight_file(path), student.weights_key.as_deref())?;
    Ok(Network::pretrained(&student.network, input, classes, seed, &mut file)?)
}

/// Freezes what the recipe names; says how much that is.
///
/// # Errors
/// When a prefix is no part of the network, or nothing is left to train.
pub(crate) fn freeze(network: &mut Network, prefixes: &[String]) -> Result<Option<String>> {
    if prefixes.is_empty() {
        return Ok(None);
    }
    let known = network.graph().prefixes();
    for prefix in prefixes {
        if network.freeze(prefix) == 0 {
            return Err(Error::NothingFrozen {
                prefix: prefix.clone(),
                network: network.name().to_owned(),
                near: nearest(prefix, known.iter().map(String::as_str)).map(str::to_owned),
                parts: known.into_iter().filter(|own| !own.contains('.')).collect(),
            });
        }
    }
    let graph = network.graph();
    let (frozen, all) = (graph.frozen().len(), graph.parameters().len());
    if frozen == all {
        return Err(Error::AllFrozen { network: network.name().to_owned() });
    }
    let elements =
        |id: &faculty_nets::ParameterId| graph.parameter(*id).shape.iter().product::<usize>();
    let values: usize = graph.frozen().iter().map(elements).sum();
    Ok(Some(format!(
        "frozen: {}, {values} of {} parameters; batch norm there keeps its running statistics",
        prefixes.join(", "),
        graph.parameter_count()
    )))
}
