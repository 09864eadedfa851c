//! A second runtime for what is exported: `rten` runs the file as it stands.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rten::{ModelOptions, NodeId, Value};

use crate::error::{Error, Result};

/// The output of an ONNX file for images `[samples, channels, height, width]`. A file for batches
/// of a fixed size sees the last ones filled up with zeros.
pub(super) fn logits(
    onnx: &[u8],
    images: &[f32],
    [channels, height, width]: [usize; 3],
    batch: Option<usize>,
) -> Result<Vec<f32>> {
    let size = channels * height * width;
    let samples = images.len() / size;
    let group = batch.unwrap_or(samples).max(1);
    let run = || -> std::result::Result<Vec<f32>, String> {
        let model =
            ModelOptions::with_all_ops().load(onnx.to_vec()).map_err(|error| error.to_string())?;
        let (&[input], &[output]) = (model.input_ids(), model.output_ids()) else {
            return Err("it does not have one input and one output".to_owned());
        };
        let mut all = Vec::new();
        for images in images.chunks(group * size) {
            let mut filled = images.to_vec();
            filled.resize(group * size, 0.0);
            let shape = [group, channels, height, width];
            let image = Value::from_shape(shape.as_slice(), filled).map_err(|e| e.to_string())?;
            let values = model.run(vec![(input, image.into())], &[output], None);
            match values.map_err(|error| error.to_string())?.pop() {
                Some(Value::FloatTensor(tensor)) => all.extend(tensor.into_data()),
                _ => return Err("its output is no float tensor".to_owned()),
            }
        }
        let classes = all.len() / samples.next_multiple_of(group).max(1);
        all.truncate(samples * classes);
        Ok(all)
    };
    // The runtime is not ours; should it panic, that is still an error with a name.
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("it panicked".to_owned()))
        .map_err(|reason| Error::SecondRuntime { reason })
}

/// Lowest and highest value of each of `tensors` of an ONNX file over all images
/// `[samples, channels, height, width]`, one image at a time.
pub(super) fn ranges(
    onnx: &[u8],
    images: &[f32],
    [channels, height, width]: [usize; 3],
    tensors: impl IntoIterator<Item = String>,
) -> Result<BTreeMap<String, [f32; 2]>> {
    let run = || -> std::result::Result<BTreeMap<String, [f32; 2]>, String> {
        let mut options = ModelOptions::with_all_ops();
        // Joined operators have no values between them.
        options.enable_optimization(false);
        let model = options.load(onnx.to_vec()).map_err(|error| error.to_string())?;
        let &[input] = model.input_ids() else {
            return Err("it does not have one input".to_owned());
        };
        let mut found: BTreeMap<String, [f32; 2]> = BTreeMap::new();
        let mut made: Vec<(String, NodeId)> = Vec::new();
        for name in tensors {
            let id = model.find_node(&name).ok_or_else(|| format!("it has no `{name}`"))?;
            found.insert(name.clone(), [f32::INFINITY, f32::NEG_INFINITY]);
            made.push((name, id));
        }
        let mut widen = |name: &str, values: &[f32]| {
            let range = found.get_mut(name).expect("every tensor has a range");
            for &value in values {
                *range = [range[0].min(value), range[1].max(value)];
            }
        };
        // The image is given, not made.
        let given = made.iter().position(|(_, id)| *id == input).map(|at| made.remove(at));
        let ids: Vec<NodeId> = made.iter().map(|(_, id)| *id).collect();
        for image in images.chunks(channels * height * width) {
            if let Some((name, _)) = &given {
                widen(name, image);
            }
            let shape = [1, channels, height, width];
            let value = Value::from_shape(shape.as_slice(), image.to_vec());
            let value = value.map_err(|error| error.to_string())?;
            let values = model.run(vec![(input, value.into())], &ids, None);
            let values = values.map_err(|error| error.to_string())?;
            for ((name, _), value) in made.iter().zip(values) {
                let Value::FloatTensor(tensor) = value else {
                    return Err(format!("`{name}` is no float tensor"));
                };
                widen(name, &tensor.into_data());
            }
        }
        Ok(found)
    };
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("it panicked".to_owned()))
        .map_err(|reason| Error::SecondRuntime { reason })
}
