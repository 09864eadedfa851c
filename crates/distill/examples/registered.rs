//! A method, a network and a data format of your own, used from a recipe like the built-in ones: with
//! teachers, cache, comparison and report.
//!
//! ```text
//! method    only-right   L = CE + mean_b Σ_k w[k,b] τ² KL(teacher_k ‖ student), w equal over the right teachers
//! network   tiny-cnn     two convolutions with batch norm, average pooling, linear
//! format    grey-csv     train.grey and test.grey, a line a sample: label, 64 grey levels from 0 to 16
//! ```
//! `cargo run --release --example registered` writes its data, runs and page below `runs/registered`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::Tensor;
use burn::tensor::Int;
use faculty_data::{DataError, Dataset, Format, FormatReader, ImageSet, ReadOptions};
use faculty_distill::comparison::{CheckedComparison, Comparison, ComparisonPlan, SIGNIFICANCE};
use faculty_distill::losses::weighted_kl;
use faculty_distill::methods::{self, Loss, Method, MethodInfo, Needs, Setup, Status, Step, Term};
use faculty_distill::recipe::{MethodSpec, OptionSpec, OptionValue, Range, Recipe};
use faculty_distill::{CheckedRun, Start, open_dataset, train};
use faculty_nets::{Architecture, Conv2dConfig, Graph, GraphBuilder, MapShape};

/// Learns from the teachers that are right.
#[derive(Debug)]
struct OnlyRight {
    temperature: f32,
}

const ONLY_RIGHT: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "only-right",
        help: "each sample from the teachers that are right about it",
        options: &[OptionSpec {
            key: "temperature",
            default: OptionValue::Number(4.0),
            range: Range::between(0.1, 100.0),
            source: "a usual one",
            help: "temperature of the softened outputs",
            exceptions: &[],
        }],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "none",
    status: Status::Exact,
    build: |options| {
        let temperature = options.number("temperature").unwrap_or(4.0) as f32;
        Box::new(OnlyRight { temperature })
    },
};

impl Method for OnlyRight {
    fn setup(&self) -> Setup {
        // A mean over samples; of a mixture of two, no teacher is simply right.
        Setup {
            weights_read_maps: false,
            needs_one_label: true,
            averages_samples: true,
            ..Setup::default()
        }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let teachers = step.given_logits();
        let weights = right(teachers, &step.labels);
        let kd = weighted_kl(teachers, &step.student_logits, &weights, self.temperature);
        Loss::new(vec![
            Term { name: "task", weight: 1.0, value: step.task_loss() },
            Term { name: "kd", weight: 1.0, value: kd },
        ])
        .with_teacher_weights("kd", weights)
    }

    fn objective(&self, _teachers: usize) -> String {
        format!("CE + τ² KL from the right teachers, τ = {}", self.temperature)
    }
}

/// `[teachers, batch]`: equal over the teachers that are right, over all where none is.
fn right(teachers: &Tensor<3>, labels: &Tensor<1, Int>) -> Tensor<2> {
    let [count, batch, _] = teachers.dims();
    let said = teachers.clone().argmax(2).reshape([count, batch]);
    let labels = labels.clone().reshape([1, batch]).expand([count, batch]);
    // A trace for the wrong ones makes them equal where all are wrong.
    let right = said.equal(labels).float() + 1e-6;
    right.clone() / right.sum_dim(0)
}

/// Two convolutions.
#[derive(Debug)]
struct TinyCnn;

impl Architecture for TinyCnn {
    fn name(&self) -> &str {
        "tiny-cnn"
    }

    fn summary(&self) -> &str {
        "two convolutions with batch norm (8, 16)"
    }

