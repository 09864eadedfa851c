//! Time to read a batch of 64 teacher outputs from a cache, against the same outputs kept in
//! memory; 100 classes, maps of 64×8×8, 4,096 samples in random order, one thread.
//!
//! `cargo bench -p faculty-distill --bench cache` prints minimum and median in microseconds. The
//! files were just written, so they come from the system's page cache, as in every epoch after the
//! first.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faculty_data::{Dataset, Format, ImageSet, SampleId};
use faculty_distill::cache::CachePlan;
use faculty_distill::methods::specs;
use faculty_distill::recipe::Recipe;
use faculty_distill::tap::Tap;
use faculty_distill::teacher::{KeptInMemory, TeacherBatch, TeacherSource};
use faculty_nets::{MapShape, Network, weights};

const SAMPLES: usize = 4096;
const CLASSES: usize = 100;
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let network = Network::new("resnet8", MapShape::new(3, 32, 32), CLASSES, 1)?;
    let path = folder.path().join("teacher.safetensors");
    weights::write(&path, &network.state_dict(), &std::collections::BTreeMap::new())?;
    let pixels = (0..SAMPLES * 3072).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let labels = (0..SAMPLES).map(|i| (i % CLASSES) as u32).collect();
    let images = ImageSet::new(3, 32, 32, pixels, labels)?;
    let classes = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let dataset = Dataset::new("noise", Format::Folder, classes, images, None)?;
    println!("{:<28}{:>9}{:>11}", "64 records", "min µs", "median µs");
    for dtype in ["f32", "f16"] {
        let text = format!(
            "[data]\npath = \"noise\"\nviews = 2\nvalidation = 0.0\n[student]\n\
             network = \"resnet8\"\n[method]\nname = \"ca-mkd\"\n[[teachers]]\nname = \"t\"\n\
             network = \"resnet8\"\nweights = \"teacher.safetensors\"\nallow_weak = true\n\
             [cache]\npath = \"{dtype}\"\ndtype = \"{dtype}\"\n"
        );
        let recipe = Recipe::from_str(&text, folder.path().join("r.toml"), &[], &specs())?.recipe;
        CachePlan::new(&recipe, &dataset)?.build(&AtomicBool::new(false), &mut |_| {})?;
        let plan = CachePlan::new(&recipe, &dataset)?;
        let part = &plan.data().train;
        let order: Vec<SampleId> =
            part.epoch_order(1, 1).into_iter().map(|position| part.id(position)).collect();
        for (what, taps) in [("logits", &[][..]), ("logits and map", &[Tap::Map])] {
            let mut cached = plan.teachers()?.remove(0).source;
            report(&format!("{dtype} {what}, cache"), cached.as_mut(), &order, taps)?;
            let mut kept = KeptInMemory::new(cached);
            report(&format!("{dtype} {what}, memory"), &mut kept, &order, taps)?;
        }
    }
    Ok(())
}

/// Two passes over all samples; the first opens files or fills the memory.
fn report(
    name: &str,
    source: &mut dyn TeacherSource,
    order: &[SampleId],
    taps: &[Tap],
) -> Result<(), faculty_distill::Error> {
    let mut times = Vec::new();
    // What keeps outputs in memory cuts the images of a batch by samples, so there must be some.
    let images = vec![0.0; BATCH];
    for pass in 0..3 {
        for ids in order.chunks_exact(BATCH) {
            let started = Instant::now();
            let batch = TeacherBatch { ids, view: 1, images: &images };
            std::hint::black_box(source.outputs(&batch, taps)?);
            if pass > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    println!("{name:<28}{:>9.1}{:>11.1}", times[0], times[times.len() / 2]);
    Ok(())
}
