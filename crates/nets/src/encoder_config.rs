//! What describes an encoder: the `config.json` of its folder.

use faculty_kernels::activation::Activation;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Whose layout and names a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncoderFamily {
    /// BERT, MiniLM.
    Bert,
    /// RoBERTa: no segments, positions from 2.
    Roberta,
    /// XLM-R: RoBERTa's layout.
    XlmRoberta,
    /// DistilBERT: BERT without segments, under names of its own.
    DistilBert,
    /// MPNet: a bias by distance, shared by all layers.
    Mpnet,
    /// ELECTRA's discriminator: word vectors may be narrower than the layers.
    Electra,
    /// The mean of the word vectors and a linear classifier: fastText's model (Joulin et al., 2017,
    /// arXiv:1607.01759).
    Bag,
}

const FAMILIES: [(EncoderFamily, &str); 7] = [
    (EncoderFamily::Bert, "bert"),
    (EncoderFamily::Roberta, "roberta"),
    (EncoderFamily::XlmRoberta, "xlm-roberta"),
    (EncoderFamily::DistilBert, "distilbert"),
    (EncoderFamily::Mpnet, "mpnet"),
    (EncoderFamily::Electra, "electra"),
    (EncoderFamily::Bag, "bag"),
];

impl EncoderFamily {
    /// Its `model_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        FAMILIES.iter().find(|(family, _)| *family == self).map_or("", |(_, name)| name)
    }

    /// The family of a `model_type`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        FAMILIES.iter().find(|(_, known)| *known == name).map(|(family, _)| *family)
    }

    /// All `model_type`s, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().map(|(_, name)| *name)
    }
}

/// How a text's token vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// The family's own head: the first token through a layer (BERT's pooler, RoBERTa's
    /// `classifier.dense`, …).
    First,
    /// The mean of all tokens, as sentence encoders do.
    Mean,
    /// Weighted by a learnt softmax: MT-BERT's pooling (Wu et al., 2021, arXiv:2106.01023).
    Attentive,
}

const POOLINGS: [(Pooling, &str); 3] =
    [(Pooling::First, "first"), (Pooling::Mean, "mean"), (Pooling::Attentive, "attentive")];

impl Pooling {
    /// Its name in recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        POOLINGS.iter().find(|(pooling, _)| *pooling == self).map_or("", |(_, name)| name)
    }

    /// The pooling of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        POOLINGS.iter().find(|(_, known)| *known == name).map(|(pooling, _)| *pooling)
    }
}

/// Sizes and settings of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Layout and names.
    pub family: EncoderFamily,
    /// Rows of the word table.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub longest: usize,
    /// Rows of the table of segments; 0 for none.
    pub segments: usize,
    /// Values of a token between layers.
    pub width: usize,
    /// Values of a word vector.
    pub embedding_width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of a layer; they divide `width`.
    pub heads: usize,
    /// Values between the two halves of the feed-forward part.
    pub intermediate: usize,
    /// Of the feed-forward part.
    pub activation: Activation,
    /// Added to variances.
    pub epsilon: f32,
    /// Share of values that training drops; attention itself drops none.
    pub dropout: f32,
    /// Standard deviation of the first weights.
    pub initial_deviation: f32,
    /// Buckets of MPNet's bias by distance.
    pub distance_buckets: usize,
    /// How a text's token vectors become one.
    pub pooling: Pooling,
}

/// Most tokens of a text where no table of positions bounds it.
const LONGEST_BAG: usize = 4096;

impl EncoderConfig {
    /// An encoder of this family with BERT's settings: heads of 64 or 32 values, a feed-forward part
    /// of four times the width, 512 positions.
    #[must_use]
    pub fn new(family: EncoderFamily, vocabulary: usize, layers: usize, width: usize) -> Self {
        let heads = match width {
            _ if width.is_multiple_of(64) && width >= 512 => width / 64,
            _ if width.is_multiple_of(32) => width / 32,
            _ => 1,
        };
        Self {
            family,
            vocabulary,
            longest: if family == EncoderFamily::Bag { LONGEST_BAG } else { 512 },
            segments: match family {
                EncoderFamily::Bert | EncoderFamily::Electra => 2,
                EncoderFamily::Roberta | EncoderFamily::XlmRoberta => 1,
                _ => 0,
            },
            width,
            embedding_width: width,
            layers,
            heads,
            intermediate: 4 * width,
            activation: Activation::Gelu,
            epsilon: 1e-12,
            dropout: 0.1,
            initial_deviation: 0.02,
            distance_buckets: 32,
            pooling: if family == EncoderFamily::Bag { Pooling::Mean } else { Pooling::First },
        }
    }

    /// Row of a text's first position in the table.
    pub(crate) fn first_position(&self) -> usize {
        match self.family {
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta | EncoderFamily::Mpnet => 2,
            _ => 0,
        }
    }