    fn graph(&self, input: MapShape, classes: usize) -> faculty_nets::Result<Graph> {
        let (mut g, image) = GraphBuilder::new(input);
        let x = g.conv2d("conv1", image, Conv2dConfig::kaiming(8, 3, 1))?;
        let x = g.batch_norm("bn1", x, None, true);
        g.feature(x);
        let x = g.conv2d("conv2", x, Conv2dConfig::kaiming(16, 3, 2))?;
        let x = g.batch_norm("bn2", x, None, true);
        g.feature(x);
        g.pooled_classifier("fc", x, classes);
        Ok(g.finish())
    }
}

/// Digits as in the UCI repository: 8 × 8 pixels from 0 to 16, a line each.
struct GreyCsv;

impl FormatReader for GreyCsv {
    fn name(&self) -> &str {
        "grey-csv"
    }

    fn looks_for(&self) -> &str {
        "`train.grey`"
    }

    fn summary(&self) -> &str {
        "8 × 8 images in `train.grey` and `test.grey`, a line each: label, 64 grey levels up to 16"
    }

    fn recognises(&self, path: &Path) -> Result<bool, DataError> {
        Ok(path.join("train.grey").exists())
    }

    fn read(&self, path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
        let (train, test) = (images(&path.join("train.grey"))?, images(&path.join("test.grey"))?);
        let count = train.labels().iter().max().map_or(0, |&label| label as usize + 1);
        let names = (0..count).map(|class| class.to_string()).collect();
        let format = "grey-csv".parse::<Format>()?;
        Dataset::new("digits", format, options.classes.clone().unwrap_or(names), train, Some(test))
    }
}

fn images(path: &Path) -> Result<ImageSet, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(io)?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let bad = || {
            let reason = format!("line {} is not 65 whole numbers", at + 1);
            io(std::io::Error::new(std::io::ErrorKind::InvalidData, reason))
        };
        let numbers: Vec<u32> =
            line.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
        let [label, grey @ ..] = numbers.as_slice() else { return Err(bad()) };
        if grey.len() != 64 {
            return Err(bad());
        }
        labels.push(*label);
        pixels.extend(grey.iter().map(|&grey| (grey.min(16) * 255 / 16) as u8));
    }
    ImageSet::new(1, 8, 8, pixels, labels)
}

/// Four kinds of noisy bars, so that the example brings its data itself.
fn write_data(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let noise =
        |a: u32, b: u32| (a.wrapping_mul(747_796_405) ^ b.wrapping_mul(2_891_336_453)) >> 28;
    for (name, count, first) in [("train", 480, 0), ("test", 200, 10_000)] {
        let mut text = String::new();
        for sample in first..first + count {
            let label = sample % 4;
            write!(text, "{label}").map_err(std::io::Error::other)?;
            for pixel in 0..64 {
                let (row, column) = (pixel / 8, pixel % 8);
                let on = match label {
                    0 => row % 4 < 2,
                    1 => column % 4 < 2,
                    2 => (row + column) % 4 < 2,
                    _ => (row + 7 - column) % 4 < 2,
                };
                let grey = if on { 9 } else { 3 } + noise(sample, pixel) % 8;
                write!(text, ",{}", grey.min(16)).map_err(std::io::Error::other)?;
            }
            text.push('\n');
        }
        fs::write(folder.join(format!("{name}.grey")), text)?;
    }
    Ok(())
}

/// Makes everything that is registered here known; once in a process.
fn register() -> Result<(), Box<dyn Error>> {
    methods::register(ONLY_RIGHT)?;
    faculty_nets::register(TinyCnn)?;
    faculty_data::register(GreyCsv)?;
    Ok(())
}

fn recipe(folder: &Path, text: &str) -> Result<Recipe, Box<dyn Error>> {
    let file = folder.join("recipe.toml");
    Ok(Recipe::from_str(text, file, &[], &methods::specs())?.recipe)
}

