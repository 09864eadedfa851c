//! `faculty demo`: three teachers of unequal quality, one student, three ways to train it.
//!
//! Everything the demo uses is written to its folder first, so that its recipes can be looked at,
//! changed and run again with `faculty distill`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faculty_data::{Dataset, Split, ViewSettings};
use faculty_distill::methods::known;
use faculty_distill::metrics::Quality;
use faculty_distill::recipe::{self, Recipe};
use faculty_distill::{CheckedRun, Event, Start, headline, open_dataset, train};
use faculty_files::{failed, write_atomically};
use faculty_nets::{MapShape, Network};
use faculty_teachers::teachers_quality;
use faculty_teachers::{NetworkTeacher, TeacherSource};
use serde_json::json;

use super::{load_recipe, report, shown, stop_on_interrupt, use_threads};
use crate::arguments::DemoOptions;
use crate::failure::Failure;
use crate::progress::{Progress, print_json};
use crate::table::{self, Align, percent};

/// A file that travels inside the program.
macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../demo/", $name)))),+]
    };
}

const FILES: &[(&str, &[u8])] = embedded![
    "README.md",
    "distill.toml",
    "teachers/ada.toml",
    "teachers/ada.safetensors",
    "teachers/ben.toml",
    "teachers/ben.safetensors",
    "teachers/mal.toml",
    "teachers/mal.safetensors",
    "fashion-mnist/LICENSE",
    "fashion-mnist/classes.txt",
    "fashion-mnist/train-images-idx3-ubyte.gz",
    "fashion-mnist/train-labels-idx1-ubyte.gz",
    "fashion-mnist/t10k-images-idx3-ubyte.gz",
    "fashion-mnist/t10k-labels-idx1-ubyte.gz",
];

/// Ways to train the student, in the order of the table.
const METHODS: [&str; 3] = ["ce", "aver", "ca-mkd"];

struct TeacherRow {
    name: String,
    network: String,
    top1: f64,
    mean_weight: f64,
}

struct StudentRow {
    method: &'static str,
    top1: f64,
    seconds: f64,
}

pub(crate) fn run(options: &DemoOptions) -> Result<(), Failure> {
    let started = Instant::now();
    use_threads(options.threads)?;
    let stop = stop_on_interrupt();
    let folder = &options.output;
    unpack(folder)?;
    if !options.json {
        eprintln!("the demo's data, teachers and recipes are in `{}`", folder.display());
    }
    let path = folder.join("distill.toml");
    let seed = format!("seed={}", options.seed);
    let mut recipe = load_recipe(&path, &[seed])?.recipe;
    let dataset = open_dataset(&recipe.data)?;
    if options.retrain {
        retrain(options, &mut recipe, &dataset, &stop)?;
    }
    let test = dataset.test_split().expect("the embedded data has a test split");
    let (qualities, ensemble) = measure(&recipe, &dataset, &test)?;

    let (mut students, mut folders) = (Vec::new(), Vec::new());
    let mut weights = WeightMeter::default();
    for method in METHODS {
        let output = folder.join("runs").join(method);
        let mut own = recipe.clone();
        own.method = recipe::Method::with_defaults(&known(method)?.spec);
        own.output = Some(output);
        let began = Instant::now();
        let card = train_one(&own, &dataset, method, options.json, &stop, &mut |event| {
            if method == "ca-mkd"
                && let Event::Epoch(record) = event
                && let Some(kd) = record.teacher_weights.get("kd")
            {
                weights.add(kd);
            }
        })?;
        folders.push(own.output.unwrap_or_default());
        let top1 = headline(&card.last).map_or(0.0, |quality| quality.top1);
        students.push(StudentRow { method, top1, seconds: began.elapsed().as_secs_f64() });
    }
    let weights = weights.means();
    let teachers: Vec<TeacherRow> = recipe
        .teachers
        .iter()
        .zip(&qualities)
        .map(|(teacher, quality)| TeacherRow {
            name: teacher.name.clone(),
            network: teacher.network.clone().unwrap_or_default(),
            top1: quality.top1,
            mean_weight: weights.get(&teacher.name).copied().unwrap_or(0.0),
        })
        .collect();
    let page = report::write(&folders, &folder.join("report.html"));
    let page = report::or_warning(page);
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        print_result_json(&teachers, &ensemble, &students, seconds);
    } else {
        print_result(&recipe, &teachers, &ensemble, &students, seconds, folder)?;
        if let Some(page) = page {
            writeln!(crate::terminal::stdout(), "report: {}", shown(&page))?;
        }
    }
    Ok(())
}

/// Writes the embedded files; an earlier demo's files are replaced.
fn unpack(folder: &Path) -> Result<(), Failure> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(failed("create the folder of", &path))?;
        write_atomically(&path, bytes).map_err(failed("write", &path))?;
    }
    Ok(())
}

/// Trains the three teachers by their recipes and puts them in place of the shipped ones.
fn retrain(
    options: &DemoOptions,
    recipe: &mut Recipe,
    dataset: &Dataset,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    for teacher in &mut recipe.teachers {
        let output = options.output.join("runs").join(&teacher.name);
        let path = options.output.join("teachers").join(format!("{}.toml", teacher.name));
        let sets = [format!("output={}", output.display())];
        let own = load_recipe(&path, &sets)?.recipe;
        train_one(&own, dataset, &teacher.name, options.json, stop, &mut |_| {})?;
        teacher.weights = Some(output.join("student.safetensors"));
    }
    Ok(())
}