    /// Reads a `config.json` as Hugging Face writes it.
    ///
    /// # Errors
    /// [`Error::EncoderConfig`] when it is no JSON, of another family, or says something that this
    /// encoder cannot do.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |problem: String| Error::EncoderConfig { problem };
        let json: Value =
            serde_json::from_str(text).map_err(|error| refuse(format!("no JSON: {error}")))?;
        let name = json["model_type"].as_str().unwrap_or_default();
        let family = EncoderFamily::of(name).ok_or_else(|| {
            let known: Vec<_> = EncoderFamily::names().collect();
            refuse(format!("`model_type` is `{name}`; known are {}", known.join(", ")))
        })?;
        let keys = Keys { json: &json };
        let distil = family == EncoderFamily::DistilBert;
        let [width, layers, heads, intermediate, dropout] = match distil {
            true => ["dim", "n_layers", "n_heads", "hidden_dim", "dropout"],
            false => [
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "hidden_dropout_prob",
            ],
        };
        let plain = Self::new(family, keys.count("vocab_size", None)?, 1, 64);
        let width = keys.count(width, None)?;
        let bag = family == EncoderFamily::Bag;
        let mut config = Self {
            width,
            layers: keys.count(layers, bag.then_some(0))?,
            heads: keys.count(heads, bag.then_some(1))?,
            intermediate: keys.count(intermediate, bag.then_some(0))?,
            segments: keys.count("type_vocab_size", Some(plain.segments))?,
            embedding_width: keys.count("embedding_size", Some(width))?,
            longest: keys.count("max_position_embeddings", Some(plain.longest))?,
            dropout: keys.number(dropout, plain.dropout)?,
            epsilon: keys.number("layer_norm_eps", plain.epsilon)?,
            initial_deviation: keys.number("initializer_range", plain.initial_deviation)?,
            distance_buckets: keys.count("relative_attention_num_buckets", Some(32))?,
            ..plain
        };
        if matches!(family, EncoderFamily::DistilBert | EncoderFamily::Mpnet) {
            config.segments = 0;
        }
        config.longest = config.longest.saturating_sub(config.first_position());
        let activation = json[if distil { "activation" } else { "hidden_act" }].as_str();
        config.activation = match activation.unwrap_or("gelu") {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "silu" | "swish" => Activation::Silu,
            "relu" => Activation::Relu,
            other => return Err(refuse(format!("activation `{other}` is not known"))),
        };
        if let Some(kind) = json["position_embedding_type"].as_str()
            && kind != "absolute"
        {
            return Err(refuse(format!("`position_embedding_type` `{kind}` is not known")));
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if json[key].as_bool() == Some(true) {
                return Err(refuse(format!("`{key}` is true: tokens see only those before them")));
            }
        }
        if let Some(name) = json["pooling"].as_str() {
            config.pooling = Pooling::of(name)
                .ok_or_else(|| refuse(format!("pooling `{name}` is not known")))?;
        }
        config.check()?;
        Ok(config)
    }

    /// Checks that the sizes make an encoder.
    ///
    /// # Errors
    /// [`Error::EncoderConfig`] that says what does not fit.
    pub fn check(&self) -> Result<()> {
        let refuse = |problem: String| Err(Error::EncoderConfig { problem });
        let Self { width, heads, layers, intermediate, .. } = *self;
        let sizes = [self.vocabulary, width, self.embedding_width, self.longest];
        // Products of two of them stay countable, and no table takes all memory.
        if sizes.into_iter().chain([intermediate]).any(|size| size > 1 << 24) || layers > 1024 {
            return refuse("sizes beyond any encoder's".to_owned());
        }
        if sizes.contains(&0) {
            return refuse("vocabulary, width and positions must be at least 1".to_owned());
        }
        if self.family == EncoderFamily::Bag {
            return Ok(());
        }
        if layers == 0 || intermediate == 0 {
            return refuse("an encoder has at least one layer".to_owned());
        }
        if heads == 0 || !width.is_multiple_of(heads) || width / heads > 256 {
            return refuse(format!(
                "{heads} heads do not divide a width of {width} into at most 256"
            ));
        }
        if self.embedding_width != width && self.family != EncoderFamily::Electra {
            return refuse("only ELECTRA has word vectors of another width".to_owned());
        }
        if self.distance_buckets < 4 || !self.distance_buckets.is_multiple_of(4) {
            return refuse("`relative_attention_num_buckets` must be a multiple of 4".to_owned());
        }
        if !(0.0..1.0).contains(&self.dropout) || self.epsilon.is_nan() || self.epsilon < 0.0 {
            return refuse("dropout must be in 0..1, the epsilon of norms at least 0".to_owned());
        }
        Ok(())
    }

    /// The `config.json` of a classifier with these classes, as Hugging Face's `transformers` reads it;
    /// `pooling` is ours.
    #[must_use]
    pub fn to_json(&self, classes: &[String]) -> String {
        let activation = match self.activation {
            Activation::GeluTanh => "gelu_new",
            Activation::Silu => "silu",
            Activation::Relu => "relu",
            _ => "gelu",
        };
        let architecture = match self.family {
            EncoderFamily::Bert => "BertForSequenceClassification",
            EncoderFamily::Roberta => "RobertaForSequenceClassification",
            EncoderFamily::XlmRoberta => "XLMRobertaForSequenceClassification",
            EncoderFamily::DistilBert => "DistilBertForSequenceClassification",
            EncoderFamily::Mpnet => "MPNetForSequenceClassification",
            EncoderFamily::Electra => "ElectraForSequenceClassification",
            EncoderFamily::Bag => "BagOfEmbeddings",
        };
        let names = classes.iter().enumerate();
        let id2label: Map<_, _> =
            names.clone().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let label2id: Map<_, _> = names.map(|(id, name)| (name.clone(), json!(id))).collect();
        let mut config = json!({
            "architectures": [architecture],
            "model_type": self.family.name(),
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.longest + self.first_position(),
            "initializer_range": short(self.initial_deviation),
            "layer_norm_eps": short(self.epsilon),
            "pooling": self.pooling.name(),
            "id2label": id2label,
            "label2id": label2id,
        });
        let mut set = |key: &str, value: Value| config[key] = value;
        let dropout = short(self.dropout);
        if self.family == EncoderFamily::DistilBert {
            set("dim", json!(self.width));
            set("n_layers", json!(self.layers));
            set("n_heads", json!(self.heads));
            set("hidden_dim", json!(self.intermediate));
            set("dropout", json!(dropout));
            set("seq_classif_dropout", json!(dropout));
            set("attention_dropout", json!(0.0));
            set("activation", json!(activation));
        } else {
            set("hidden_size", json!(self.width));
            set("num_hidden_layers", json!(self.layers));
            set("num_attention_heads", json!(self.heads));
            set("intermediate_size", json!(self.intermediate));
            set("hidden_dropout_prob", json!(dropout));
            set("attention_probs_dropout_prob", json!(0.0));
            set("hidden_act", json!(activation));
        }
        match self.family {
            EncoderFamily::Electra => set("embedding_size", json!(self.embedding_width)),
            EncoderFamily::Mpnet => {
                set("relative_attention_num_buckets", json!(self.distance_buckets));
            }
            _ => {}
        }
        if self.segments > 0 {
            set("type_vocab_size", json!(self.segments));
        }
        if self.first_position() > 0 {
            set("pad_token_id", json!(self.first_position() - 1));
        }
        format!("{config:#}\n")
    }
}

