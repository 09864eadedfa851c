//! A language model's run as it is watched: steps in place of epochs, bits a character in place of accuracy.

use faculty_escape as escape;
use faculty_records::language_run::{LanguageCard, LanguageRecord};
use serde_json::{Value, json};

use super::number::number;
use crate::language::curves;
use crate::svg::Chart;

/// What makes a recipe one of language models.
const FORMAT: &str = "running-text";

/// What such a run has written so far.
#[derive(Debug)]
pub(super) struct LanguageFound {
    pub(super) records: Vec<LanguageRecord>,
    /// Names of the teachers, of the recipe.
    pub(super) teachers: Vec<String>,
    pub(super) card: Option<LanguageCard>,
    /// The student in words.
    pub(super) student: Option<String>,
}

/// Whether the recipe is one of language models.
pub(super) fn is_one(recipe: &toml::Table) -> bool {
    let format = recipe.get("data").and_then(|data| data.get("format"));
    format.and_then(toml::Value::as_str) == Some(FORMAT)
}

impl LanguageFound {
    /// Of a recipe, and what was read beside it.
    pub(super) fn new(
        recipe: &toml::Table,
        records: Vec<LanguageRecord>,
        card: Option<LanguageCard>,
    ) -> Self {
        let teachers = recipe.get("teachers").and_then(toml::Value::as_array);
        let name = |own: &toml::Value| own.get("name")?.as_str().map(str::to_owned);
        let teachers = teachers.into_iter().flatten().filter_map(name).collect();
        let number = |key: &str| recipe.get("student")?.get(key)?.as_integer();
        let of_recipe = match (number("layers"), number("width")) {
            (Some(layers), Some(width)) => Some(format!("{layers}×{width}")),
            (Some(layers), None) => Some(format!("{layers} layers")),
            _ => None,
        };
        let of_card = card.as_ref().map(|own| {
            let student = &own.student;
            format!("{}×{}", student.layers, student.width)
        });
        Self { records, teachers, card, student: of_card.or(of_recipe) }
    }

    /// The fields of an overview that differ from those of other runs.
    pub(super) fn summary(&self) -> Value {
        let bits = |own: &LanguageRecord| Some((own.step, own.validation?.bits_per_character));
        let last = self.records.last();
        let best = self.records.iter().filter_map(bits).filter(|(_, own)| own.is_finite());
        // Of two equal ones the first.
        let best = best.reduce(|best, own| if own.1 < best.1 { own } else { best });
        let test = self.card.as_ref().and_then(|own| own.student.test);
        json!({
            "unit": "step",
            "measure": "bits",
            "epoch": last.map_or(0, |record| record.step),
            "loss": last.and_then(|record| number(record.ce)),
            "validation": last.and_then(bits).and_then(|(_, own)| number(own)),
            "best": best.map(|(step, bits)| json!({"epoch": step, "bits": bits})),
            "test": test.and_then(|own| number(own.bits_per_character)),
            "student": self.student.as_deref().map(escape::name),
        })
    }
}

/// Curves of such runs, several into one chart.
pub(super) fn curves(runs: &[(&str, &LanguageFound)]) -> Vec<Chart> {
    let groups = runs.iter().map(|(name, own)| (*name, vec![own.records.as_slice()])).collect();
    let levels = match runs {
        [(_, own)] => own.card.iter().flat_map(|own| curves::levels(&own.teachers)).collect(),
        _ => Vec::new(),
    };
    let mut charts: Vec<Chart> = curves::bits(groups, &levels).into_iter().collect();
    for (name, own) in runs {
        let teachers: Vec<&str> = own.teachers.iter().map(String::as_str).collect();
        if runs.len() == 1 {
            charts.extend(curves::losses(&own.records, !teachers.is_empty()));
        }
        let name = if runs.len() == 1 { "" } else { name };
        charts.extend(curves::weights(&own.records, &teachers, name));
    }
    charts
}
