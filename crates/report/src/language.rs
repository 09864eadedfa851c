//! The page of a language model's run: curves of loss and bits a character, how much each teacher
//! counted, and a table of all models on the test split.

use std::io::Read as _;
use std::path::Path;

use faculty_files::{NotReadable, open_regular};
use faculty_records::language_run::{
    LANGUAGE_CARD, LanguageCard, LanguageModelEntry, LanguageQuality, LanguageRecord,
};

use crate::error::{Error, Result};
use crate::html::{figures, frame};
use crate::svg::{Chart, escape};
use crate::table::Table;

pub(crate) mod curves;
mod runs;
mod tables;

pub use self::runs::{LanguageRun, LanguageRuns};

/// Bytes of a file: a line of metrics has a few hundred.
const LONGEST_FILE: u64 = 256 << 20;

/// The text of a file of a run, which nothing but a file can stand for.
fn read(path: &Path) -> Result<String> {
    let failed = Error::io("read", path);
    let (file, _) = match open_regular(path) {
        Ok(opened) => opened,
        Err(NotReadable::Io(error)) => return Err(failed(error)),
        Err(other) => return Err(failed(std::io::Error::other(other.to_string()))),
    };
    let mut text = String::new();
    match file.take(LONGEST_FILE).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(failed(error)),
    }
}

/// What a language model's run left behind.
#[derive(Clone, Debug)]
pub struct LanguageReport {
    /// The card of a finished run.
    pub card: LanguageCard,
    /// Its metrics, in order.
    pub records: Vec<LanguageRecord>,
}

