//! In what the recipes of several runs differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::Report;
use crate::table::Table;

/// Keys whose values differ between the runs, side by side; none of one run, and none of a comparison,
/// whose runs differ in method and seed.
pub(crate) fn differences(report: &Report) -> Option<Table> {
    if report.runs.len() < 2 || report.comparison.is_some() {
        return None;
    }
    let recipes: Vec<BTreeMap<String, String>> =
        report.runs.iter().map(|run| flat(run.recipe.as_deref().unwrap_or(""))).collect();
    let keys: BTreeSet<&String> = recipes.iter().flat_map(BTreeMap::keys).collect();
    let names = report.runs.iter().map(|run| run.name.as_str());
    let titles: Vec<&str> = std::iter::once("key").chain(names).collect();
    let mut table = Table::new("Where the recipes of these runs differ.", &titles);
    for key in keys {
        let values: Vec<Option<&String>> = recipes.iter().map(|own| own.get(key)).collect();
        // Every run has a folder of its own.
        if key == "output" || values.iter().all(|own| *own == values[0]) {
            continue;
        }
        let cells = values.into_iter().map(|own| own.map_or_else(|| "–".to_owned(), Clone::clone));
        table.rows.push(std::iter::once(key.clone()).chain(cells).collect());
    }
    (!table.rows.is_empty()).then_some(table)
}

/// `train.epochs` → `30`; of a text that is no recipe nothing.
fn flat(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let table: toml::Table = text.parse().unwrap_or_default();
    add(&mut all, "", &toml::Value::Table(table));
    all
}

fn add(all: &mut BTreeMap<String, String>, key: &str, value: &toml::Value) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        toml::Value::Table(own) => own.iter().for_each(|(name, own)| add(all, &below(name), own)),
        // Teachers have names, which do not depend on their order.
        toml::Value::Array(own) if own.iter().any(toml::Value::is_table) => {
            for (at, own) in own.iter().enumerate() {
                let name = own.get("name").and_then(toml::Value::as_str);
                add(all, &below(&name.map_or_else(|| at.to_string(), str::to_owned)), own);
            }
        }
        toml::Value::String(own) => {
            all.insert(key.to_owned(), own.clone());
        }
        other => {
            all.insert(key.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Run;

    fn report(recipes: [&str; 2]) -> Report {
        let run = |(name, text): (&str, &str)| Run {
            name: name.to_owned(),
            group: name.to_owned(),
            path: name.into(),
            card: None,
            epochs: Vec::new(),
            data: None,
            bench: None,
            recipe: Some(text.to_owned()),
        };
        let runs = ["a", "b"].into_iter().zip(recipes).map(run).collect();
        Report { title: String::new(), runs, comparison: None, notes: Vec::new() }
    }

    #[test]
    fn only_what_differs_stands_side_by_side() {
        let first = "seed = 1\noutput = \"x\"\n[train]\nepochs = 3\nlearning_rate = 0.1\n\
                     [[teachers]]\nname = \"ada\"\nweights = \"a.pth\"\n";
        let second = "seed = 1\noutput = \"y\"\n[train]\nepochs = 5\nlearning_rate = 0.1\n\
                      [[teachers]]\nname = \"ada\"\nweights = \"b.pth\"\n[data]\nviews = 2\n";
        let rows = differences(&report([first, second])).unwrap().rows;
        let expected = [
            ["data.views", "–", "2"],
            ["teachers.ada.weights", "a.pth", "b.pth"],
            ["train.epochs", "3", "5"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(str::to_owned).to_vec()));
        assert!(differences(&report([first, first])).is_none());
        assert!(differences(&report(["= no", "recipe"])).is_none());
    }
}
