//! What training from a cache costs: reading a batch of 64, and a whole step with 0, 1, 3 and 5
//! teachers; 100 classes, 3×32×32, maps of 64×8×8, samples in random order.
//!
//! `cargo bench --bench cache` prints minimum and median. Reads are set against
//! the same outputs kept in memory; steps against plain training, in turn, so that a busy moment
//! hits all of them. The files were just written, so they come from the system's page cache, as in
//! every epoch after the first. `RAYON_NUM_THREADS` sets the threads.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faculty_data::View;
use faculty_data::{Dataset, Format, ImageSet, SampleId};
use faculty_distill::cache::plan as plan_cache;
use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch, TeacherTraits};
use faculty_distill::methods::{find, specs};
use faculty_distill::optimizer::OptimizerConfig;
use faculty_distill::recipe::Recipe;
use faculty_distill::tap::Tap;
use faculty_nets::{MapShape, Network, weights};
use faculty_teachers::Teacher;
use faculty_teachers::traits_of;
use faculty_teachers::{MemoryCachedTeacher, TeacherBatch, TeacherOutputs, TeacherSource};

const SAMPLES: usize = 2048;
const CLASSES: usize = 100;
const BATCH: usize = 64;
const ROUNDS: usize = 60;
const IMAGE: MapShape = MapShape::new(3, 32, 32);
const SGD: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for seed in 0..5 {
        let network = Network::new("resnet8", IMAGE, CLASSES, 10 + seed)?;
        let path = folder.path().join(format!("{seed}.safetensors"));
        weights::write(&path, &network.state_dict(), &std::collections::BTreeMap::new())?;
    }
    let pixels = (0..SAMPLES * 3072).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let labels = (0..SAMPLES).map(|i| (i % CLASSES) as u32).collect();
    let images = ImageSet::new(3, 32, 32, pixels, labels)?;
    let classes = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let dataset = Dataset::new("noise", Format::Folder, classes, images, None)?;
    println!("kernels {}, {} threads", faculty_kernels::isa::name(), rayon::current_num_threads());
    println!("{:<32}{:>9}{:>11}", "64 records", "min µs", "median µs");
    for dtype in ["f32", "f16"] {
        let recipe = recipe(folder.path(), "ca-mkd", 1, dtype)?;
        plan_cache(&recipe, &dataset)?.build(&AtomicBool::new(false), &mut |_| {})?;
        let plan = plan_cache(&recipe, &dataset)?;
        let order = order(&plan);
        for (what, taps) in [("logits", &[][..]), ("logits and map", &[Tap::Map])] {
            let mut cached = plan.teachers()?.remove(0).source;
            reads(&format!("{dtype} {what}, cache"), cached.as_mut(), &order, taps)?;
            let mut kept = MemoryCachedTeacher::new(cached);
            reads(&format!("{dtype} {what}, memory"), &mut kept, &order, taps)?;
        }
    }
    steps(folder.path(), &dataset)
}

/// A recipe of some teachers whose cache is the folder `dtype`.
fn recipe(
    folder: &Path,
    method: &str,
    teachers: usize,
    dtype: &str,
) -> Result<Recipe, Box<dyn std::error::Error>> {
    let mut text = format!(
        "[data]\npath = \"noise\"\nviews = 2\nvalidation = 0.0\n[student]\nnetwork = \"resnet8\"\n\
         [method]\nname = \"{method}\"\n[cache]\npath = \"{dtype}\"\ndtype = \"{dtype}\"\n"
    );
    for seed in 0..teachers {
        text += &format!(
            "[[teachers]]\nname = \"t{seed}\"\nnetwork = \"resnet8\"\n\
             weights = \"{seed}.safetensors\"\nallow_weak = true\n"
        );
    }
    Ok(Recipe::from_str(&text, folder.join("r.toml"), &[], &specs())?.recipe)
}

fn order(plan: &faculty_teachers::cache::CachePlan<'_>) -> Vec<SampleId> {
    let part = &plan.data().train;
    part.epoch_order(1, 1).into_iter().map(|position| part.id(position)).collect()
}