/// A float as a reader would write it: `1e-12`, not its nearest `f64`.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Values of a JSON object, checked.
struct Keys<'a> {
    json: &'a Value,
}

impl Keys<'_> {
    /// A whole number.
    fn count(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let refuse = |problem: String| Err(Error::EncoderConfig { problem });
        match (&self.json[key], default) {
            (Value::Null, Some(default)) => Ok(default),
            (Value::Null, None) => refuse(format!("`{key}` is missing")),
            (value, _) => match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
                Some(count) => Ok(count),
                None => refuse(format!("`{key}` is {value}, a whole number is expected")),
            },
        }
    }

    /// A number.
    fn number(&self, key: &str, default: f32) -> Result<f32> {
        match &self.json[key] {
            Value::Null => Ok(default),
            value => match value.as_f64() {
                Some(number) => Ok(number as f32),
                None => {
                    let problem = format!("`{key}` is {value}, a number is expected");
                    Err(Error::EncoderConfig { problem })
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (family, _) in FAMILIES {
            let mut config = EncoderConfig::new(family, 1000, 3, 96);
            if family == EncoderFamily::Bag {
                (config.layers, config.heads, config.intermediate) = (0, 1, 0);
            }
            config.pooling = Pooling::Attentive;
            let classes = ["bad".to_owned(), "good".to_owned()];
            let read = EncoderConfig::from_json(&config.to_json(&classes)).unwrap();
            assert_eq!(read, config, "{}", family.name());
        }
    }

    #[test]
    fn minilm_is_read_and_odd_files_are_refused_by_name() {
        let minilm = r#"{"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6,
            "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522,
            "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
            "hidden_act": "gelu", "position_embedding_type": "absolute"}"#;
        let config = EncoderConfig::from_json(minilm).unwrap();
        assert_eq!((config.layers, config.heads, config.longest), (6, 12, 512));
        for (from, to, word) in [
            ("\"bert\"", "\"t5\"", "`t5`"),
            ("\"hidden_size\": 384,", "", "`hidden_size` is missing"),
            ("12,", "7,", "7 heads"),
            ("\"absolute\"", "\"relative_key\"", "`relative_key`"),
            ("30522", "-1", "-1"),
            ("30522", "30522000000000", "beyond"),
            ("\"gelu\"", "\"mish\"", "`mish`"),
        ] {
            let error = EncoderConfig::from_json(&minilm.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(EncoderConfig::from_json("weights").is_err());
    }
}
