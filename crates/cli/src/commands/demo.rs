//! `faculty demo`: teachers of unequal quality, one student, three ways to train it; of images, of
//! texts, or language models, where the teachers are trained first.
//!
//! Everything the demo uses is written to its folder first, so that its recipes can be looked at,
//! changed and run again with `faculty distill`.

mod kit;
mod language;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faculty_data::Dataset;
use faculty_distill::methods::known;
use faculty_distill::metrics::Quality;
use faculty_distill::recipe::{self, Recipe};
use faculty_distill::tfidf::{TfidfConfig, write_table};
use faculty_distill::{CheckedRun, Event, Start, headline, open_dataset, train};
use faculty_teachers::{
    ClassSpace, Teacher, TeacherSource, load_teacher, prepare_data, teachers_quality,
};
use serde_json::json;

use self::kit::{IMAGES, Kit, LANGUAGE, TEXTS};
use super::{load_recipe, report, shown, stop_on_interrupt, use_threads};
use crate::arguments::DemoOptions;
use crate::failure::Failure;
use crate::progress::{Progress, print_json};
use crate::table::{self, Align, percent};

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
    let kit = match (options.text, options.lm) {
        (_, true) => &LANGUAGE,
        (true, _) => &TEXTS,
        _ => &IMAGES,
    };
    let folder = options.output.as_deref().unwrap_or(Path::new(kit.output));
    if options.lm {
        return language::run(kit, options, folder, &stop);
    }
    kit.unpack(folder)?;
    if !options.json {
        eprintln!("the demo's data, teachers and recipes are in `{}`", folder.display());
    }
    let path = folder.join("distill.toml");
    let seed = format!("seed={}", options.seed);
    let mut recipe = load_recipe(&path, &[seed])?.recipe;
    let dataset = open_dataset(&recipe.data)?;
    if options.retrain || !kit.has_weights {
        train_teachers(folder, options.json, &mut recipe, &dataset, &stop)?;
    }
    let (qualities, ensemble) = measure(&recipe, &dataset)?;

    let (mut students, mut folders) = (Vec::new(), Vec::new());
    let mut weights = WeightMeter::default();
    for method in METHODS {
        let output = folder.join("runs").join(method);
        let mut own = recipe.clone();
        // The recipe's own has the options that its teachers need.
        if method != own.method.name {
            own.method = recipe::Method::with_defaults(&known(method)?.spec);
        }
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
            network: teacher.network.clone().unwrap_or_else(|| "TF-IDF".to_owned()),
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
        print_result(kit, &recipe, &teachers, &ensemble, &students)?;
        let recipe = path.display();
        writeln!(
            crate::terminal::stdout(),
            "total {seconds:.0} s; try it: faculty distill {recipe}"
        )?;
        if let Some(page) = page {
            writeln!(crate::terminal::stdout(), "report: {}", shown(&page))?;
        }
    }
    Ok(())
}

/// Trains the teachers by their recipes and puts them in place of shipped ones. A teacher that is a
/// table of logits is a linear model of words.
fn train_teachers(
    folder: &Path,
    json: bool,
    recipe: &mut Recipe,
    dataset: &Dataset,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let data = prepare_data(recipe, dataset)?;
    for teacher in &mut recipe.teachers {
        if let Some(table) = &teacher.logits {
            let result = write_table(dataset, &data, &TfidfConfig::default(), table)?;
            if !json {
                let name = &teacher.name;
                eprintln!("{name}: a linear model of {} words and pairs", result.features);
            }
            continue;
        }
        let output = folder.join("runs").join(&teacher.name);
        let path = folder.join("teachers").join(format!("{}.toml", teacher.name));
        let sets = [format!("output={}", output.display())];
        let own = load_recipe(&path, &sets)?.recipe;
        train_one(&own, dataset, &teacher.name, json, stop, &mut |_| {})?;
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
fn measure(recipe: &Recipe, dataset: &Dataset) -> Result<(Vec<Quality>, Quality), Failure> {
    let data = prepare_data(recipe, dataset)?;
    let opened: Result<Vec<Teacher>, _> = recipe
        .teachers
        .iter()
        .map(|spec| load_teacher(spec, &data, dataset.classes(), &[], ClassSpace::Dataset))
        .map(|loaded| loaded.map(|(teacher, _)| teacher))
        .collect();
    let mut teachers = opened?;
    let mut sources: Vec<&mut dyn TeacherSource> =
        teachers.iter_mut().map(|teacher| teacher.source.as_mut() as _).collect();
    let test = data.test.as_ref().expect("the embedded data has a test split");
    Ok(teachers_quality(&mut sources, test, &data.views)?
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
    kit: &Kit,
    recipe: &Recipe,
    teachers: &[TeacherRow],
    ensemble: &Quality,
    students: &[StudentRow],
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
    let who = format!("ensemble of the {}", kit.teachers);
    rows.push(vec![who, percent(ensemble.top1), blank(), blank()]);
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
        (kit.data, Align::Left),
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
    Ok(())
}
