//! What describes a decoder: sizes and settings of a Llama-like language model, and the `config.json`
//! of its folder.

use faculty_kernels::activation::Activation;
pub use faculty_kernels::rotary::RotaryLayout;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Whose layout a decoder has. They differ in what their files may say, and in biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecoderFamily {
    /// Llama 1 and 2, SmolLM, TinyLlama.
    Llama,
    /// Mistral: Llama with a window.
    Mistral,
    /// Qwen 2 and 2.5: biases of queries, keys and values.
    Qwen2,
}

const FAMILIES: [(DecoderFamily, &str, &str); 3] = [
    (DecoderFamily::Llama, "llama", "LlamaForCausalLM"),
    (DecoderFamily::Mistral, "mistral", "MistralForCausalLM"),
    (DecoderFamily::Qwen2, "qwen2", "Qwen2ForCausalLM"),
];

impl DecoderFamily {
    /// Its `model_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        FAMILIES.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    fn architecture(self) -> &'static str {
        FAMILIES.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }

    /// The family of a `model_type`, or of a GGUF file's `general.architecture`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        FAMILIES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// All `model_type`s, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|row| row.1)
    }
}

/// Sizes and settings of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Layout.
    pub family: DecoderFamily,
    /// Rows of the word table.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub longest: usize,
    /// Values of a token between layers.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of a layer.
    pub heads: usize,
    /// Heads of keys and values; they divide `heads`.
    pub kv_heads: usize,
    /// Values of a head; even.
    pub head_width: usize,
    /// Values between the two halves of the feed-forward part.
    pub intermediate: usize,
    /// Of the feed-forward part's gate.
    pub activation: Activation,
    /// Added to mean squares.
    pub epsilon: f32,
    /// The rotary angles fall by powers of it.
    pub rotary_base: f64,
    /// Which values of a head are turned together: halves in Hugging Face's files, neighbours in GGUF
    /// files of Llama and Mistral.
    pub rotary_layout: RotaryLayout,
    /// Whether a token sees those at a distance below this only.
    pub window: Option<usize>,
    /// Whether queries, keys and values have biases.
    pub biases: bool,
    /// Whether the word table is the head too.
    pub tied: bool,
    /// Standard deviation of the first weights.
    pub initial_deviation: f32,
}

impl DecoderConfig {
    /// A decoder of Llama's kind with usual settings: heads of 64 values (of as many as fit where the
    /// width is smaller), a feed-forward part of 8/3 of the width, a tied head.
    #[must_use]
    pub fn new(vocabulary: usize, layers: usize, width: usize) -> Self {
        let heads = (width / 64).max(1);
        Self {
            family: DecoderFamily::Llama,
            vocabulary,
            longest: 2048,
            width,
            layers,
            heads,
            kv_heads: heads,
            head_width: width / heads,
            intermediate: (8 * width / 3).next_multiple_of(32),
            activation: Activation::Silu,
            epsilon: 1e-5,
            rotary_base: 10_000.0,
            rotary_layout: RotaryLayout::Halves,
            window: None,
            biases: false,
            tied: true,
            initial_deviation: 0.02,
        }
    }

    /// Reads a `config.json` as Hugging Face writes it.
    ///
    /// # Errors
    /// [`Error::DecoderConfig`] when it is no JSON, of another family, or says something that this
    /// decoder cannot do.
    pub fn from_json(text: &str) -> Result<Self> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| refuse(format!("no JSON: {error}")))?;
        let name = json["model_type"].as_str().unwrap_or_default();
        let family = DecoderFamily::of(name).ok_or_else(|| unknown_family("model_type", name))?;
        let (width, heads) =
            (count(&json, "hidden_size", None)?, count(&json, "num_attention_heads", None)?);
        let base = rotary_base(&json)?;
        let windowed = family != DecoderFamily::Qwen2 || json["use_sliding_window"] == true;
        let window = count(&json, "sliding_window", Some(0))?;
        let config = Self {
            width,
            heads,
            kv_heads: count(&json, "num_key_value_heads", Some(heads))?,
            head_width: count(&json, "head_dim", Some(width.checked_div(heads).unwrap_or(0)))?,
            intermediate: count(&json, "intermediate_size", None)?,
            longest: count(&json, "max_position_embeddings", Some(2048))?,
            activation: match json["hidden_act"].as_str().unwrap_or("silu") {
                "silu" | "swish" => Activation::Silu,
                "gelu" => Activation::Gelu,
                "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
                other => return Err(refuse(format!("activation `{other}` is not known"))),
            },
            epsilon: number(&json, "rms_norm_eps", 1e-6)? as f32,
            initial_deviation: number(&json, "initializer_range", 0.02)? as f32,
            rotary_base: base,
            window: (windowed && window > 0).then_some(window),
            biases: family == DecoderFamily::Qwen2,
            tied: json["tie_word_embeddings"].as_bool().unwrap_or(false),
            family,
            ..Self::new(
                count(&json, "vocab_size", None)?,
                count(&json, "num_hidden_layers", None)?,
                64,
            )
        };
        for key in ["attention_bias", "mlp_bias"] {
            if json[key] == true {
                return Err(refuse(format!("`{key}` is true, which is not known")));
            }
        }
        // Of Qwen2: full attention below a layer, a window above.
        if config.window.is_some() && family == DecoderFamily::Qwen2 {
            return Err(refuse("`use_sliding_window` is true, which is not known".to_owned()));
        }
        config.check()?;
        Ok(config)
    }

    /// Checks that the sizes make a decoder.
    ///
    /// # Errors
    /// [`Error::DecoderConfig`] that says what does not fit.
    pub fn check(&self) -> Result<()> {
        let Self { heads, kv_heads, head_width, layers, .. } = *self;
        let sizes = [self.vocabulary, self.width, self.longest, self.intermediate];
        // Products of two of them stay countable, and no table takes all memory.
        if sizes.iter().any(|&size| size > 1 << 24) || layers > 1024 || heads > 1 << 14 {
            return Err(refuse("sizes beyond any decoder's".to_owned()));
        }
        if sizes.contains(&0) || layers == 0 {
            let what = "vocabulary, width, positions, layers and the feed-forward part";
            return Err(refuse(format!("{what} must be at least 1")));
        }
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(refuse(format!("{kv_heads} heads of keys do not divide {heads} heads")));
        }
        if head_width == 0 || head_width > 256 || !head_width.is_multiple_of(2) {
            let problem =
                format!("heads of {head_width} values; an even number up to 256 is known");
            return Err(refuse(problem));
        }
        if !(self.epsilon >= 0.0 && self.rotary_base > 0.0 && self.rotary_base.is_finite()) {
            let problem = "the epsilon of norms must be at least 0, the rotary base above 0";
            return Err(refuse(problem.to_owned()));
        }
        Ok(())
    }

    /// The `config.json`, as Hugging Face's `transformers` reads it. Its weights are in the layout of
    /// [`RotaryLayout::Halves`].
    #[must_use]
    pub fn to_json(&self) -> String {
        let activation = match self.activation {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_pytorch_tanh",
            _ => "silu",
        };
        let mut config = json!({
            "architectures": [self.family.architecture()],
            "model_type": self.family.name(),
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_width,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.longest,
            "hidden_act": activation,
            "rms_norm_eps": self.epsilon.to_string().parse().unwrap_or(f64::from(self.epsilon)),
            "rope_theta": self.rotary_base,
            "initializer_range":
                self.initial_deviation.to_string().parse().unwrap_or(f64::from(self.initial_deviation)),
            "tie_word_embeddings": self.tied,
            "attention_bias": false,
            "mlp_bias": false,
        });
        if let Some(window) = self.window {
            config["sliding_window"] = json!(window);
        }
        format!("{config:#}\n")
    }
}

