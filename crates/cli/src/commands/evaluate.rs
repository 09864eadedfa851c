//! `faculty evaluate`: quality of a network on a data set.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use faculty_data::{Dataset, Normalisation, Part};
use faculty_distill::evaluate::network_quality;
use faculty_distill::methods::specs;
use faculty_distill::metrics::Quality;
use faculty_distill::recipe::Recipe;
use faculty_nets::weights::{self, WeightFile};
use faculty_nets::{MapShape, Network};

use super::{open_data, show_findings};
use crate::arguments::{DataOptions, EvaluateOptions, PartName};
use crate::failure::Failure;
use crate::progress::print_json;

pub(crate) fn run(options: &EvaluateOptions) -> Result<(), Failure> {
    if options.run.is_some() && options.reading != DataOptions::default() {
        return Err(Failure::Usage {
            what: "a run's data is read as its recipe says".to_owned(),
            hint: "leave out the options of reading, or give `--weights` and `--data`".to_owned(),
        });
    }
    let (weight_file, dataset) = match (&options.run, &options.weights, &options.data) {
        (Some(run), ..) => of_run(run)?,
        (None, Some(weights), Some(data)) => {
            let dataset = Dataset::open(data, &options.reading.read_options()?)?;
            show_findings(&dataset);
            (weights.clone(), dataset)
        }
        _ => unreachable!("the command line asks for a run, or for weights and data"),
    };
    let metadata = weights::metadata(&weight_file)?;
    let name =
        options.network.clone().or_else(|| metadata.get("network").cloned()).ok_or_else(|| {
            Failure::Usage {
                what: format!("`{}` does not say which network it is", weight_file.display()),
                hint: "name it with `--network`; `faculty networks` lists all".to_owned(),
            }
        })?;
    let [channels, height, width] = dataset.shape();
    let input = MapShape::new(channels, height, width);
    let mut file = WeightFile::open(&weight_file, options.weights_key.as_deref())?;
    let classes = Some(dataset.classes().len());
    let (network, notes) = Network::from_file(&name, input, classes, &mut file)?;
    let (normalisation, origin) = normalisation(options, &metadata, &dataset)?;
    let part = part(options.part, &dataset)?;
    if !options.json {
        eprintln!("normalisation: {origin}");
        notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    let quality = network_quality(&network, &part, &normalisation)?
        .expect("the readers refuse data sets with an empty part");
    if options.json {
        print_json(&quality);
    } else {
        show(&quality)?;
    }
    if !quality.is_finite() {
        return Err(Failure::Answer {
            what: format!("the outputs of `{}` are not all numbers", weight_file.display()),
            hint: "train it again with a lower `train.learning_rate`; check the normalisation"
                .to_owned(),
        });
    }
    Ok(())
}

fn show(quality: &Quality) -> std::io::Result<()> {
    use std::io::Write as _;
    let Quality { top1, top5, nll, ece, samples } = quality;
    writeln!(
        crate::terminal::stdout(),
        "top-1 {top1:.2} %, top-5 {top5:.2} %, NLL {nll:.4} nats, ECE {ece:.4} ({samples} images)"
    )
}

/// The student of a run and the data that its recipe names.
fn of_run(run: &Path) -> Result<(PathBuf, Dataset), Failure> {
    let recipe = run.join("recipe.toml");
    let weights = run.join("student.safetensors");
    if !recipe.exists() || !weights.exists() {
        return Err(Failure::Usage {
            what: format!("`{}` holds no finished run", run.display()),
            hint: "give a run folder of `faculty distill`, or `--weights` and `--data`".to_owned(),
        });
    }
    let recipe = Recipe::load(&recipe, &[], &specs())?.recipe;
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
    if dataset.shape() == [3, 32, 32] && dataset.classes().len() == 100 {
        return Ok((Normalisation::cifar100(), "the published constants of CIFAR-100"));
    }
    let part = dataset.train_part();
    let measured = Normalisation::measure(part.set(), part.indices())?;
    Ok((measured, "measured on the training part"))
}

fn part(name: PartName, dataset: &Dataset) -> Result<Part, Failure> {
    let (found, what, others) = match name {
        PartName::Train => return Ok(dataset.train_part()),
        PartName::Validation => (dataset.validation_part(), "validation", "test"),
        PartName::Test => (dataset.test_part(), "test", "validation"),
    };
    found.ok_or_else(|| Failure::Usage {
        what: format!("data set `{}` has no {what} split", dataset.name()),
        hint: format!(
            "measure on `--part {others}` or `--part train`, or name a split with `--{what} SPLIT`"
        ),
    })
}
