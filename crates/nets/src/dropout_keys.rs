//! What decides which values a training step drops.

use faculty_inputs::Tokens;
use faculty_random::splitmix64;

use crate::shape::Per;

/// One key a sample, `[samples]`, which with layer and position decides what is dropped; none where
/// nothing is to be dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DropoutKeys<'a> {
    pub(crate) samples: &'a [u64],
}

impl DropoutKeys<'_> {
    /// A key for each row of a value: a function of the sample's key, the layer, and the token's
    /// position in its sample. `None` where nothing is to be dropped.
    pub(crate) fn rows(self, layer: usize, per: Per, tokens: &Tokens) -> Option<Vec<u64>> {
        if self.samples.is_empty() {
            return None;
        }
        let of_layer = self.samples.iter().map(|&key| splitmix64(key, layer as u64));
        Some(match per {
            Per::Sample => of_layer.collect(),
            Per::Token => {
                let position = |text: usize| 0..tokens.range(text).len() as u64;
                let rows = of_layer.enumerate();
                rows.flat_map(|(text, key)| position(text).map(move |at| splitmix64(key, at)))
                    .collect()
            }
        })
    }
}
