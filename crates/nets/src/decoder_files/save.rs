//! A decoder as a folder that Hugging Face's `transformers` opens.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_files::write_atomically;
use faculty_kernels::rotary::RotaryLayout;

use crate::decoder_config::DecoderConfig;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::weights::{self, StateDict};

/// Writes `config.json` and `model.safetensors` into a folder, which is made if it is not there; the
/// tokenizer is the caller's to put beside them. Queries and keys are brought into the order of halves.
///
/// # Errors
/// When a file cannot be written.
///
/// # Panics
/// If the network is no decoder.
pub fn save_decoder(network: &Network, folder: &Path) -> Result<()> {
    let config = network.graph().decoder().expect("the network is a decoder");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let state = state_in(network, RotaryLayout::Halves);
    // What tells `transformers` that names and shapes are PyTorch's.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    weights::write(&folder.join("model.safetensors"), &state, &metadata)?;
    let path = folder.join("config.json");
    let config = DecoderConfig { rotary_layout: RotaryLayout::Halves, ..config.clone() };
    write_atomically(&path, config.to_json().as_bytes()).map_err(failed(&path))
}

/// The weights with queries and keys in this order.
pub(super) fn state_in(network: &Network, layout: RotaryLayout) -> StateDict {
    let config = network.graph().decoder().expect("the network is a decoder");
    let mut state = network.state_dict();
    if config.rotary_layout != layout {
        for (name, array) in &mut state {
            if name.contains("self_attn.q_proj.") || name.contains("self_attn.k_proj.") {
                turn(&mut array.values, array.shape[0], config.head_width, layout);
            }
        }
    }
    state
}

/// Moves rows of each head: in halves, `2 i` and `2 i + 1` go to `i` and `head_width / 2 + i`;
/// interleaved, the other way.
fn turn(values: &mut [f32], rows: usize, head_width: usize, to: RotaryLayout) {
    let width = values.len() / rows.max(1);
    let pairs = head_width / 2;
    for head in values.chunks_exact_mut(head_width * width) {
        let old = head.to_vec();
        for (row, values) in old.chunks_exact(width).enumerate() {
            let to = match to {
                RotaryLayout::Halves => row % 2 * pairs + row / 2,
                RotaryLayout::Interleaved => row % pairs * 2 + row / pairs,
            };
            head[to * width..(to + 1) * width].copy_from_slice(values);
        }
    }
}
