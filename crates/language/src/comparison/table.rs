//! What a comparison gives: means over the seeds, differences paired by seed, verdicts.

use faculty_records::comparison::Spread;
use faculty_records::language_comparison::{
    ComparedLanguageRun, LanguageComparison, LanguageComparisonRow,
};
use faculty_records::language_run::{LanguageCard, LanguageQuality};
use faculty_records::statistics::{Paired, compare_paired};

use super::CheckedLanguageComparison;

/// Differences of bits a character below this are not shown, and prove nothing.
const RESOLUTION: f64 = 1e-4;

impl CheckedLanguageComparison {
    pub(super) fn summary(&self, cards: &[Vec<LanguageCard>]) -> LanguageComparison {
        let tested = cards.iter().flatten().all(|card| card.student.test.is_some());
        let quality = |card: &LanguageCard| -> LanguageQuality {
            let student = &card.student;
            let own = if tested { student.test } else { student.validation };
            own.expect("a comparison without both splits is refused")
        };
        let bits = |own: &[LanguageCard]| -> Vec<f64> {
            own.iter().map(|card| quality(card).bits_per_character).collect()
        };
        let names = self.names();
        let base = names.iter().position(|name| *name == self.reference).unwrap_or(0);
        let others: Vec<usize> = (0..names.len()).filter(|&at| at != base).collect();
        // Fewer bits are better: what is saved counts as the gain.
        let saved = |at: usize| bits(&cards[at]).iter().map(|own| -own).collect::<Vec<f64>>();
        let all: Vec<Vec<f64>> = others.iter().map(|&at| saved(at)).collect();
        let verdicts = compare_paired(&saved(base), &all, RESOLUTION, self.plan.level);
        let mut paired: Vec<Option<Paired>> = vec![None; names.len()];
        for (at, own) in others.into_iter().zip(verdicts) {
            paired[at] = Some(own);
        }
        let row = |((cards, against_reference), name): ((&Vec<LanguageCard>, _), &str)| {
            let validation: Option<Vec<f64>> = cards
                .iter()
                .map(|card| card.student.validation.map(|own| own.bits_per_character))
                .collect();
            LanguageComparisonRow {
                name: name.to_owned(),
                bits: Spread::of(bits(cards).into_iter()),
                nll: Spread::of(cards.iter().map(|card| quality(card).nll)),
                validation_bits: validation.map(|own| Spread::of(own.into_iter())),
                seconds: Spread::of(cards.iter().map(|card| card.seconds)).mean,
                runs: cards.iter().map(ComparedLanguageRun::from).collect(),
                against_reference,
            }
        };
        let first = self.compared.first().map(|own| &own.recipe);
        LanguageComparison {
            format: 1,
            program: format!("faculty {}", env!("CARGO_PKG_VERSION")),
            name: first.and_then(|own| own.name.clone()),
            seeds: (0..self.plan.seeds as u64)
                .map(|k| first.map_or(0, |own| own.seed) + k)
                .collect(),
            part: if tested { "test" } else { "validation" }.to_owned(),
            tokens: cards.iter().flatten().next().map_or(0, |card| quality(card).tokens),
            teachers: self.teachers.clone(),
            reference: self.reference.clone(),
            significance: self.plan.level,
            sequential: None,
            rows: cards.iter().zip(paired).zip(names).map(row).collect(),
            single: self.single.clone(),
            left_out: self.left_out.clone(),
        }
    }
}
