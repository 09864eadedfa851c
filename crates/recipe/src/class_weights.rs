//! `train.class_weights`: how much each class counts in the task loss.

use serde::{Serialize, Serializer};
use toml::Value;

use super::setting::Setting;

/// How much each class counts in the task loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClassWeights {
    /// `"balanced"`: by the training split, so that all classes count the same together.
    #[default]
    Balanced,
    /// These, in the order of the labels, each above 0.
    Given(Vec<f64>),
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str("balanced"),
            Self::Given(weights) => weights.serialize(serializer),
        }
    }
}

impl Setting for ClassWeights {
    const ONE: &'static str = "a list of numbers, or `\"balanced\"`";
    const MANY: &'static str = "lists of numbers";

    fn read(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("balanced") => Some(Self::Balanced),
            Some(_) => None,
            None => Vec::<f64>::read(value).map(Self::Given),
        }
    }

    fn to_value(&self) -> Option<Value> {
        match self {
            Self::Balanced => Some(Value::String("balanced".to_owned())),
            Self::Given(weights) => weights.to_value(),
        }
    }
}
