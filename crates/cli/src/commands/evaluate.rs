//! `faculty evaluate`: quality of a network on a data set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use faculty_data::{Dataset, Normalisation, Split, ViewSettings};
use faculty_distill::evaluate::network_quality;
use faculty_distill::know_student;
use faculty_distill::methods::specs;
use faculty_distill::metrics::Quality;
use faculty_distill::predict::{OnnxNetwork, OnnxReading, is_onnx};
use faculty_distill::recipe::Recipe;
use faculty_distill::{FinishedStudent, StudentChoice};
use faculty_nets::weights::{self, WeightFile};
use faculty_nets::{MapShape, Network, recognise};

use super::{onnx_reading, open_data, refuse_recipe, show_findings};
use crate::arguments::{DataOptions, EvaluateOptions, SplitName};
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{class_means, shows_top5};

pub(crate) fn run(options: &EvaluateOptions) -> Result<(), Failure> {
    if options.run.is_some() && options.reading != DataOptions::default() {
        return Err(Failure::Usage {
            what: "a run's data is read as its recipe says".to_owned(),
            hint: "leave out the options of reading, or give `--weights` and `--data`".to_owned(),
        });
    }
    if let (Some(model), Some(data)) = (&options.weights, &options.data)
        && faculty_nets::is_decoder(model)
    {
        return super::language_quality::run(options, model, data);
    }
    if options.judgement.teacher.is_some() {
        return Err(Failure::Usage {
            what: "`--teacher` judges language models".to_owned(),
            hint: "leave it out, or give a language model as `--weights`: a GGUF file, or a folder"
                .to_owned(),
        });
    }
    let (file, dataset) = match (&options.run, &options.weights, &options.data) {
        (Some(run), ..) => of_run(run)?,
        (None, Some(weights), Some(data)) => {
            let dataset = Dataset::open(data, &options.reading.read_options()?)?;
            show_findings(&dataset);
            (weights.clone(), dataset)
        }
        _ => unreachable!("the command line asks for a run, or for weights and data"),
    };
    let onnx = is_onnx(&file);
    let reading = onnx_reading(&options.onnx, onnx)?;
    let quality = if onnx {
        of_onnx(options, &reading, &file, &dataset)?
    } else {
        of_weights(options, &file, &dataset)?
    };
    if options.json {
        print_json(&quality);
    } else {
        show(&quality, dataset.classes().len())?;
    }
    if !quality.is_finite() {
        return Err(Failure::Answer {
            what: format!("the outputs of `{}` are not all numbers", file.display()),
            hint: match options.run {
                Some(_) => "train it again with a lower `train.learning_rate`".to_owned(),
                None => "check its normalisation (`--mean`, `--std`), and whether half precision \
                         overflowed where the file was made"
                    .to_owned(),
            },
        });
    }
    Ok(())
}

