//! Checking a cache against its teachers: random records are computed again.

use faculty_data::SampleId;
use faculty_data::View;
use faculty_data::rng::{Purpose, below, draw};

use super::collate::Collator;
use super::kind::Kind;
use super::plan::{CachePlan, SetPlan, TeacherPlan};
use crate::error::{Result, TeacherError};
use crate::precision::precision_of;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::{Precision, Tap};
use faculty_recipe::CacheDtype;

/// How far records of other kernels may differ, as a share of the largest value of a record: sums are
/// made in another order there. In bf16 the next layer then rounds some of them to the neighbouring
/// number, 2^-8 to 2^-7 away; a few such layers in a row are allowed.
fn of_other_kernels(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-3,
        Precision::Bf16 => 0.03,
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Verification {
    /// Records that were computed again.
    pub records: usize,
    /// Those that differ.
    pub different: usize,
    /// Largest difference, in units of the largest value of its record.
    pub largest_difference: f32,
    /// The first record that differs, in words.
    pub first: Option<String>,
}

/// Computes `records` records again, drawn at random by `seed` over all teachers, samples and
/// views, and compares them with those in the cache: bit for bit on the kind of machine that
/// computed them.
///
/// # Errors
/// When the cache is not complete, a record is damaged, or a teacher cannot be run.
pub fn verify(plan: &CachePlan<'_>, records: usize, seed: u64) -> Result<Verification> {
    if !plan.is_complete() {
        let path = plan.folder().to_owned();
        return Err(TeacherError::CacheIncomplete { path, what: "some records".to_owned() });
    }
    let sets: Vec<(&TeacherPlan, &SetPlan, usize)> = plan
        .teachers
        .iter()
        .flat_map(|teacher| teacher.sets.iter().map(move |set| (teacher, set)))
        .map(|(teacher, set)| (teacher, set, plan.ids(set.kind).len() * set.layout.views))
        .filter(|(.., count)| *count > 0)
        .collect();
    let collator = plan.collator()?;
    let mut found = Verification::default();
    for (index, (teacher, set, count)) in sets.iter().enumerate() {
        // As even as it can be, so that small N still looks at every teacher.
        let own = records / sets.len() + usize::from(index < records % sets.len());
        if own == 0 {
            continue;
        }
        let taps: Vec<Tap> = match set.kind {
            Kind::Tap(tap) => vec![tap],
            Kind::Plain | Kind::Logits => Vec::new(),
        };
        let mut source = plan.load(teacher.index, &taps)?.source;
        let mut reader = plan.reader(teacher, set);
        let precision = precision_of(teacher.identity.precision);
        let exact = plan.manifest.teachers[&teacher.name].kernels == precision.kernels();
        let allowed = if exact { 0.0 } else { of_other_kernels(precision) };
        for number in 0..own {
            let word = draw(Purpose::CacheCheck, seed, index as u64, number as u64, 0);
            let record = below(word, *count as u64) as usize;
            let id = plan.ids(set.kind)[record / set.layout.views];
            let view = record % set.layout.views;
            let mut stored = Vec::new();
            reader.read_into(id, view, &mut stored)?;
            let again = compute(&collator, source.as_mut(), set, &taps, (id, view))?;
            found.records += 1;
            let largest = again.iter().fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
            let difference =
                stored.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max)
                    / largest;
            // A NaN is no match either, and `max` leaves it out.
            let finite = again.iter().all(|value| value.is_finite());
            let difference = if finite { difference } else { f32::INFINITY };
            found.largest_difference = found.largest_difference.max(difference);
            if difference > allowed {
                found.different += 1;
                found.first.get_or_insert_with(|| {
                    let (name, kind) = (&teacher.name, set.kind.folder());
                    format!("teacher `{name}`, {kind} of view {view} of sample {id}")
                });
            }
        }
    }
    Ok(found)
}

/// One record, rounded as the cache rounds it.
fn compute(
    collator: &Collator,
    source: &mut dyn TeacherSource,
    set: &SetPlan,
    taps: &[Tap],
    (id, view): (SampleId, usize),
) -> Result<Vec<f32>> {
    let plain = set.kind == Kind::Plain;
    let view = if plain { View::Plain } else { View::Train(view as u32) };
    let inputs = collator.collate(&[id], view)?;
    let batch = TeacherBatch { ids: &[id], view, inputs: inputs.view() };
    let mut outputs = source.outputs(&batch, taps)?;
    let mut values = outputs.maps.pop().unwrap_or(outputs.logits);
    if set.layout.dtype == CacheDtype::F16 {
        for value in &mut values {
            *value = half::f16::from_f32(*value).to_f32();
        }
    }
    Ok(values)
}
