//! Whole training steps, one at a time on request, for a comparison in turn with another program.
//!
//! Reads names of work from stdin, one a line, runs one step of it (batch 64, 3×32×32, 100 classes)
//! and prints its time and the part of it that went into losses, in milliseconds. The first request
//! of a work also warms it up. A name followed by `bf16` is the same work with student and teachers in
//! that precision. `list` prints the names, `kernels` what computes each precision here;
//! `memory NAME` prints what building it and three steps add to the memory of this process at most,
//! MiB. Try it: `echo "ce resnet8 bf16" | cargo bench --bench training_steps`.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use faculty_data::SampleId;
use faculty_data::View;
use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch, TeacherTraits};
use faculty_distill::methods::{CaMkd, Ce, Method};
use faculty_distill::optimizer::OptimizerConfig;
use faculty_distill::tap::Tap;
use faculty_nets::{Error, Inference, MapShape, Network, Precision, TeacherInput};
use faculty_teachers::traits_of;
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherOutputs, TeacherSource};

const BATCH: usize = 64;
/// What CA-MKD asks of its teachers.
const TAPS: &[Tap] = &[Tap::Map];
const CLASSES: usize = 100;
const IMAGE: MapShape = MapShape::new(3, 32, 32);
const SGD: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };

/// Kind, student (or the one network), teachers' network.
const WORKS: [(&str, &str, &str); 13] = [
    ("ce", "resnet8", ""),
    ("ce", "resnet20", ""),
    ("ce", "resnet8x4", ""),
    ("ce", "wrn_16_2", ""),
    ("ce", "vgg8", ""),
    ("ce", "MobileNetV2", ""),
    ("ce", "ShuffleV2", ""),
    ("forward", "resnet20", ""),
    ("forward", "resnet32x4", ""),
    ("ca-mkd online", "resnet8", "resnet20"),
    ("ca-mkd given", "resnet8", "resnet20"),
    ("ca-mkd online", "resnet8x4", "resnet32x4"),
    ("ca-mkd given", "resnet8x4", "resnet32x4"),
];

/// Runs one step; gives the time that went into losses.
type Work = Box<dyn FnMut() -> Duration>;

fn main() -> Result<(), Error> {
    let name = |(kind, student, teachers): (&str, &str, &str)| {
        format!("{kind} {student} {teachers}").trim_end().to_owned()
    };
    let mut ready: HashMap<String, Work> = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == "list" {
            println!("{}", WORKS.map(name).join(";"));
            continue;
        }
        if line == "kernels" {
            let own =
                |precision: Precision| format!("{} {}", precision.name(), precision.kernels());
            println!("{}", Precision::ALL.map(own).join(";"));
            continue;
        }
        let (line, memory) = match line.strip_prefix("memory ") {
            Some(work) => (work.to_owned(), true),
            None => (line, false),
        };
        let (plain, precision) = match line.strip_suffix(" bf16") {
            Some(plain) => (plain, Precision::Bf16),
            None => (line.as_str(), Precision::F32),
        };
        let Some(&work) = WORKS.iter().find(|&&work| name(work) == plain) else {
            println!("unknown work `{line}`");
            continue;
        };
        if memory {
            // Starts the peak anew (Linux).
            let _ = std::fs::write("/proc/self/clear_refs", "5");
            let before = peak_mebibytes();
            let mut step = prepare(work, precision)?;
            for _ in 0..3 {
                step();
            }
            println!("{:.1}", peak_mebibytes() - before);
            continue;
        }
        if !ready.contains_key(&line) {
            let mut step = prepare(work, precision)?;
            step();
            ready.insert(line.clone(), step);
        }
        let step = ready.get_mut(&line).expect("just prepared");
        let start = Instant::now();
        let in_losses = step();
        let whole = start.elapsed();
        println!("{:.3} {:.3}", whole.as_secs_f64() * 1e3, in_losses.as_secs_f64() * 1e3);
        // The other program waits for the answer.
        let _ = std::io::stdout().flush();
    }
    Ok(())
}

/// The largest memory of this process so far (Linux; elsewhere 0).
fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kibibytes.unwrap_or(0.0) / 1024.0
}

fn prepare(
    (kind, student, teachers): (&str, &str, &str),
    precision: Precision,
) -> Result<Work, Error> {
    let images: Vec<f32> =
        (0..BATCH * IMAGE.elements()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i * 37 % CLASSES as u32).collect();
    let network = Network::new(student, IMAGE, CLASSES, 1)?;
    if kind == "forward" {
        let mut plan = Inference::with_precision(&network, &[], &[], precision);
        return Ok(Box::new(move || {
            std::hint::black_box(plan.run(&images, BATCH));
            Duration::ZERO
        }));
    }
    let mut sources = Vec::new();
    for k in 0..if teachers.is_empty() { 0 } else { 3 } {
        let teacher = Network::new(teachers, IMAGE, CLASSES, 10 + k)?;
        let input = TeacherInput::new(IMAGE, None, None);
        sources.push(NetworkTeacher::with_input(&teacher, input, TAPS, precision));
    }
    let traits: Vec<TeacherTraits> =
        sources.iter().map(|teacher| traits_of(teacher, TAPS)).collect();
    let method: Box<dyn Method> =
        if kind == "ce" { Box::new(Ce) } else { Box::new(CaMkd::default()) };
    let mut learner = Learner::new(network, method, &traits, BATCH, 1, &Compute::Kernels)
        .with_precision(precision);
    let ids: Vec<SampleId> = (0..BATCH as u64).map(SampleId).collect();
    let mut ask = move |images: &[f32]| -> Vec<TeacherOutputs> {
        let batch = TeacherBatch { ids: &ids, view: View::Train(0), inputs: images.into() };
        sources
            .iter_mut()
            .map(|teacher| teacher.outputs(&batch, TAPS).expect("networks in process do not fail"))
            .collect()
    };
    let given = (kind == "ca-mkd given").then(|| ask(&images));
    Ok(Box::new(move || {
        let asked;
        let outputs = match &given {
            Some(outputs) => outputs,
            None => {
                asked = ask(&images);
                &asked
            }
        };
        // The second epoch, so that the intermediate part is on.
        learner.gradients(&LearnerBatch {
            epoch: 2,
            step_seed: 0,
            ids: &[],
            inputs: (&images).into(),
            labels: &labels,
            mixed: None,
            teachers: outputs,
        });
        learner.update(&SGD, 0.05, None, 2);
        learner.take_loss_time()
    }))
}
