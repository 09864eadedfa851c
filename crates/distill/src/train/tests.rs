//! Batches that break down, with a teacher that gives what no file can hold.

use super::*;
use crate::error::Error;
use crate::learner::Learner;
use crate::methods::specs;
use crate::recipe::Recipe;
use crate::record::EpochRecord;
use crate::tap::Tap;
use faculty_data::{Dataset, Format, ImageSet, SampleId};
use faculty_nets::MapShape;
use faculty_teachers::{FrozenClassifier, Teacher, TeacherBatch, TeacherOutputs, TeacherSource};

/// Knows the label of each sample, and says NaN of one of them.
struct Faulty {
    labels: std::collections::HashMap<SampleId, u32>,
    bad: Vec<SampleId>,
}

impl TeacherSource for Faulty {
    fn classes(&self) -> usize {
        2
    }

    fn tap_shape(&self, _tap: Tap) -> Option<MapShape> {
        None
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        None
    }

    fn outputs(
        &mut self,
        batch: &TeacherBatch<'_>,
        _taps: &[Tap],
    ) -> faculty_teachers::Result<TeacherOutputs> {
        let row = |id: &SampleId| {
            let sure = if self.bad.contains(id) { f32::NAN } else { 3.0 };
            if self.labels[id] == 0 { [sure, 0.0] } else { [0.0, sure] }
        };
        Ok(TeacherOutputs { logits: batch.ids.iter().flat_map(row).collect(), maps: Vec::new() })
    }
}

fn dataset() -> Dataset {
    let pixels = (0..64 * 64).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let labels = (0..64).map(|i| i % 2).collect();
    let train = ImageSet::new(1, 8, 8, pixels, labels).unwrap();
    let classes = vec!["a".to_owned(), "b".to_owned()];
    Dataset::new("noise", Format::Folder, classes, train, None).unwrap()
}

/// Trains two epochs of eight batches with so many bad samples.
fn trained(folder: &Path, bad: usize, skip: usize) -> (Result<RunCard>, Vec<String>) {
    trained_with(folder, bad, skip, 1)
}

/// The same with an update from so many batches.
fn trained_with(
    folder: &Path,
    bad: usize,
    skip: usize,
    accumulate: usize,
) -> (Result<RunCard>, Vec<String>) {
    let text = format!(
        "[data]\npath = \"noise\"\nvalidation = 0\n[student]\nnetwork = \"resnet8x0.5\"\n\
         [method]\nname = \"ce\"\n[train]\nepochs = 2\nbatch_size = 8\nskip_bad_batches = {skip}\n\
         accumulate = {accumulate}\n"
    );
    let recipe = Recipe::from_str(&text, folder.join("recipe.toml"), &[], &specs()).unwrap().recipe;
    let mut run = CheckedRun::new(&recipe, &dataset()).unwrap();
    let part = &run.data.train;
    let labels: std::collections::HashMap<SampleId, u32> =
        (0..part.len()).map(|at| (part.id(at), part.label(at))).collect();
    // In the first batches of the first epoch, one each.
    let order = part.epoch_order(recipe.seed, 1);
    let bad = (0..bad).map(|batch| part.id(order[8 * batch])).collect();
    // The run was checked without a teacher; the method is put in together with it.
    let method = (crate::methods::find("aver").unwrap().build)(
        &crate::recipe::Method::with_defaults(&crate::methods::find("aver").unwrap().spec),
    );
    let traits = [crate::learner::TeacherTraits { taps: Default::default(), classifier: None }];
    let student = run.learner.student.network.clone();
    let compute = crate::compute::Compute::Kernels;
    run.learner = Learner::new(student, method, &traits, 8, recipe.seed, &compute);
    run.teachers =
        vec![Teacher { name: "faulty".to_owned(), source: Box::new(Faulty { labels, bad }) }];
    let mut warnings = Vec::new();
    let go = AtomicBool::new(false);
    let card = train(run, &folder.join("run"), Start::Overwrite, &go, &mut |event| {
        if let Event::Warning(text) = event {
            warnings.push(text);
        }
    });
    (card, warnings)
}

#[test]
fn a_teacher_that_breaks_down_stops_a_run_and_is_named_instead_of_the_learning_rate() {
    let folder = tempfile::tempdir().unwrap();
    let (result, warnings) = trained(folder.path(), 1, 0);
    let error = result.unwrap_err();
    let text = "teacher `faulty` gives NaN in its logits in epoch 1, batch 1";
    assert_eq!(error.to_string(), text);
    let hint = error.hint().unwrap();
    assert!(hint.contains("the learning rate is not to blame"), "{hint}");
    assert!(warnings.is_empty());
}

#[test]
fn bad_batches_are_left_out_up_to_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    // Two bad samples: two batches of the first epoch, one or two of the second.
    let (result, warnings) = trained(folder.path(), 2, 4);
    result.unwrap();
    assert!(warnings[0].starts_with("batch 1 of epoch 1 is left out"), "{warnings:?}");
    assert!(warnings[1].contains("logits of teacher `faulty` became NaN (2 of 4"), "{warnings:?}");
    let text = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let records: Vec<EpochRecord> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0].skipped_batches, 2);
    assert_eq!(records[0].skipped_batches + records[1].skipped_batches, warnings.len());
    assert!(records.iter().all(|record| record.loss.is_finite()));
    // One more than the limit.
    let (result, warnings) = trained(folder.path(), 2, 1);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::TeacherBroke { epoch: 1, batch: 2, .. }), "{error}");
    assert_eq!(warnings.len(), 1);
}

#[test]
fn an_update_does_without_its_bad_batches_and_none_is_made_of_bad_ones_alone() {
    let folder = tempfile::tempdir().unwrap();
    // The first two batches of the first epoch: one update of the four of eight batches.
    let (result, warnings) = trained_with(folder.path(), 2, 4, 2);
    result.unwrap();
    let path = folder.path().join("run/checkpoints/last.safetensors");
    let (tensors, metadata) = faculty_nets::weights::read_safetensors(&path).unwrap();
    let finite = tensors.values().flat_map(|array| &array.values).all(|value| value.is_finite());
    assert!(finite);
    let steps: std::collections::BTreeMap<String, u64> =
        serde_json::from_str(&metadata["optimizer_steps"]).unwrap();
    // In the second epoch two bad batches may or may not make one update between them.
    let number = |text: &String| -> usize {
        let rest = text.strip_prefix("batch ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let second = warnings.iter().filter(|text| text.contains("of epoch 2"));
    let second: Vec<usize> = second.map(|text| (number(text) - 1) / 2).collect();
    let lost = usize::from(second.len() == 2 && second[0] == second[1]);
    assert_eq!(steps["student"] as usize, 3 + 4 - lost, "{warnings:?}");
    // One of the two is good: the update is made.
    let folder = tempfile::tempdir().unwrap();
    let (result, _) = trained_with(folder.path(), 1, 4, 2);
    result.unwrap();
    let path = folder.path().join("run/checkpoints/last.safetensors");
    let metadata = faculty_nets::weights::read_safetensors(&path).unwrap().1;
    assert!(metadata["optimizer_steps"].contains("\"student\":8"), "{metadata:?}");
}