/// Trains two teachers, then compares the student alone, averaging, and the method of one's own
/// over a cache; writes a page of the runs.
fn compare(folder: &Path) -> Result<Comparison, Box<dyn Error>> {
    write_data(&folder.join("digits"))?;
    let stop = AtomicBool::new(false);
    for (name, network, epochs) in [("one", "resnet8x0.5", 3), ("two", "tiny-cnn", 1)] {
        let text = format!(
            "[data]\npath = \"digits\"\ncrop_padding = 0\nflip = false\n[student]\nnetwork = \"{network}\"\n[method]\nname = \"ce\"\n\
             [train]\nepochs = {epochs}\nbatch_size = 16\n"
        );
        let own = recipe(folder, &text)?;
        let run = CheckedRun::new(&own, &open_dataset(&own.data)?)?;
        train(run, &folder.join(name), Start::Overwrite, &stop, &mut |_| {})?;
    }
    let own = recipe(
        folder,
        r#"
        [data]
        path = "digits"
        crop_padding = 0
        flip = false
        views = 2
        [student]
        network = "tiny-cnn"
        [[teachers]]
        name = "one"
        network = "resnet8x0.5"
        weights = "one/student.safetensors"
        [[teachers]]
        name = "two"
        network = "tiny-cnn"
        weights = "two/student.safetensors"
        allow_weak = true
        [method]
        name = "only-right"
        temperature = 2.0
        [train]
        epochs = 4
        batch_size = 16
        [cache]
        path = "cache"
        "#,
    )?;
    let dataset = open_dataset(&own.data)?;
    let names = ["ce", "aver", "only-right"].map(str::to_owned).to_vec();
    let plan = ComparisonPlan {
        folder: folder.join("compare"),
        methods: Some(names),
        seeds: 2,
        against: None,
        overwrite: true,
        level: SIGNIFICANCE,
    };
    let checked = CheckedComparison::new(&own, &dataset, plan)?;
    if let Some(cache) = checked.cache()? {
        cache.build(&stop, &mut |_| {})?;
    }
    let comparison = checked.run(&stop, &mut |_, _| {})?;
    let report = faculty_report::Report::load(&[folder.join("compare")])?;
    fs::write(folder.join("report.html"), faculty_report::html::page(&report))?;
    Ok(comparison)
}

fn main() -> Result<(), Box<dyn Error>> {
    register()?;
    let folder = Path::new("runs/registered");
    fs::create_dir_all(folder)?;
    for row in compare(folder)?.rows {
        println!("{:<12} {:.1} % of the test images", row.method, row.top1.mean);
    }
    println!("page: {}", folder.join("report.html").display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_works_in_recipes_cache_comparison_and_report() {
        register().unwrap();
        // A second time the names are taken.
        assert!(methods::register(ONLY_RIGHT).is_err());
        assert!(faculty_nets::register(TinyCnn).is_err());
        assert!(faculty_data::register(GreyCsv).is_err());

        let folder = tempfile::tempdir().unwrap();
        let comparison = compare(folder.path()).unwrap();
        let own = comparison.rows.iter().find(|row| row.method == "only-right").unwrap();
        assert!(own.top1.mean > 90.0, "{own:?}");
        assert!(folder.path().join("cache/manifest.json").exists());
        let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert!(page.contains("only-right") && page.contains("tiny-cnn"));
        // Finished runs are of the data set that was read by the reader.
        let dataset =
            Dataset::open(&folder.path().join("digits"), &ReadOptions::default()).unwrap();
        assert_eq!(dataset.format().name(), "grey-csv");
        assert_eq!((own.runs.len(), dataset.shape().unwrap()), (2, [1, 8, 8]));

        // An option that it does not have, and a number outside its range, are found like others'.
        let text = "[data]\npath = \"d\"\n[student]\nnetwork = \"tiny-cnn\"\n[method]\n\
                    name = \"only-right\"\ntemperature = 0.0\ntau = 1.0\n[[teachers]]\nname = \"a\"\n\
                    network = \"tiny-cnn\"\nweights = \"a.pth\"\n";
        let error = recipe(folder.path(), text).unwrap_err().to_string();
        assert!(error.contains("tau") && error.contains("temperature"), "{error}");
    }
}