impl LanguageReport {
    /// Whether a finished run of a language model lies in a folder.
    #[must_use]
    pub fn is_at(folder: &Path) -> bool {
        folder.join(LANGUAGE_CARD).is_file()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When a file cannot be read or understood.
    pub fn load(folder: &Path) -> Result<Self> {
        let damaged = |name: &str| {
            let path = folder.join(name);
            move |error: serde_json::Error| Error::Damaged { path, reason: error.to_string() }
        };
        let card = read(&folder.join(LANGUAGE_CARD))?;
        let card = serde_json::from_str(&card).map_err(damaged(LANGUAGE_CARD))?;
        let metrics = "metrics.jsonl";
        let text = read(&folder.join(metrics))?;
        let records = text.lines().map(serde_json::from_str);
        let records = records.collect::<std::result::Result<_, _>>().map_err(damaged(metrics))?;
        Ok(Self { card, records })
    }

    /// Whether how much its teachers count was not the same from line to line.
    fn weighs(&self) -> bool {
        let mut weights = self.records.iter().map(|own| &own.teacher_weights);
        let first = weights.next();
        let Some(first) = first.filter(|own| own.len() > 1) else { return false };
        let differ = |a: f64, b: f64| (a - b).abs() > 1e-6;
        weights.any(|own| own.iter().zip(first).any(|(&a, &b)| differ(a, b)))
            || first.iter().any(|&own| differ(own, first[0]))
    }

    /// Teachers and student with their quality on the test split, else on the validation split.
    #[must_use]
    pub fn models(&self) -> Table {
        let tested = self.card.student.test.is_some();
        let split = if tested { "test" } else { "validation" };
        let quality = |own: &LanguageModelEntry| if tested { own.test } else { own.validation };
        let titles = [
            "model",
            "#parameters",
            "#layers",
            "#width",
            "#nats a token",
            "#perplexity",
            "#bits a character",
        ];
        let mut table = Table::new(format!("Student and teachers on the {split} split."), &titles);
        for own in self.card.teachers.iter().chain([&self.card.student]) {
            let numbers = |of: fn(&LanguageQuality) -> f64, digits: usize| {
                quality(own).map_or("-".to_owned(), |own| format!("{:.digits$}", of(&own)))
            };
            table.rows.push(vec![
                own.name.clone(),
                own.parameters.to_string(),
                own.layers.to_string(),
                own.width.to_string(),
                numbers(|own| own.nll, 4),
                numbers(|own| own.perplexity, 2),
                numbers(|own| own.bits_per_character, 4),
            ]);
        }
        table
    }

    fn charts(&self) -> Vec<Chart> {
        let teachers = &self.card.teachers;
        let names: Vec<&str> = teachers.iter().map(|own| own.name.as_str()).collect();
        [
            curves::losses(&self.records, !names.is_empty()),
            curves::bits(vec![("student", vec![&self.records])], &curves::levels(teachers)),
            curves::weights(&self.records, &names, ""),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What came out, in a sentence.
    #[must_use]
    pub fn headline(&self) -> String {
        let card = &self.card;
        let of = |own: Option<LanguageQuality>| own.map(|own| own.bits_per_character);
        let quality = match (of(card.student.test), of(card.student.validation)) {
            (Some(bits), _) => format!("{bits:.4} bits a character on the test split"),
            (None, Some(bits)) => format!("{bits:.4} bits a character on the validation split"),
            (None, None) => "not measured: there is no test split".to_owned(),
        };
        format!(
            "{}: {quality}, after {} of {} steps and {} tokens.",
            card.method, card.best_step, card.steps, card.trained_tokens
        )
    }

    /// The whole page.
    #[must_use]
    pub fn page(&self) -> String {
        let title =
            self.card.name.clone().unwrap_or_else(|| format!("{} student", self.card.method));
        let answer =
            format!("<p class=\"lead\">{}</p>{}", escape(&self.headline()), self.models().html());
        let sections =
            [("answer", "Answer", answer), ("learning", "Learning", figures(&self.charts()))];
        frame(&escape(&title), &sections)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn quality(nll: f64) -> LanguageQuality {
        LanguageQuality { tokens: 100, nll, perplexity: nll.exp(), bits_per_character: nll / 2.0 }
    }

    fn entry(name: &str, nll: f64) -> LanguageModelEntry {
        LanguageModelEntry {
            name: name.to_owned(),
            parameters: 1000,
            layers: 2,
            width: 16,
            hash: "0".to_owned(),
            validation: Some(quality(nll)),
            test: Some(quality(nll + 0.5)),
        }
    }

    #[test]
    fn a_page_has_curves_weights_and_all_models_and_takes_names_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let card = LanguageCard {
            format: 1,
            program: "faculty".to_owned(),
            name: Some("<b>tiny</b>".to_owned()),
            method: "ca-mkd".to_owned(),
            seed: 1,
            steps: 20,
            best_step: 20,
            tokens: [1000, 100, 100],
            trained_tokens: 500,
            seconds: 1.0,
            student: entry("student", 2.0),
            teachers: vec![entry("good", 1.0), entry("bad", 6.0)],
        };
        let record = |step: u64| LanguageRecord {
            step,
            ce: 3.0 - 0.1 * step as f64,
            kd: 1.0,
            gradient_norm: 1.0,
            learning_rate: 1e-3,
            teacher_weights: vec![0.8, 0.2],
            teacher_ce: vec![1.0, 6.0],
            accepted: None,
            validation: Some(quality(2.0)),
        };
        assert!(!LanguageReport::is_at(folder.path()));
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write(LANGUAGE_CARD, serde_json::to_string(&card).unwrap());
        let lines = [10, 20].map(|step| serde_json::to_string(&record(step)).unwrap());
        write("metrics.jsonl", lines.join("\n"));
        assert!(LanguageReport::is_at(folder.path()));
        let report = LanguageReport::load(folder.path()).unwrap();
        let page = report.page();
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("&lt;b&gt;tiny") && !page.contains("<b>tiny"));
        let rows = report.models().rows;
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["good", "bad", "student"]);
        assert_eq!(rows[2][4], "2.5000");
        assert!(report.headline().contains("1.2500 bits a character on the test split"));
        write("metrics.jsonl", "{".to_owned());
        assert!(LanguageReport::load(folder.path()).is_err());
    }
}