/// Passes over all samples; the first opens files or fills the memory.
fn reads(
    name: &str,
    source: &mut dyn TeacherSource,
    order: &[SampleId],
    taps: &[Tap],
) -> Result<(), faculty_distill::Error> {
    let mut times = Vec::new();
    // What keeps outputs in memory cuts the images of a batch by samples, so there must be some.
    let images = vec![0.0; BATCH];
    for pass in 0..5 {
        for ids in order.chunks_exact(BATCH) {
            let started = Instant::now();
            let batch = TeacherBatch { ids, view: View::Train(1), inputs: (&images).into() };
            std::hint::black_box(source.outputs(&batch, taps)?);
            if pass > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    println!("{name:<32}{:>9.1}{:>11.1}", times[0], times[times.len() / 2]);
    Ok(())
}

/// One kind of training step with its times in milliseconds.
struct Work {
    name: String,
    learner: Learner,
    teachers: Vec<Teacher>,
    taps: &'static [Tap],
    times: Vec<f64>,
}

fn steps(folder: &Path, dataset: &Dataset) -> Result<(), Box<dyn std::error::Error>> {
    let all = recipe(folder, "ca-mkd", 5, "f32")?;
    plan_cache(&all, dataset)?.build(&AtomicBool::new(false), &mut |_| {})?;
    let mut order_of_ids = Vec::new();
    let mut works = Vec::new();
    for (count, maps) in
        [(0, false), (1, false), (3, false), (5, false), (1, true), (3, true), (5, true)]
    {
        let mut recipe = recipe(folder, if count == 0 { "ce" } else { "ca-mkd" }, count, "f32")?;
        let taps: &[Tap] = if maps { &[Tap::Map] } else { &[] };
        if count > 0 && !maps {
            let off = faculty_distill::recipe::OptionValue::Flag(false);
            recipe.method.options.insert("intermediate".to_owned(), off);
        }
        let plan = plan_cache(&recipe, dataset)?;
        order_of_ids = order(&plan);
        let teachers = plan.teachers()?;
        let traits: Vec<TeacherTraits> =
            teachers.iter().map(|t| traits_of(t.source.as_ref(), taps)).collect();
        let method =
            (find(&recipe.method.name).expect("a method of the table").build)(&recipe.method);
        let student = Network::new("resnet8", IMAGE, CLASSES, 1)?;
        let what = if maps { "logits and maps" } else { "logits" };
        let name =
            if count == 0 { "plain (ce)".to_owned() } else { format!("{count} cached, {what}") };
        let learner = Learner::new(student, method, &traits, BATCH, 1, &Compute::Kernels);
        works.push(Work { name, learner, teachers, taps, times: Vec::new() });
    }
    let images: Vec<f32> =
        (0..BATCH * IMAGE.elements()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i * 37 % CLASSES as u32).collect();
    for round in 0..=ROUNDS {
        let batches = order_of_ids.len() / BATCH;
        let ids = &order_of_ids[round % batches * BATCH..][..BATCH];
        for work in &mut works {
            let started = Instant::now();
            let batch = TeacherBatch { ids, view: View::Train(1), inputs: (&images).into() };
            let outputs = work
                .teachers
                .iter_mut()
                .map(|teacher| teacher.source.outputs(&batch, work.taps))
                .collect::<Result<Vec<TeacherOutputs>, _>>()?;
            // The second epoch, so that the intermediate part is on.
            work.learner.gradients(&LearnerBatch {
                epoch: 2,
                step_seed: 0,
                ids: &[],
                inputs: (&images).into(),
                labels: &labels,
                mixed: None,
                teachers: &outputs,
            });
            work.learner.update(&SGD, 0.01, None, 2);
            if round > 0 {
                work.times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!(
        "{:<32}{:>9}{:>11}{:>11}",
        "training step, student resnet8", "min ms", "median ms", "of plain"
    );
    let mut plain = 0.0;
    for work in &mut works {
        work.times.sort_unstable_by(f64::total_cmp);
        let least = work.times[0];
        plain = if plain == 0.0 { least } else { plain };
        let median = work.times[work.times.len() / 2];
        println!("{:<32}{least:>9.2}{median:>11.2}{:>11.3}", work.name, least / plain);
    }
    Ok(())
}
