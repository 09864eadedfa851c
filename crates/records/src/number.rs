//! How a number is written down that may not be finite: JSON knows neither NaN nor infinity, and
//! `serde_json` writes `null` for them, which is then no number to read.
//!
//! `#[serde(with = "crate::number")]` stands on each field of a record that is computed from the
//! outputs of networks. It writes `"NaN"`, `"inf"` and `"-inf"`, and reads these and, for records of
//! earlier versions, `null` (as NaN; where the number may be missing, as a missing one).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// Writes a number, or what holds numbers.
///
/// # Errors
/// The serialiser's own.
pub fn serialize<T: Numbers, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.written().serialize(to)
}

/// Reads what [`serialize`] has written.
///
/// # Errors
/// When it is no number, or the deserialiser's own.
pub fn deserialize<'de, T: Numbers, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::Written::deserialize(from).map(T::read)
}

/// What holds numbers.
pub trait Numbers {
    /// The same with each number as a [`Number`].
    type Written: Serialize + DeserializeOwned;
    /// As it is written down.
    fn written(&self) -> Self::Written;
    /// From what was written down.
    fn read(written: Self::Written) -> Self;
}

impl Numbers for f64 {
    type Written = Number;
    fn written(&self) -> Number {
        Number(*self)
    }
    fn read(written: Number) -> Self {
        written.0
    }
}

impl<T: Numbers> Numbers for Option<T> {
    type Written = Option<T::Written>;
    fn written(&self) -> Self::Written {
        self.as_ref().map(T::written)
    }
    fn read(written: Self::Written) -> Self {
        written.map(T::read)
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    type Written = Vec<T::Written>;
    fn written(&self) -> Self::Written {
        self.iter().map(T::written).collect()
    }
    fn read(written: Self::Written) -> Self {
        written.into_iter().map(T::read).collect()
    }
}

impl<T: Numbers, U: Numbers> Numbers for (T, U) {
    type Written = (T::Written, U::Written);
    fn written(&self) -> Self::Written {
        (self.0.written(), self.1.written())
    }
    fn read(written: Self::Written) -> Self {
        (T::read(written.0), U::read(written.1))
    }
}

impl<T: Numbers> Numbers for BTreeMap<String, T> {
    type Written = BTreeMap<String, T::Written>;
    fn written(&self) -> Self::Written {
        self.iter().map(|(name, value)| (name.clone(), value.written())).collect()
    }
    fn read(written: Self::Written) -> Self {
        written.into_iter().map(|(name, value)| (name, T::read(value))).collect()
    }
}

/// One number as it stands in a file.
pub struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            finite if finite.is_finite() => to.serialize_f64(finite),
            // `NaN`, `inf`, `-inf`
            other => to.collect_str(&other),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberVisitor).map(Self)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = f64;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a number, `\"NaN\"`, `\"inf\"` or `\"-inf\"`")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_unit<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        match text {
            "NaN" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Record {
        #[serde(with = "crate::number")]
        plain: f64,
        #[serde(default, with = "crate::number")]
        perhaps: Option<f64>,
        #[serde(default, with = "crate::number")]
        many: BTreeMap<String, Vec<(f64, f64)>>,
    }

    #[test]
    fn every_number_is_read_back_as_it_was() {
        for number in [0.0, -0.0, 0.1, 1e300, 5e-324, 3.0, f64::INFINITY, f64::NEG_INFINITY] {
            let many = BTreeMap::from([("a".to_owned(), vec![(number, -number)])]);
            let record = Record { plain: number, perhaps: Some(number), many };
            let text = serde_json::to_string(&record).unwrap();
            let read: Record = serde_json::from_str(&text).unwrap();
            assert_eq!(read.plain.to_bits(), number.to_bits(), "{text}");
            assert_eq!(read.perhaps, Some(number), "{text}");
            assert_eq!(read.many, record.many, "{text}");
        }
        let many = BTreeMap::from([("a".to_owned(), vec![(f64::NAN, 1.0)])]);
        let record = Record { plain: f64::NAN, perhaps: Some(f64::NAN), many };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text, r#"{"plain":"NaN","perhaps":"NaN","many":{"a":[["NaN",1.0]]}}"#);
        let read: Record = serde_json::from_str(&text).unwrap();
        assert!(read.plain.is_nan() && read.perhaps.unwrap().is_nan());
        assert!(read.many["a"][0].0.is_nan());
    }

    #[test]
    fn null_of_earlier_versions_is_nan_or_none_and_other_texts_are_refused() {
        let read: Record = serde_json::from_str(r#"{"plain": null, "perhaps": null}"#).unwrap();
        assert!(read.plain.is_nan() && read.perhaps.is_none());
        assert_eq!(serde_json::from_str::<Record>(r#"{"plain": -3}"#).unwrap().plain, -3.0);
        for text in [r#"{"plain": "many"}"#, r#"{"plain": true}"#, r#"{"plain": [1.0]}"#, "{}"] {
            let error = serde_json::from_str::<Record>(text).unwrap_err().to_string();
            assert!(error.contains("a number") || error.contains("missing field"), "{error}");
        }
    }
}
