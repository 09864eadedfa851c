//! How large and how fast a student and its teachers are on this machine.
//!
//! ```text
//! latency      one image at a time: median and 95th percentile, after some runs that do not count
//! throughput   64 images at a time: images of a batch by its median time
//! ```
//! Images are noise: speed does not depend on what they show. Everything runs on the threads that
//! the program was given, one network after another.

use faculty_data::View;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use faculty_data::{Dataset, SampleId};
use faculty_nets::{Graph, MapShape, Network, TeacherInput, graph_of};
use faculty_records::bench::{BENCH_FILE, MeasuredModel, ModelBench, THROUGHPUT_BATCH};

use crate::error::Result;
use crate::heads::mounted_if_trained;
use crate::methods::specs;
use crate::recipe::{self, Precision, Recipe};
use crate::run::open_dataset;
use crate::run_folder::RunFolder;
use crate::student::{FinishedStudent, StudentChoice};
use faculty_contract::ClassSpace;
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherSource};
use faculty_teachers::{load_teacher, precision_of, prepare_data};

/// Runs before those that count: caches fill, memory is allocated.
const WARM_UP: usize = 3;

/// Each measurement goes on for this long, within [`RUNS`].
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// Fewest and most runs of one measurement.
const RUNS: [usize; 2] = [5, 500];

/// Measures the student and the teachers of a run folder, where the result is kept as
/// [`BENCH_FILE`], or of a recipe, whose student need not be trained: the student in f32, as it is
/// delivered, teachers as the recipe says. With a `precision` all but ONNX files run in it, and nothing
/// is kept.
///
/// # Errors
/// When the recipe, its data or its teachers cannot be used, or the result cannot be written.
pub fn bench_models(path: &Path, precision: Option<Precision>) -> Result<ModelBench> {
    let is_run = path.is_dir();
    let run = RunFolder::at(path);
    let (recipe, trained) = if is_run {
        let trained = FinishedStudent::open(path, &StudentChoice::default())?;
        (Recipe::load(run.recipe(), &[], &specs())?.recipe, Some(trained))
    } else {
        (Recipe::load(path, &[], &specs())?.recipe, None)
    };
    let dataset = open_dataset(&recipe.data)?;
    let student = match trained {
        Some(trained) => trained.network,
        None => {
            let [channels, height, width] = dataset.shape()?;
            let input = MapShape::new(channels, height, width);
            Network::new(&recipe.student.network, input, dataset.classes().len(), recipe.seed)?
        }
    };
    let bench = measure_all(&recipe, &dataset, &student, precision)?;
    if is_run && precision.is_none() {
        run.write_json(BENCH_FILE, &bench)?;
    }
    Ok(bench)
}

fn measure_all(
    recipe: &Recipe,
    dataset: &Dataset,
    student: &Network,
    precision: Option<Precision>,
) -> Result<ModelBench> {
    let shape = student.graph().input_shape();
    let of_student = precision.unwrap_or_default();
    let input = TeacherInput::new(shape, None, None);
    let mut own = NetworkTeacher::with_input(student, input, &[], precision_of(of_student));
    let about = Model {
        name: "student",
        network: student.name(),
        precision: of_student,
        graph: Some(student.graph().as_ref()),
    };
    let mut kernels = vec![precision_of(of_student).kernels()];
    let mut models = vec![measure(&about, &mut own, shape)?];
    let mut left_out = Vec::new();
    let recipe = &mounted_if_trained(recipe, dataset)?;
    let data = prepare_data(recipe, dataset)?;
    for spec in &recipe.teachers {
        if spec.logits.is_some() {
            left_out.push(format!("{}: a table of logits computes nothing", spec.name));
            continue;
        }
        let precision = precision.filter(|_| spec.onnx.is_none()).unwrap_or(spec.precision);
        let spec = &recipe::Teacher { precision, ..spec.clone() };
        let class_space = ClassSpace::Dataset;
        let (mut teacher, card) = load_teacher(spec, &data, dataset.classes(), &[], class_space)?;
        let graph = teacher_graph(spec, shape, teacher.source.classes())?;
        let about =
            Model { name: &spec.name, network: &card.network, precision, graph: graph.as_ref() };
        kernels.push(precision_of(precision).kernels());
        models.push(measure(&about, teacher.source.as_mut(), shape)?);
    }
    kernels.sort_unstable();
    kernels.dedup();
    let MapShape { channels, height, width } = shape;
    Ok(ModelBench {
        format: 1,
        faculty: env!("CARGO_PKG_VERSION").to_owned(),
        kernels: kernels.join(", "),
        processor: processor(),
        threads: rayon::current_num_threads(),
        input_shape: [channels, height, width],
        models,
        left_out,
    })
}

/// The graph of a teacher that is a whole network.
fn teacher_graph(
    spec: &recipe::Teacher,
    images: MapShape,
    classes: usize,
) -> Result<Option<Graph>> {
    let Some(name) = spec.network.as_ref().filter(|_| spec.head.is_none()) else {
        return Ok(None);
    };
    let [height, width] = spec.input_size.unwrap_or([images.height, images.width]);
    Ok(Some(graph_of(name, MapShape { height, width, ..images }, classes)?))
}

/// What is known of a network before it is measured.
struct Model<'a> {
    name: &'a str,
    network: &'a str,
    precision: Precision,
    graph: Option<&'a Graph>,
}

fn measure(
    about: &Model<'_>,
    source: &mut dyn TeacherSource,
    shape: MapShape,
) -> Result<MeasuredModel> {
    let mut times = |batch: usize| -> Result<Vec<Duration>> {
        let images: Vec<f32> =
            (0..batch * shape.elements()).map(|i| (i as f32 * 0.37).sin()).collect();
        let ids: Vec<SampleId> = vec![SampleId(0); batch];
        let view = TeacherBatch { ids: &ids, view: View::Probe, inputs: (&images).into() };
        for _ in 0..WARM_UP {
            source.outputs(&view, &[])?;
        }
        let (started, mut times) = (Instant::now(), Vec::new());
        let [fewest, most] = RUNS;
        while times.len() < fewest || (times.len() < most && started.elapsed() < LONG_ENOUGH) {
            let start = Instant::now();
            source.outputs(&view, &[])?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    };
    let one = times(1)?;
    let many = times(THROUGHPUT_BATCH)?;
    Ok(MeasuredModel {
        name: about.name.to_owned(),
        network: about.network.to_owned(),
        precision: about.precision.name().to_owned(),
        parameters: about.graph.map(Graph::parameter_count),
        multiply_adds: about.graph.map(Graph::multiply_adds),
        latency_median_ms: quantile(&one, 0.5).as_secs_f64() * 1e3,
        latency_p95_ms: quantile(&one, 0.95).as_secs_f64() * 1e3,
        latency_runs: one.len(),
        images_per_second: THROUGHPUT_BATCH as f64 / quantile(&many, 0.5).as_secs_f64().max(1e-9),
    })
}

/// The smallest value that at least this share of the sorted values do not exceed.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Linux says; elsewhere the architecture has to do.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let times: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.5), Duration::from_millis(10));
        assert_eq!(quantile(&times, 0.95), Duration::from_millis(19));
        assert_eq!(quantile(&times[..1], 0.95), Duration::from_millis(1));
    }
}