fn train_one(
    recipe: &Recipe,
    dataset: &Dataset,
    label: &str,
    json: bool,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Event<'_>),
) -> Result<faculty_distill::record::RunCard, Failure> {
    let run = CheckedRun::new(recipe, dataset)?;
    if !json {
        eprintln!("{label}: {}", run.card().objective);
    }
    let output = recipe.output.clone().unwrap_or_else(|| label.into());
    let mut progress = Progress::new(label, recipe.train.epochs, json, false);
    let mut events = report::Events::new(true);
    let card = train(run, &output, Start::Overwrite, stop, &mut |event| {
        progress.show(&event);
        events.take(&output, &event);
        observe(&event);
    });
    progress.finish();
    Ok(card?)
}

/// Each teacher and the ensemble on the test split.
fn measure(
    recipe: &Recipe,
    dataset: &Dataset,
    test: &Split,
) -> Result<(Vec<Quality>, Quality), Failure> {
    let [channels, height, width] = dataset.shape()?;
    let input = MapShape::new(channels, height, width);
    let classes = dataset.classes().len();
    let mut teachers = Vec::new();
    for recipe::Teacher { network, weights, .. } in &recipe.teachers {
        // The demo's own recipe: every teacher is a network.
        let (network, weights) = (
            network.as_deref().unwrap_or_default(),
            weights.as_deref().unwrap_or_else(|| Path::new("")),
        );
        let network = Network::load(network, input, classes, weights)?;
        teachers.push(NetworkTeacher::new(&network, None, &[]));
    }
    let mut sources: Vec<&mut dyn TeacherSource> =
        teachers.iter_mut().map(|teacher| teacher as _).collect();
    let normalisation = faculty_data::Normalisation {
        mean: recipe.data.mean.clone().unwrap_or_default(),
        std: recipe.data.std.clone().unwrap_or_default(),
    };
    Ok(teachers_quality(&mut sources, test, &ViewSettings::plain(normalisation))?
        .expect("the embedded test split is not empty"))
}

/// Mean over the epochs of each teacher's mean weight.
#[derive(Default)]
struct WeightMeter {
    epochs: usize,
    sums: BTreeMap<String, f64>,
}

impl WeightMeter {
    fn add(&mut self, weights: &BTreeMap<String, f64>) {
        self.epochs += 1;
        for (name, weight) in weights {
            *self.sums.entry(name.clone()).or_default() += weight;
        }
    }

    fn means(self) -> BTreeMap<String, f64> {
        let epochs = self.epochs.max(1) as f64;
        self.sums.into_iter().map(|(name, sum)| (name, sum / epochs)).collect()
    }
}

fn print_result_json(
    teachers: &[TeacherRow],
    ensemble: &Quality,
    students: &[StudentRow],
    seconds: f64,
) {
    let teachers: Vec<_> = teachers
        .iter()
        .map(|t| json!({"name": t.name, "top1": t.top1, "mean_weight": t.mean_weight}))
        .collect();
    let students: Vec<_> = students
        .iter()
        .map(|s| json!({"method": s.method, "top1": s.top1, "seconds": s.seconds}))
        .collect();
    print_json(&json!({
        "teachers": teachers,
        "ensemble": {"top1": ensemble.top1},
        "students": students,
        "seconds": seconds,
    }));
}

fn print_result(
    recipe: &Recipe,
    teachers: &[TeacherRow],
    ensemble: &Quality,
    students: &[StudentRow],
    seconds: f64,
    folder: &Path,
) -> std::io::Result<()> {
    let mut out = crate::terminal::stdout();
    let mut rows: Vec<Vec<String>> = teachers
        .iter()
        .map(|t| {
            let who = format!("teacher {} ({})", t.name, t.network);
            vec![who, percent(t.top1), format!("{:.3}", t.mean_weight), String::new()]
        })
        .collect();
    let blank = String::new;
    rows.push(vec!["ensemble of the three".to_owned(), percent(ensemble.top1), blank(), blank()]);
    for student in students {
        let how = match student.method {
            "ce" => "alone",
            "aver" => "averaging the teachers",
            _ => "weighing the teachers",
        };
        let who = format!("student {} ({}), {how}", student.method, recipe.student.network);
        let time = format!("{:.1} s", student.seconds);
        rows.push(vec![who, percent(student.top1), blank(), time]);
    }
    let header = [
        ("Fashion-MNIST", Align::Left),
        ("test top-1", Align::Right),
        ("mean weight (ca-mkd)", Align::Right),
        ("time", Align::Right),
    ];
    table::write(&mut out, &header, &rows)?;
    if let [alone, averaged, weighed] = students {
        writeln!(
            out,
            "ca-mkd against training alone: {:+.2} points; against averaging: {:+.2} points",
            weighed.top1 - alone.top1,
            weighed.top1 - averaged.top1
        )?;
    }
    writeln!(
        out,
        "total {seconds:.0} s; try it: faculty distill {}",
        folder.join("distill.toml").display()
    )
}
