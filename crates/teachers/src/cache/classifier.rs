//! The frozen classifiers in a cache, a file each beside its teacher's records.

use std::path::Path;

use faculty_nets::weights;

use super::manifest::hash;
use crate::error::{Result, TeacherError};
use faculty_nets::FrozenClassifier;

pub(super) fn classifier_hash(classifier: &FrozenClassifier) -> String {
    let values = classifier.weight.iter().chain(&classifier.bias);
    hash(&values.flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

pub(super) fn write_classifier(path: &Path, classifier: &FrozenClassifier) -> Result<()> {
    let classes = classifier.bias.len();
    let channels = classifier.weight.len() / classes.max(1);
    let array =
        |shape: Vec<usize>, values: &[f32]| weights::Array { shape, values: values.to_vec() };
    let state = weights::StateDict::from([
        ("bias".to_owned(), array(vec![classes], &classifier.bias)),
        ("weight".to_owned(), array(vec![classes, channels], &classifier.weight)),
    ]);
    Ok(weights::write(path, &state, &std::collections::BTreeMap::new())?)
}

pub(super) fn read_classifier(path: &Path, expected: &str) -> Result<FrozenClassifier> {
    let damaged = || TeacherError::CacheDamaged {
        path: path.to_owned(),
        reason: "it is not the classifier of its manifest".to_owned(),
    };
    let (mut state, _) = weights::read_safetensors(path).map_err(|_| damaged())?;
    let mut take = |name: &str| state.remove(name).map(|array| array.values);
    let (Some(weight), Some(bias)) = (take("weight"), take("bias")) else {
        return Err(damaged());
    };
    let classifier = FrozenClassifier { weight, bias };
    if classifier_hash(&classifier) == expected { Ok(classifier) } else { Err(damaged()) }
}
