//! `language-comparison.json`: students of language models by method or setting, paired by seed.

use serde::{Deserialize, Serialize};

use crate::comparison::{MethodNote, Sequential, Single, Spread};
use crate::language_run::{LanguageCard, LanguageModelEntry, LanguageQuality};
use crate::statistics::Paired;
use crate::verdict::Verdicts;

/// Name of the file in a comparison's folder.
pub const LANGUAGE_COMPARISON: &str = "language-comparison.json";
/// What differences are in, in words.
pub const BITS: &str = "bits a character";
/// Decimals of them that are shown.
pub const BITS_DIGITS: usize = 4;

/// One student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedLanguageRun {
    /// Its seed.
    pub seed: u64,
    /// The step whose student is delivered.
    pub best_step: u64,
    /// On the validation split, if there is one.
    pub validation: Option<LanguageQuality>,
    /// On the test split, if there is one.
    pub test: Option<LanguageQuality>,
    /// Tokens that it was trained on.
    pub trained_tokens: u64,
    /// Seconds of training, measurements included.
    pub seconds: f64,
}

impl From<&LanguageCard> for ComparedLanguageRun {
    fn from(card: &LanguageCard) -> Self {
        Self {
            seed: card.seed,
            best_step: card.best_step,
            validation: card.student.validation,
            test: card.student.test,
            trained_tokens: card.trained_tokens,
            seconds: card.seconds,
        }
    }
}

/// The students of one method or setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageComparisonRow {
    /// Name of the method, or the settings.
    pub name: String,
    /// One a seed.
    pub runs: Vec<ComparedLanguageRun>,
    /// Bits a character on [`LanguageComparison::part`].
    pub bits: Spread,
    /// Nats a token likewise.
    pub nll: Spread,
    /// Bits a character on the validation split, if there is one.
    pub validation_bits: Option<Spread>,
    /// Mean over the seeds.
    pub seconds: f64,
    /// Bits a character that it needs less than the reference; none for the reference.
    pub against_reference: Option<Paired>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageComparison {
    /// Version of this layout.
    pub format: u32,
    /// The program.
    pub program: String,
    /// Title of the recipe.
    pub name: Option<String>,
    /// Seeds of each row.
    pub seeds: Vec<u64>,
    /// Where students are compared: `test`, or `validation` where there is no test split.
    pub part: String,
    /// Tokens of it that were scored.
    pub tokens: u64,
    /// The teachers, in the recipe's order.
    pub teachers: Vec<LanguageModelEntry>,
    /// What the others are compared with.
    pub reference: String,
    /// Chance of any wrong verdict, when nothing differs.
    pub significance: f64,
    /// How it came to its number of seeds, if it went on until they showed enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<Sequential>,
    /// One a method or setting.
    pub rows: Vec<LanguageComparisonRow>,
    /// Methods that learn from one of several teachers.
    pub single: Option<Single>,
    /// In a comparison of all methods, those that cannot run here.
    pub left_out: Vec<MethodNote>,
}

impl LanguageComparison {
    /// Whether students were compared on the test split.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.part == "test"
    }

    /// Rows with what the seeds say of them, without the reference.
    pub fn compared(&self) -> impl Iterator<Item = (&str, &Paired)> {
        self.rows.iter().filter_map(|row| Some((&*row.name, row.against_reference.as_ref()?)))
    }

    /// The row with the widest interval, and its width in bits a character; none with one seed.
    #[must_use]
    pub fn widest_interval(&self) -> Option<(&str, f64)> {
        let widths = self.compared().filter_map(|(name, own)| Some((name, own.interval?.width())));
        widths.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The verdict in one sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        self.verdicts().sentence()
    }

    /// What the largest gap without a verdict would take.
    #[must_use]
    pub fn seeds_needed(&self) -> Option<String> {
        self.verdicts().seeds_needed()
    }

    fn verdicts(&self) -> Verdicts<'_> {
        Verdicts {
            reference: &self.reference,
            seeds: self.seeds.len(),
            compared: self.compared().collect(),
            unit: BITS,
            digits: BITS_DIGITS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{SIGNIFICANCE, compare_paired};

    #[test]
    fn what_is_saved_is_told_in_bits_with_four_decimals() {
        let reference = [-2.31, -2.30, -2.32, -2.315];
        let others = [[-2.29, -2.281, -2.30, -2.296], [-2.309, -2.3005, -2.3205, -2.315]];
        let others = others.map(|own| own.to_vec());
        let mut paired = compare_paired(&reference, &others, 1e-4, SIGNIFICANCE).into_iter();
        let spread = Spread::of([2.3].into_iter());
        let row = |name: &str, against_reference| LanguageComparisonRow {
            name: name.to_owned(),
            runs: Vec::new(),
            bits: spread,
            nll: spread,
            validation_bits: None,
            seconds: 1.0,
            against_reference,
        };
        let own = LanguageComparison {
            format: 1,
            program: String::new(),
            name: None,
            seeds: vec![1, 2, 3, 4],
            part: "test".to_owned(),
            tokens: 100,
            teachers: Vec::new(),
            reference: "aver".to_owned(),
            significance: SIGNIFICANCE,
            sequential: None,
            rows: vec![row("aver", None), row("ca-mkd", paired.next()), row("kd", paired.next())],
            single: None,
            left_out: Vec::new(),
        };
        let words = own.verdict();
        assert!(words.starts_with("ca-mkd is better than aver by 0.0195 ± 0.00"), "{words}");
        let end = " bits a character on 4 seeds; of one other the seeds do not tell";
        assert!(words.ends_with(end), "{words}");
        assert!(own.seeds_needed().unwrap().contains("bits a character, as of kd"));
        assert!(own.widest_interval().unwrap().1 > 0.0);
    }
}
