//! A second runtime for what is exported: `rten` runs the file as it stands.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rten::{ModelOptions, Value};

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