pub(crate) fn refuse(problem: String) -> Error {
    Error::DecoderConfig { problem }
}

pub(crate) fn unknown_family(key: &str, name: &str) -> Error {
    let known: Vec<_> = DecoderFamily::names().collect();
    refuse(format!("`{key}` is `{name}`; known are {}", known.join(", ")))
}

/// Base of the rotary angles, where newer and older files have it.
fn rotary_base(json: &Value) -> Result<f64> {
    for key in ["rope_parameters", "rope_scaling"] {
        let own = &json[key];
        let kind = own["rope_type"].as_str().or(own["type"].as_str()).unwrap_or("default");
        if kind != "default" {
            return Err(refuse(format!("rotary positions of type `{kind}` are not known")));
        }
    }
    if number(json, "partial_rotary_factor", 1.0)? != 1.0 {
        return Err(refuse("`partial_rotary_factor` is not 1, which is not known".to_owned()));
    }
    let older = number(json, "rope_theta", 10_000.0)?;
    number(&json["rope_parameters"], "rope_theta", older)
}

/// A whole number.
fn count(json: &Value, key: &str, default: Option<usize>) -> Result<usize> {
    match (&json[key], default) {
        (Value::Null, Some(default)) => Ok(default),
        (Value::Null, None) => Err(refuse(format!("`{key}` is missing"))),
        (value, _) => {
            let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
            count.ok_or_else(|| refuse(format!("`{key}` is {value}, a whole number is expected")))
        }
    }
}

/// A number.
fn number(json: &Value, key: &str, default: f64) -> Result<f64> {
    match &json[key] {
        Value::Null => Ok(default),
        value => value
            .as_f64()
            .ok_or_else(|| refuse(format!("`{key}` is {value}, a number is expected"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for family in FAMILIES.map(|row| row.0) {
            let config = DecoderConfig {
                family,
                kv_heads: 1,
                tied: false,
                biases: family == DecoderFamily::Qwen2,
                window: (family == DecoderFamily::Mistral).then_some(9),
                rotary_base: 5e5,
                ..DecoderConfig::new(1000, 3, 192)
            };
            assert_eq!(DecoderConfig::from_json(&config.to_json()).unwrap(), config);
        }
    }

    #[test]
    fn odd_files_are_refused_by_name() {
        let good = r#"{"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
            "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05,
            "rope_theta": 100000, "tie_word_embeddings": true, "hidden_act": "silu",
            "rope_scaling": null}"#;
        let config = DecoderConfig::from_json(good).unwrap();
        assert_eq!((config.head_width, config.kv_heads, config.tied), (64, 3, true));
        assert_eq!((config.rotary_base, config.epsilon), (1e5, 1e-5));
        for (from, to, word) in [
            ("\"llama\"", "\"gemma3\"", "`gemma3`; known are llama"),
            ("\"hidden_size\": 576,", "", "`hidden_size` is missing"),
            ("\"num_key_value_heads\": 3", "\"num_key_value_heads\": 4", "4 heads of keys"),
            ("\"num_attention_heads\": 9", "\"num_attention_heads\": 0", "0 heads"),
            ("\"hidden_size\": 576", "\"hidden_size\": 45", "heads of 5 values"),
            ("null", "{\"rope_type\": \"llama3\"}", "`llama3`"),
            ("49152", "-1", "-1"),
            ("49152", "49152000000000", "beyond"),
            ("\"silu\"", "\"relu2\"", "`relu2`"),
            ("100000", "\"much\"", "a number is expected"),
            ("true", "true, \"mlp_bias\": true", "`mlp_bias`"),
        ] {
            let error = DecoderConfig::from_json(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}, {word} expected");
        }
        assert!(DecoderConfig::from_json("weights").is_err());
    }
}
