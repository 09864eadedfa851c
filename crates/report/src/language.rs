//! The page of a language model's run: curves of loss and bits a character, how much each teacher
//! counted, and a table of all models on the test split.

use std::fs;
use std::path::Path;

use faculty_records::language_run::{
    LANGUAGE_CARD, LanguageCard, LanguageModelEntry, LanguageQuality, LanguageRecord,
};

use crate::error::{Error, Result};
use crate::html::{figures, frame};
use crate::svg::{Chart, Line, LineChart, escape};
use crate::table::Table;

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
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(Error::io("read", path))
        };
        let damaged = |name: &str| {
            let path = folder.join(name);
            move |error: serde_json::Error| Error::Damaged { path, reason: error.to_string() }
        };
        let card = serde_json::from_str(&read(LANGUAGE_CARD)?).map_err(damaged(LANGUAGE_CARD))?;
        let metrics = "metrics.jsonl";
        let text = read(metrics)?;
        let records = text.lines().map(serde_json::from_str);
        let records = records.collect::<std::result::Result<_, _>>().map_err(damaged(metrics))?;
        Ok(Self { card, records })
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
        let line = |name: &str, colour: usize, of: &dyn Fn(&LanguageRecord) -> Option<f64>| Line {
            name: name.to_owned(),
            points: self
                .records
                .iter()
                .filter_map(|own| Some((own.step as f64, of(own)?)))
                .collect(),
            colour,
            ..Line::default()
        };
        let chart = |y_title: &str, lines: Vec<Line>, digits: usize| LineChart {
            y_title: y_title.to_owned(),
            x_title: "step".to_owned(),
            lines,
            digits,
            ..LineChart::default()
        };
        let teachers = &self.card.teachers;
        let mut losses = vec![line("text", 0, &|own| Some(own.ce))];
        if !teachers.is_empty() {
            losses.push(line("teachers", 1, &|own| Some(own.kd)));
        }
        let bits = |own: &LanguageRecord| Some(own.validation?.bits_per_character);
        let mut of_validation = vec![line("student", 0, &bits)];
        let weights = (0..teachers.len())
            .map(|k| line(&teachers[k].name, k + 1, &|own| own.teacher_weights.get(k).copied()))
            .collect();
        for (k, teacher) in teachers.iter().enumerate() {
            if let Some(own) = teacher.validation {
                let level = |_: &LanguageRecord| Some(own.bits_per_character);
                of_validation.push(Line { faint: true, ..line(&teacher.name, k + 1, &level) });
            }
        }
        let drawn = [
            Chart::drawn(
                "loss",
                "Loss on the training text",
                "Nats a token, means over the steps since the point before: cross-entropy with the text, \
                 and the distillation term.",
                |words| chart("nats a token", losses, 3).draw(words),
            ),
            Chart::drawn(
                "bits",
                "Bits a character on the validation split",
                "Lower is better. Teachers stay where they are.",
                |words| chart("bits a character", of_validation, 3).draw(words),
            ),
            Chart::drawn(
                "weights",
                "How much each teacher counted",
                "Mean weight over the tokens since the point before; they sum to 1.",
                |words| match teachers.len() {
                    0 | 1 => None,
                    _ => chart("weight", weights, 3).draw(words),
                },
            ),
        ];
        drawn.into_iter().flatten().collect()
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
