//! A decoder in a GGUF file, with llama.cpp's names and keys.

use std::collections::HashSet;
use std::path::Path;

use faculty_gguf::GgufFile;
use faculty_kernels::rotary::RotaryLayout;

use crate::decoder_config::{DecoderConfig, DecoderFamily, refuse, unknown_family};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::shortened::shortened;
use crate::weights::{Array, StateDict};

/// Names of a layer's parts: ours, and behind `blk.N.` there.
const PARTS: [(&str, &str); 12] = [
    ("input_layernorm.weight", "attn_norm.weight"),
    ("self_attn.q_proj.weight", "attn_q.weight"),
    ("self_attn.q_proj.bias", "attn_q.bias"),
    ("self_attn.k_proj.weight", "attn_k.weight"),
    ("self_attn.k_proj.bias", "attn_k.bias"),
    ("self_attn.v_proj.weight", "attn_v.weight"),
    ("self_attn.v_proj.bias", "attn_v.bias"),
    ("self_attn.o_proj.weight", "attn_output.weight"),
    ("post_attention_layernorm.weight", "ffn_norm.weight"),
    ("mlp.gate_proj.weight", "ffn_gate.weight"),
    ("mlp.up_proj.weight", "ffn_up.weight"),
    ("mlp.down_proj.weight", "ffn_down.weight"),
];
/// The same of what is outside the layers.
const OTHERS: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// The name there of one of our parameters.
pub(super) fn name_there(name: &str) -> Option<String> {
    if let Some((_, other)) = OTHERS.iter().find(|(own, _)| *own == name) {
        return Some((*other).to_owned());
    }
    let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, other) = PARTS.iter().find(|(own, _)| *own == part)?;
    Some(format!("blk.{layer}.{other}"))
}

/// Its settings.
pub(super) fn config(path: &Path) -> Result<DecoderConfig> {
    config_of(&GgufFile::open(path)?)
}

/// The decoder in a GGUF file.
pub(super) fn load(path: &Path) -> Result<Network> {
    let mut file = GgufFile::open(path)?;
    let config = config_of(&file)?;
    let graph = config.graph()?;
    // Before anything is read, so that no more is than the file justifies.
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    for spec in graph.parameters() {
        let name = name_there(&spec.name).unwrap_or_else(|| spec.name.clone());
        match file.tensor(&name).map(|info| &info.shape) {
            None => problems.push(format!("`{name}` is missing")),
            Some(shape) if *shape != spec.shape => problems
                .push(format!("`{name}` has shape {shape:?}, the network wants {:?}", spec.shape)),
            Some(_) => {}
        }
        names.push(name);
    }
    let known: HashSet<&String> = names.iter().collect();
    let unknown = file.tensors().iter().filter(|tensor| !known.contains(&tensor.name));
    problems.extend(unknown.map(|tensor| format!("`{}` is unexpected", tensor.name)));
    if !problems.is_empty() {
        return Err(Error::DoNotFit {
            path: path.to_owned(),
            network: config.family.name().to_owned(),
            problems: shortened(problems),
        });
    }
    let mut state = StateDict::new();
    for (spec, name) in graph.parameters().iter().zip(&names) {
        let array = Array { shape: spec.shape.clone(), values: file.read(name)? };
        state.insert(spec.name.clone(), array);
    }
    Network::of_state(config.family.name(), graph, state, path)
}

/// What the metadata say.
fn config_of(file: &GgufFile) -> Result<DecoderConfig> {
    let in_file = |error: Error| match error {
        Error::DecoderConfig { problem } => {
            refuse(format!("{problem} (`{}`)", file.path().display()))
        }
        other => other,
    };
    let name = file.string("general.architecture")?.unwrap_or_default();
    let family = DecoderFamily::of(name)
        .ok_or_else(|| in_file(unknown_family("general.architecture", name)))?;
    let key = |part: &str| format!("{name}.{part}");
    let optional = |part: &str| -> Result<Option<usize>> {
        let count = file.unsigned(&key(part))?;
        Ok(count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
    };
    let count = |part: &str| Ok::<_, Error>(file.required(&key(part), optional(part)?)?);
    let (width, heads) = (count("embedding_length")?, count("attention.head_count")?);
    let head_width = match optional("attention.key_length")? {
        Some(width) => width,
        None => width.checked_div(heads).unwrap_or(0),
    };
    for part in ["attention.value_length", "rope.dimension_count"] {
        if let Some(other) = optional(part)?.filter(|&other| other != head_width) {
            let problem = format!("`{}` is {other}, heads have {head_width} values", key(part));
            return Err(in_file(refuse(problem)));
        }
    }
    if let Some(kind) = file.string(&key("rope.scaling.type"))?.filter(|kind| *kind != "none") {
        let problem = format!("rotary positions of type `{kind}` are not known");
        return Err(in_file(refuse(problem)));
    }
    if optional("expert_count")?.is_some_and(|count| count > 0) {
        return Err(in_file(refuse("mixtures of experts are not known".to_owned())));
    }
    let words = file.tensor("token_embd.weight").and_then(|tensor| tensor.shape.first().copied());
    let words = file.required("token_embd.weight", words)?;
    let plain = DecoderConfig::new(words, count("block_count")?, 64);
    let window = optional("attention.sliding_window")?.filter(|&window| window > 0);
    let epsilon = file.float(&key("attention.layer_norm_rms_epsilon"))?;
    let config = DecoderConfig {
        // Files of Mistral say `llama` too.
        family: match (family, window) {
            (DecoderFamily::Llama, Some(_)) => DecoderFamily::Mistral,
            _ => family,
        },
        width,
        heads,
        kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
        head_width,
        intermediate: count("feed_forward_length")?,
        longest: count("context_length")?,
        epsilon: epsilon.map_or(plain.epsilon, |epsilon| epsilon as f32),
        rotary_base: file.float(&key("rope.freq_base"))?.unwrap_or(plain.rotary_base),
        // llama.cpp's converter puts rows that are turned together beside each other, for Llama alone.
        rotary_layout: match family {
            DecoderFamily::Llama | DecoderFamily::Mistral => RotaryLayout::Interleaved,
            DecoderFamily::Qwen2 => RotaryLayout::Halves,
        },
        window,
        biases: family == DecoderFamily::Qwen2,
        tied: file.tensor("output.weight").is_none(),
        ..plain
    };
    config.check().map_err(in_file)?;
    Ok(config)
}
