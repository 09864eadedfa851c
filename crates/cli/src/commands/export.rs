//! `faculty export`: a student for other programs.

use std::path::Path;

use faculty_distill::export::{
    Int8Accuracy, Int8Export, OnnxExport, Parity, export_int8, export_onnx, export_safetensors,
    export_transformers, write_model_card,
};
use faculty_distill::{FinishedStudent, StudentChoice};
use serde_json::{Map, Value, json};

use super::{refuse_recipe, shown};
use crate::arguments::ExportOptions;
use crate::failure::{Failure, message};
use crate::progress::print_json;

pub(crate) fn run(options: &ExportOptions) -> Result<(), Failure> {
    let given = options.run.as_deref().or(options.weights.as_deref());
    if let Some(model) = given.filter(|path| faculty_nets::is_decoder(path)) {
        return super::language_export::run(options, model);
    }
    let ExportOptions { onnx, safetensors, transformers, card, .. } = options;
    if options.gguf.is_some() {
        return Err(Failure::Usage {
            what: "`--gguf` is for language models".to_owned(),
            hint: "give a GGUF file, or a folder whose `config.json` names a language model; \
                   `docs/language-models.md` says which are known"
                .to_owned(),
        });
    }
    let of_student = onnx.is_some() || safetensors.is_some() || transformers.is_some();
    if !of_student && card.is_none() {
        return Err(Failure::Usage {
            what: "nothing to write was named".to_owned(),
            hint: "give at least one of `--onnx FILE`, `--safetensors FILE`, `--transformers FOLDER`, \
                   `--card FOLDER`; of a language model `--gguf FILE`"
                .to_owned(),
        });
    }
    options.run.as_deref().map_or(Ok(()), refuse_recipe)?;
    let mut written = Map::new();
    if of_student {
        let student = open(options)?;
        if let Some(path) = onnx {
            let export = OnnxExport { batch: options.batch.0, normalise: options.normalise };
            let about = if options.int8 {
                let int8 = Int8Export {
                    calibration_images: options.int8_images,
                    most_loss: options.int8_loss,
                    ..Int8Export::default()
                };
                let accuracy = export_int8(&student, path, export, int8)?;
                tell_int8(path, &accuracy);
                json!({ "path": path, "int8": accuracy })
            } else {
                let parity = export_onnx(&student, path, export)?;
                tell(path, &parity);
                json!({ "path": path, "parity": parity })
            };
            written.insert("onnx".to_owned(), about);
        }
        if let Some(folder) = transformers {
            let files = export_transformers(&student, folder)?;
            files.iter().for_each(|file| eprintln!("wrote {}", shown(file)));
            written.insert("transformers".to_owned(), json!(files));
        }
        if let Some(path) = safetensors {
            export_safetensors(&student, path)?;
            eprintln!("wrote {}", shown(path));
            written.insert("safetensors".to_owned(), json!({ "path": path }));
        }
    }
    if let (Some(folder), Some(run)) = (card, &options.run) {
        let [own, data] = [&options.licence, &options.data_licence].map(Option::as_deref);
        write_model_card(run, folder, own, data)?;
        let files = ["model-card.md", "model-card.json"].map(|name| folder.join(name));
        files.iter().for_each(|file| eprintln!("wrote {}", shown(file)));
        written.insert("card".to_owned(), json!(files));
    }
    if options.json {
        print_json(&Value::Object(written));
    }
    Ok(())
}

fn open(options: &ExportOptions) -> Result<FinishedStudent, Failure> {
    let choice = StudentChoice {
        network: options.network.clone(),
        size: options.size.map(|size| size.0),
        weights_key: options.weights_key.clone(),
    };
    let given = options.run.as_ref().or(options.weights.as_ref());
    let path = given.expect("the command line asks for a run or for weights");
    let student = FinishedStudent::open(path, &choice)?;
    if let Some(epoch) = student.unfinished_epoch {
        eprintln!(
            "warning: the run is not finished; this is its student of epoch {epoch}, the best so far"
        );
    }
    for note in &student.notes {
        eprintln!("note: {note}");
    }
    if let Some(Err(error)) = &student.data {
        eprint!("warning: the run's data cannot be read\n{}", message(error));
    }
    Ok(student)
}

fn tell(path: &Path, parity: &Parity) {
    let Parity { images, real, largest_difference, largest_logit, relative } = parity;
    let kind = if *real { "images of the run's data" } else { "random images" };
    eprintln!(
        "wrote {}: in rten its logits differ by at most {largest_difference:.1e} from the student's \
         ({relative:.1e} of the largest, {largest_logit:.1}) on {images} {kind}",
        shown(path)
    );
}

fn tell_int8(path: &Path, accuracy: &Int8Accuracy) {
    let Int8Accuracy { calibration_images, images, tested, float, int8, agreement, bytes } =
        accuracy;
    let part = if *tested { "test" } else { "training" };
    let [before, after] = bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
    eprintln!(
        "wrote {}: in rten {:.2} % right in 8 bits, {:.2} % as floats, on {images} {part} images \
         ({:.2} % the same class); calibrated on {calibration_images}; {after:.2} MiB instead of \
         {before:.2}",
        shown(path),
        100.0 * int8,
        100.0 * float,
        100.0 * agreement
    );
}
