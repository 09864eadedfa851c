//! A trained head in a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faculty_nets::weights::{self, Array, StateDict};
use faculty_nets::{Network, ValueId};

use crate::error::{Result, TeacherError};
use faculty_nets::Tap;
use faculty_recipe::Heads;

/// A linear classifier on a map in the middle of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its file.
    pub path: PathBuf,
    /// The map that it reads.
    pub tap: Tap,
    /// All that it depends on, in words.
    pub identity: String,
    /// What its outputs stand for.
    pub class_names: Vec<String>,
    /// `[classes, elements of the map]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

impl Head {
    /// Reads a head file.
    ///
    /// # Errors
    /// When it cannot be read or is no head.
    pub fn read(path: &Path) -> Result<Self> {
        let no_head = |reason: String| TeacherError::HeadFile { path: path.to_owned(), reason };
        let (mut state, metadata) = match weights::read_safetensors(path) {
            Ok(read) => read,
            Err(error @ faculty_nets::Error::Read { .. }) => return Err(error.into()),
            Err(error) => return Err(no_head(error.to_string())),
        };
        let text = |key: &str| metadata.get(key).ok_or(no_head(format!("it has no `{key}`")));
        let tap = text("tap")?;
        let Some(feature) = Heads::feature(tap) else {
            return Err(no_head(format!("`{tap}` is no tap")));
        };
        let class_names: Vec<String> = serde_json::from_str(text("class_names")?)
            .map_err(|error| no_head(format!("`class_names`: {error}")))?;
        let identity = text("identity")?.clone();
        let mut take = |name: &str| state.remove(name).ok_or(no_head(format!("no `{name}`")));
        let (weight, bias) = (take("head.weight")?, take("head.bias")?);
        let classes = class_names.len();
        let fits = bias.shape == [classes] && weight.shape.first() == Some(&classes);
        if classes == 0 || weight.shape.len() != 2 || !fits {
            let (weight, bias) = (&weight.shape, &bias.shape);
            return Err(no_head(format!(
                "weight {weight:?} and bias {bias:?} do not fit its {classes} classes"
            )));
        }
        if weight.values.iter().chain(&bias.values).any(|value| !value.is_finite()) {
            return Err(no_head("it holds a NaN or an infinity".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            tap: Tap::Feature(feature),
            identity,
            class_names,
            weight: weight.values,
            bias: bias.values,
        })
    }

    /// Writes the file, complete or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> Result<()> {
        let classes = self.bias.len();
        let elements = self.weight.len() / classes.max(1);
        let array = |shape: Vec<usize>, values: &[f32]| Array { shape, values: values.to_vec() };
        let state = StateDict::from([
            ("head.bias".to_owned(), array(vec![classes], &self.bias)),
            ("head.weight".to_owned(), array(vec![classes, elements], &self.weight)),
        ]);
        let names = serde_json::json!(self.class_names).to_string();
        let metadata = BTreeMap::from([
            ("tap".to_owned(), self.tap.to_string()),
            ("identity".to_owned(), self.identity.clone()),
            ("class_names".to_owned(), names),
            ("faculty".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        Ok(weights::write(&self.path, &state, &metadata)?)
    }

    /// `network` as far as the map, and this head.
    ///
    /// # Errors
    /// When the network has no such map, or it is of another size.
    pub fn on(&self, network: &Network) -> Result<Network> {
        let other = |reason: String| TeacherError::HeadFile { path: self.path.clone(), reason };
        let graph = network.graph();
        let value: Option<ValueId> = self.tap.value(graph);
        let Some(value) = value else {
            return Err(other(format!("`{}` has no map `{}`", network.name(), self.tap)));
        };
        let shape = graph.shape(value);
        if self.weight.len() != self.bias.len() * shape.elements() {
            let elements = self.weight.len() / self.bias.len().max(1);
            return Err(other(format!("it reads {elements} values, `{}` is {shape}", self.tap)));
        }
        Ok(network.with_head(value, self.weight.clone(), self.bias.clone()))
    }
}

#[cfg(test)]
mod tests {
    use faculty_nets::MapShape;

    use super::*;

    fn head(path: PathBuf) -> Head {
        Head {
            path,
            tap: Tap::Feature(3),
            identity: "mine".to_owned(),
            class_names: vec!["a".to_owned(), "b".to_owned()],
            weight: (0..2 * 256).map(|i| i as f32 / 100.0).collect(),
            bias: vec![0.5, -0.5],
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_reads_the_flattened_map() {
        let folder = tempfile::tempdir().unwrap();
        let own = head(folder.path().join("head.safetensors"));
        own.write().unwrap();
        assert_eq!(Head::read(&own.path).unwrap(), own);

        let network = Network::new("resnet8", MapShape::new(1, 8, 8), 5, 1).unwrap();
        let image: Vec<f32> = (0..64).map(|i| (i % 7) as f32 / 7.0).collect();
        let value = own.tap.value(network.graph()).unwrap();
        let mut whole = faculty_nets::Inference::new(&network, &[value]);
        whole.run(&image, 1);
        let mut part = faculty_nets::Inference::new(&own.on(&network).unwrap(), &[]);
        let logits = part.run(&image, 1);
        for class in 0..2 {
            let row = &own.weight[class * 256..][..256];
            let products = row.iter().zip(whole.value(value)).map(|(w, x)| f64::from(w * x));
            let want = products.sum::<f64>() + f64::from(own.bias[class]);
            assert!((f64::from(logits[class]) - want).abs() < 1e-3 * want.abs().max(1.0));
        }
    }

    #[test]
    fn what_is_no_head_or_fits_no_network_is_refused_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        std::fs::write(&path, "no such file").unwrap();
        let error = Head::read(&path).unwrap_err();
        assert!(matches!(error, TeacherError::HeadFile { .. }), "{error}");
        assert!(error.hint().unwrap().contains("delete"));
        let wrong = Head { bias: vec![0.0; 4], ..head(path.clone()) };
        wrong.write().unwrap();
        let error = Head::read(&path).unwrap_err().to_string();
        assert!(error.contains("do not fit its 2 classes"), "{error}");
        let broken = Head { bias: vec![0.0, f32::NAN], ..head(path.clone()) };
        broken.write().unwrap();
        assert!(Head::read(&path).unwrap_err().to_string().contains("a NaN or an infinity"));
        let larger = Network::new("resnet8", MapShape::new(1, 16, 16), 5, 1).unwrap();
        let error = head(path).on(&larger).unwrap_err().to_string();
        assert!(error.contains("it reads 256 values, `f3` is 64×4×4"), "{error}");
    }
}
