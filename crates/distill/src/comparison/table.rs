//! What a comparison gives: means over the seeds, differences paired by seed, verdicts.

use faculty_records::comparison::{ComparedRun, Comparison, ComparisonRow, Spread, TeacherRow};
use faculty_records::right_answers::RightAnswers;

use super::CheckedComparison;
use crate::metrics::Quality;
use crate::preflight::Report;
use crate::record::RunCard;
use crate::run_folder::RunFolder;
use crate::statistics::{Paired, compare_paired, per_image};

impl CheckedComparison<'_> {
    pub(super) fn summary(&self, cards: &[Vec<RunCard>], report: Option<&Report>) -> Comparison {
        let tested = cards.iter().flatten().all(|card| card.best.test.is_some());
        let nothing = Quality {
            top1: 0.0,
            top5: 0.0,
            nll: 0.0,
            ece: 0.0,
            balanced_accuracy: None,
            macro_f1: None,
            samples: 0,
        };
        let quality = |card: &RunCard| {
            let best = card.best;
            (if tested { best.test } else { best.validation }).unwrap_or(nothing)
        };
        let samples = cards.iter().flatten().next().map_or(0, |card| quality(card).samples);
        let names = self.methods();
        let base = names.iter().position(|name| *name == self.reference).unwrap_or(0);
        let others: Vec<usize> = (0..names.len()).filter(|&at| at != base).collect();
        let top1 =
            |at: usize| -> Vec<f64> { cards[at].iter().map(|card| quality(card).top1).collect() };
        let accuracies: Vec<Vec<f64>> = others.iter().map(|&at| top1(at)).collect();
        let resolution = 100.0 / samples.max(1) as f64;
        let verdicts = compare_paired(&top1(base), &accuracies, resolution, self.plan.level);
        let answers: Vec<_> = others.iter().map(|&at| self.right_answers(at, &cards[at])).collect();
        let images = per_image(&self.right_answers(base, &cards[base]), &answers);
        let mut paired: Vec<Option<Paired>> = vec![None; names.len()];
        for ((&at, own), images) in others.iter().zip(verdicts).zip(images) {
            paired[at] = Some(Paired { per_image: images, ..own });
        }
        let row = |((cards, against_reference), name): ((&Vec<RunCard>, Option<Paired>), &str)| {
            let runs: Vec<ComparedRun> = cards.iter().map(compared).collect();
            let spread =
                |of: fn(Quality) -> f64| Spread::of(cards.iter().map(|card| of(quality(card))));
            let known = |of: fn(Quality) -> Option<f64>| {
                let all: Option<Vec<f64>> = cards.iter().map(|card| of(quality(card))).collect();
                all.map(|all| Spread::of(all.into_iter()))
            };
            let validation: Option<Vec<f64>> =
                runs.iter().map(|run| run.validation.map(|own| own.top1)).collect();
            ComparisonRow {
                method: name.to_owned(),
                objective: cards.first().map_or_else(String::new, |card| card.objective.clone()),
                top1: spread(|own| own.top1),
                nll: spread(|own| own.nll),
                ece: spread(|own| own.ece),
                balanced_accuracy: known(|own| own.balanced_accuracy),
                macro_f1: known(|own| own.macro_f1),
                validation_top1: validation.map(|own| Spread::of(own.into_iter())),
                seconds_per_epoch: Spread::of(runs.iter().map(|run| run.seconds_per_epoch)).mean,
                runs,
                against_reference,
            }
        };
        let rows = cards.iter().zip(paired).zip(names).map(row).collect();
        let first = cards.iter().flatten().next();
        Comparison {
            format: 1,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            data: self.dataset.name().to_owned(),
            student: first.map_or_else(String::new, |card| card.student.clone()),
            epochs: self.recipe.train.epochs,
            seeds: (0..self.plan.seeds as u64).map(|k| self.recipe.seed + k).collect(),
            part: if tested { "test" } else { "validation" }.to_owned(),
            samples,
            teachers_part: report.map(|report| report.part.clone()),
            teachers: report.map(teacher_rows).unwrap_or_default(),
            reference: self.reference.clone(),
            significance: self.plan.level,
            sequential: None,
            rows,
            single: self.single(),
            left_out: self.left_out.clone(),
            live: self.live(),
            warming_up: self.warming_up(),
        }
    }

    /// Which samples each student of a method got right; empty if a run has not kept it.
    fn right_answers(&self, at: usize, cards: &[RunCard]) -> Vec<RightAnswers> {
        let folders = cards.iter().map(|card| RunFolder::at(&self.run_folder(at, card.seed)));
        let answers = folders.map(|folder| folder.report()?.student?.right);
        answers.collect::<Option<Vec<RightAnswers>>>().unwrap_or_default()
    }
}

fn compared(card: &RunCard) -> ComparedRun {
    ComparedRun {
        seed: card.seed,
        epoch: card.best.epoch,
        validation: card.best.validation,
        test: card.best.test,
        seconds_per_epoch: card.seconds / card.last.epoch.max(1) as f64,
    }
}

fn teacher_rows(report: &Report) -> Vec<TeacherRow> {
    let mut rows: Vec<TeacherRow> = report
        .teachers
        .iter()
        .map(|own| TeacherRow {
            name: own.name.clone(),
            network: Some(own.network.clone()),
            quality: own.quality,
        })
        .collect();
    if rows.len() > 1 {
        let name = "ensemble".to_owned();
        rows.push(TeacherRow { name, network: None, quality: report.ensemble });
    }
    rows
}