fn of_weights(
    options: &EvaluateOptions,
    path: &Path,
    dataset: &Dataset,
) -> Result<Quality, Failure> {
    let metadata = weights::metadata(path)?;
    if dataset.shape().is_err() {
        return of_encoder(options, path, dataset);
    }
    let [channels, height, width] = dataset.shape()?;
    let input = MapShape::new(channels, height, width);
    let mut file = WeightFile::open(path, options.weights_key.as_deref())?;
    let name = match options.network.clone().or_else(|| metadata.get("network").cloned()) {
        Some(name) => name,
        None => recognised(&file, input, options.json)?,
    };
    let classes = Some(dataset.classes().len());
    let (network, notes) = Network::from_file(&name, input, classes, &mut file)?;
    let (normalisation, origin) = normalisation(options, &metadata, dataset)?;
    if !options.json {
        eprintln!("normalisation: {origin}");
        notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let part = part(options.split, dataset)?;
    let quality = network_quality(&network, &part, &ViewSettings::plain(normalisation))?;
    Ok(quality.expect("the readers refuse data sets with an empty part"))
}

/// A text encoder: a run's student, or another file of this program.
fn of_encoder(
    options: &EvaluateOptions,
    path: &Path,
    dataset: &Dataset,
) -> Result<Quality, Failure> {
    let choice = StudentChoice {
        network: options.network.clone(),
        size: None,
        weights_key: options.weights_key.clone(),
    };
    let student = FinishedStudent::open(path, &choice)?;
    let Some(views) = student.views() else {
        return Err(Failure::Usage {
            what: format!("no `tokenizer.json` lies beside `{}`", path.display()),
            hint: "give the student of a run folder, or put its tokenizer beside it".to_owned(),
        });
    };
    let (found, expected) = (student.network.classes(), dataset.classes().len());
    if found != expected {
        return Err(Failure::Usage {
            what: format!("`{}` has {found} classes, the data has {expected}", path.display()),
            hint: "name it as a teacher in a recipe, where `classes` says which are which"
                .to_owned(),
        });
    }
    let quality = network_quality(&student.network, &part(options.split, dataset)?, &views)?;
    Ok(quality.expect("the readers refuse data sets with an empty part"))
}

/// The network that a file's tensors are of.
fn recognised(file: &WeightFile, input: MapShape, json: bool) -> Result<String, Failure> {
    let fitting = recognise(file, input)?;
    let names: Vec<&str> = fitting.iter().map(|one| one.network.name).collect();
    if !json {
        eprintln!("network: {}, by its tensors", names[0]);
        if names.len() > 1 {
            let all = names.join(", ");
            eprintln!("note: they fit several networks: {all}; choose with `--network`");
        }
    }
    Ok(names[0].to_owned())
}

fn of_onnx(
    options: &EvaluateOptions,
    reading: &OnnxReading,
    path: &Path,
    dataset: &Dataset,
) -> Result<Quality, Failure> {
    for (flag, given) in
        [("--network", options.network.is_some()), ("--weights-key", options.weights_key.is_some())]
    {
        if given {
            return Err(Failure::Usage {
                what: format!("`{flag}` has no effect on an ONNX file"),
                hint: "leave it out".to_owned(),
            });
        }
    }
    let mut network = OnnxNetwork::open(path, dataset.shape()?, reading)?;
    let (found, expected) = (network.classes(), dataset.classes().len());
    if found != expected {
        return Err(Failure::Usage {
            what: format!("`{}` has {found} classes, the data has {expected}", path.display()),
            hint: "name it as a teacher in a recipe, where `classes` says which are which: \
                   `faculty teachers RECIPE` measures it"
                .to_owned(),
        });
    }
    let origin = match (&options.mean, &options.std) {
        (Some(mean), Some(std)) => {
            network.normalisation = Normalisation { mean: mean.clone(), std: std.clone() };
            "as given"
        }
        _ => "from the file, else pixel / 255",
    };
    if !options.json {
        eprintln!("normalisation: {origin}");
        network.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let quality = network.quality(&part(options.split, dataset)?)?;
    Ok(quality.expect("the readers refuse data sets with an empty part"))
}

fn show(quality: &Quality, classes: usize) -> std::io::Result<()> {
    use std::io::Write as _;
    let Quality { top1, top5, nll, ece, samples, .. } = quality;
    let top5 = if shows_top5(classes) { format!(", top-5 {top5:.2} %") } else { String::new() };
    let of_classes = class_means(quality);
    writeln!(
        crate::terminal::stdout(),
        "top-1 {top1:.2} %{top5}{of_classes}, NLL {nll:.4} nats, ECE {ece:.4} ({samples} samples)"
    )
}

/// The student of a run and the data that its recipe names.
fn of_run(run: &Path) -> Result<(PathBuf, Dataset), Failure> {
    refuse_recipe(run)?;
    if run.is_file() {
        return Err(Failure::Usage {
            what: format!("`{}` is a file, a run is a folder", run.display()),
            hint: "measure a file with `--weights FILE --data DATA`".to_owned(),
        });
    }
    let recipe = run.join("recipe.toml");
    let weights = run.join("student.safetensors");
    if !recipe.exists() || !weights.exists() {
        return Err(Failure::Usage {
            what: format!("`{}` holds no finished run", run.display()),
            hint: "give a run folder of `faculty distill`, or `--weights` and `--data`".to_owned(),
        });
    }
    let recipe = Recipe::load(&recipe, &[], &specs())?.recipe;
    know_student(&recipe)?;
    Ok((weights, open_data(&recipe)?))
}

fn normalisation(
    options: &EvaluateOptions,
    metadata: &HashMap<String, String>,
    dataset: &Dataset,
) -> Result<(Normalisation, &'static str), Failure> {
    let stored = |key: &str| -> Option<Vec<f32>> { serde_json::from_str(metadata.get(key)?).ok() };
    if let (Some(mean), Some(std)) = (&options.mean, &options.std) {
        let given = Normalisation { mean: mean.clone(), std: std.clone() };
        return Ok((given, "as given"));
    }
    if let (Some(mean), Some(std)) = (stored("mean"), stored("std")) {
        return Ok((Normalisation { mean, std }, "from the weight file"));
    }
    // Published CIFAR-100 networks were trained with rounded constants; measuring gives others in
    // the third digit, which moves a few images.
    if dataset.shape()? == [3, 32, 32] && dataset.classes().len() == 100 {
        return Ok((Normalisation::cifar100(), "the published constants of CIFAR-100"));
    }
    let part = dataset.train_split();
    let measured = part.normalisation()?;
    Ok((measured, "measured on the training split"))
}

fn part(name: SplitName, dataset: &Dataset) -> Result<Split, Failure> {
    let (found, what, others) = match name {
        SplitName::Train => return Ok(dataset.train_split()),
        SplitName::Validation => (dataset.validation_split(), "validation", "test"),
        SplitName::Test => (dataset.test_split(), "test", "validation"),
    };
    found.ok_or_else(|| Failure::Usage {
        what: format!("data set `{}` has no {what} split", dataset.name()),
        hint: format!(
            "measure on `--split {others}` or `--split train`, or name a split with `--{what} SPLIT`"
        ),
    })
}
