//! `report.json`: what a report shows of a finished run and no other file holds.
//!
//! Computed once, at the end of the run: one more pass of the student over the part of the final
//! numbers, and one of student and teachers over the part on which the teachers were measured.

use faculty_contract::ClassSpace;
use faculty_data::{BatchLoader, LoaderConfig, Split, ViewSettings};
use faculty_nets::{Inference, Network};
use faculty_records::report_data::{
    Answer, Confusion, ReportData, StudentDetail, TeacherDetail, TeachersDetail,
};

use faculty_records::right_answers::RightAnswers;

use crate::error::Result;
use crate::learner::{Learner, LearnerBatch};
use crate::metrics::QualityMeter;
use crate::preflight::{ClassAccuracy, answers, class_accuracies};
use faculty_teachers::{RunData, Teacher};
use faculty_teachers::{TeacherBatch, TeacherError, TeacherOutputs};
use faculty_teachers::{for_each_batch, mean_of_probabilities};

mod examples;
mod seen;
mod spread;

use seen::Seen;

/// Version of [`ReportData`].
const FORMAT: u32 = 1;

/// What [`collect`] looks at.
pub(crate) struct ReportInputs<'a> {
    /// As the training left it: its projectors belong to the last epoch.
    pub(crate) learner: &'a Learner,
    pub(crate) teachers: &'a mut [Teacher],
    pub(crate) data: &'a RunData,
    /// The result of the run.
    pub(crate) student: &'a Network,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
}

/// Looks at the result of a run.
///
/// # Errors
/// When a batch cannot be prepared or a teacher fails.
pub(crate) fn collect(subject: ReportInputs<'_>) -> Result<ReportData> {
    let RunData { validation, test, views, .. } = subject.data;
    let student = match (test, validation) {
        (Some(part), _) => Some(student_detail(subject.student, part, "test", views)?),
        (None, Some(part)) => Some(student_detail(subject.student, part, "validation", views)?),
        (None, None) => None,
    };
    let measured = match (validation, test) {
        (Some(part), _) => Some((part, "validation")),
        (None, Some(part)) => Some((part, "test")),
        (None, None) => None,
    };
    // Answers over other classes are neither right nor wrong.
    let of_the_data = !subject.teachers.is_empty()
        && subject.learner.method().setup().class_space == ClassSpace::Dataset;
    let teachers = match measured {
        Some((part, name)) if of_the_data && !part.is_empty() => {
            Some(teachers_detail(subject, part, name)?)
        }
        _ => None,
    };
    Ok(ReportData { format: FORMAT, student, teachers })
}

fn student_detail(
    student: &Network,
    part: &Split,
    name: &str,
    views: &ViewSettings,
) -> Result<StudentDetail> {
    let classes = student.classes();
    let mut plan = Inference::new(student, &[]);
    let mut meter = QualityMeter::default();
    let (mut said, mut labels, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for_each_batch(part, views, |batch| {
        let logits = plan.run(&batch.inputs, batch.len());
        meter.add(logits, &batch.labels);
        let own = answers(logits, classes);
        let sure = own.iter().zip(&batch.labels).map(|(own, &label)| *own == Some(label));
        right.extend(batch.ids.iter().copied().zip(sure));
        said.extend(own);
        labels.extend_from_slice(&batch.labels);
        Ok(())
    })?;
    let mut counts = std::collections::BTreeMap::<(u32, u32), usize>::new();
    for (&label, answer) in labels.iter().zip(&said) {
        if let Some(answer) = *answer {
            *counts.entry((label, answer)).or_default() += 1;
        }
    }
    let cell = |((label, answer), samples)| Confusion { label, answer, samples };
    let confusion: Vec<Confusion> = counts.into_iter().map(cell).collect();
    Ok(StudentDetail {
        part: name.to_owned(),
        samples: labels.len(),
        correct: confusion.iter().filter(|c| c.label == c.answer).map(|c| c.samples).sum(),
        calibration: meter.calibration(),
        per_class: class_accuracies(&said, &labels, classes),
        confusion,
        right: Some(RightAnswers::of(right)),
    })
}

fn teachers_detail(subject: ReportInputs<'_>, part: &Split, name: &str) -> Result<TeachersDetail> {
    let ReportInputs { learner, teachers, data, student, epochs, batch_size } = subject;
    let classes = student.classes();
    let mut plan = Inference::new(student, &[]);
    let mut probe = learner.weight_probe(epochs);
    let mut meters = vec![QualityMeter::default(); teachers.len()];
    let mut ensemble = QualityMeter::default();
    let mut seen = Seen { teachers: vec![Vec::new(); teachers.len()], ..Seen::default() };
    let config = LoaderConfig::new(batch_size, data.views.clone());
    let mut loader = BatchLoader::new(part, part.plain_order(), config)?;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let view = TeacherBatch::from(&batch);
        let outputs = teachers
            .iter_mut()
            .map(|teacher| teacher.source.outputs(&view, &[]))
            .collect::<std::result::Result<Vec<TeacherOutputs>, TeacherError>>()?;
        for (at, output) in outputs.iter().enumerate() {
            meters[at].add(&output.logits, &batch.labels);
            seen.teachers[at].extend(examples::judge(&output.logits, &batch.labels, classes));
        }
        if let Some(logits) = mean_of_probabilities(&outputs, batch.len()) {
            ensemble.add(&logits, &batch.labels);
        }
        let logits = plan.run(&batch.inputs, batch.len());
        seen.student.extend(examples::judge(logits, &batch.labels, classes));
        if let Some(probe) = &mut probe {
            let learner_batch = LearnerBatch {
                epoch: epochs,
                step_seed: 0,
                ids: &batch.ids,
                inputs: batch.inputs.view(),
                labels: &batch.labels,
                mixed: None,
                teachers: &outputs,
            };
            seen.add_weights(probe.weights(&learner_batch, batch_size), batch.len());
        }
        seen.labels.extend_from_slice(&batch.labels);
        loader.recycle(batch);
    }
    let said = |own: &[Option<Answer>]| -> Vec<ClassAccuracy> {
        let said: Vec<Option<u32>> = own.iter().map(|one| one.map(|one| one.class)).collect();
        class_accuracies(&said, &seen.labels, classes)
    };
    let detail = |(at, teacher): (usize, &Teacher)| TeacherDetail {
        name: teacher.name.clone(),
        calibration: meters[at].calibration(),
        per_class: said(&seen.teachers[at]),
    };
    Ok(TeachersDetail {
        part: name.to_owned(),
        samples: seen.labels.len(),
        teachers: teachers.iter().enumerate().map(detail).collect(),
        ensemble_calibration: ensemble.calibration(),
        student_per_class: said(&seen.student),
        weights: spread::levels(&seen, classes),
        examples: examples::choose(&seen, part, classes)?,
    })
}
