//! A network that starts from trained weights as far as they fit.
//!
//! ```text
//! body                                 taken, or the file is of another network
//! classifier of other classes, none    starts anew
//! first convolution, 1 channel here    the file's summed over its channels: a grey picture in all
//!                                      channels gives what it gave
//! first convolution, file of 1         the file's in each channel, divided by their number: likewise
//! first convolution, else              starts anew
//! ```

use crate::error::Result;
use crate::network::Network;
use crate::parameter::ParameterSpec;
use crate::shape::MapShape;
use crate::weights::{Array, WeightFile};

impl Network {
    /// A named network with the weights of an open file as far as they fit, the rest drawn from
    /// `seed`; and what to know: what was not taken as it is, and what of the file was left out.
    ///
    /// # Errors
    /// When the file belongs to another network, or holds several sets of weights and no key says
    /// which.
    pub fn pretrained(
        name: &str,
        input: MapShape,
        classes: usize,
        seed: u64,
        file: &mut WeightFile,
    ) -> Result<(Self, Vec<String>)> {
        let mut network = Self::new(name, input, classes, seed)?;
        let graph = network.graph().clone();
        let fit = file.fit_start(&graph, name)?;
        let state = file.take(&fit)?;
        let mut notes = Vec::new();
        let first = graph.first_convolution();
        let output = graph.output_layer();
        for (index, spec) in graph.parameters().iter().enumerate() {
            let values = &mut network.parameters[index];
            match state.get(&spec.name) {
                Some(array) if array.shape == spec.shape => values.clone_from(&array.values),
                Some(array) if first.is_some_and(|id| id.0 == index) => {
                    notes.push(adapt(spec, array, values));
                }
                found if output.iter().any(|id| id.0 == index) => {
                    if spec.shape.len() > 1 {
                        notes.push(anew(spec, found, classes));
                    }
                }
                _ => unreachable!(
                    "`fit_start` lets only the first convolution and the output differ"
                ),
            }
        }
        for (spec, values) in graph.buffers().iter().zip(&mut network.buffers) {
            values.clone_from(&state[&spec.name].values);
        }
        notes.extend(fit.notes);
        Ok((network, notes))
    }
}

/// Fills the first convolution from one for other channels, if there is a way; says what was done.
fn adapt(spec: &ParameterSpec, array: &Array, values: &mut [f32]) -> String {
    let (from, to) = (array.shape[1], spec.shape[1]);
    let window: usize = spec.shape[2..].iter().product();
    let name = &spec.name;
    if to == 1 {
        for (own, all) in values.chunks_mut(window).zip(array.values.chunks(from * window)) {
            for (at, value) in own.iter_mut().enumerate() {
                *value = (0..from).map(|channel| all[channel * window + at]).sum();
            }
        }
        return format!(
            "`{name}` is that of the file summed over its {from} channels, for 1 channel"
        );
    }
    if from == 1 {
        for (own, single) in values.chunks_mut(to * window).zip(array.values.chunks(window)) {
            for (at, value) in own.iter_mut().enumerate() {
                *value = single[at % window] / to as f32;
            }
        }
        return format!("`{name}` is that of the file in each of {to} channels, divided by {to}");
    }
    format!("`{name}` starts anew: the file's is for {from} channels, the data have {to}")
}

fn anew(spec: &ParameterSpec, found: Option<&Array>, classes: usize) -> String {
    let layer = spec.name.trim_end_matches(".weight");
    match found {
        Some(array) => format!(
            "classifier `{layer}` starts anew: the file's has {} classes, the data have {classes}",
            array.shape[0]
        ),
        None => format!("classifier `{layer}` starts anew: the file has none"),
    }
}
