//! Several runs of language models in one page, or a comparison of them.

use std::path::{Component, Path, PathBuf};

use faculty_records::language_comparison::{LANGUAGE_COMPARISON, LanguageComparison};
use faculty_records::language_run::LanguageModelEntry;

use super::{LanguageReport, curves, read};
use crate::error::{Error, Result};
use crate::html::{figures, frame};
use crate::load::{folder_name, names};
use crate::svg::{Chart, escape};
use crate::table::Table;

/// One of several runs.
#[derive(Clone, Debug)]
pub struct LanguageRun {
    /// Its name; in a comparison `NAME, seed N`.
    pub name: String,
    /// What curves of several seeds have in common.
    pub group: String,
    /// What it left behind.
    pub report: LanguageReport,
}

/// Several finished runs, perhaps those of a comparison.
#[derive(Clone, Debug)]
pub struct LanguageRuns {
    /// What the page is called.
    pub title: String,
    /// In order.
    pub runs: Vec<LanguageRun>,
    /// What a finished comparison found.
    pub comparison: Option<LanguageComparison>,
}

impl LanguageRuns {
    /// Whether a finished comparison of language models lies in a folder.
    #[must_use]
    pub fn is_comparison(folder: &Path) -> bool {
        folder.join(LANGUAGE_COMPARISON).is_file()
    }

    /// Of several run folders, or of the folder of a comparison.
    ///
    /// # Errors
    /// When a file cannot be read or understood.
    pub fn load(folders: &[PathBuf]) -> Result<Self> {
        if let [folder] = folders
            && Self::is_comparison(folder)
        {
            return Self::of_comparison(folder);
        }
        let runs = names(folders).into_iter().zip(folders).map(|(name, folder)| {
            if Self::is_comparison(folder) {
                return Err(Error::ComparisonAmongRuns { path: folder.clone() });
            }
            let report = LanguageReport::load(folder)?;
            Ok(LanguageRun { group: name.clone(), name, report })
        });
        let title = format!("{} runs", folders.len());
        Ok(Self { title, runs: runs.collect::<Result<_>>()?, comparison: None })
    }

    fn of_comparison(folder: &Path) -> Result<Self> {
        let path = folder.join(LANGUAGE_COMPARISON);
        let damaged = |reason| Error::Damaged { path: path.clone(), reason };
        let comparison: LanguageComparison =
            serde_json::from_str(&read(&path)?).map_err(|error| damaged(error.to_string()))?;
        // Names become folders: only those beside the file.
        let plain = |name: &str| {
            let mut parts = Path::new(name).components();
            matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        };
        let mut runs = Vec::new();
        for row in &comparison.rows {
            if !plain(&row.name) {
                return Err(damaged(format!("`{}` is no name of a row", row.name)));
            }
            for run in &row.runs {
                let own = folder.join(&row.name).join(format!("seed{}", run.seed));
                // What was removed since is not in the curves.
                if let Ok(report) = LanguageReport::load(&own) {
                    let name = format!("{}, seed {}", row.name, run.seed);
                    runs.push(LanguageRun { name, group: row.name.clone(), report });
                }
            }
        }
        let title = comparison.name.clone().unwrap_or_else(|| folder_name(folder));
        Ok(Self { title, runs, comparison: Some(comparison) })
    }

    /// The teachers of all runs, each once.
    fn teachers(&self) -> Vec<LanguageModelEntry> {
        let of_comparison = self.comparison.iter().flat_map(|own| &own.teachers);
        let of_runs = self.runs.iter().flat_map(|own| &own.report.card.teachers);
        let mut all: Vec<LanguageModelEntry> = Vec::new();
        for entry in of_comparison.chain(of_runs) {
            if all.iter().all(|known| (&known.name, &known.hash) != (&entry.name, &entry.hash)) {
                all.push(entry.clone());
            }
        }
        all
    }

    /// Teachers and students; of a comparison with differences and verdicts.
    #[must_use]
    pub fn results(&self) -> Table {
        match &self.comparison {
            Some(own) => super::tables::compared(own),
            None => {
                let students = self.runs.iter();
                let students: Vec<_> =
                    students.map(|own| (own.name.as_str(), &own.report.card.student)).collect();
                super::tables::models(&self.teachers(), &students)
            }
        }
    }

    /// What came out, first in a sentence.
    #[must_use]
    pub fn headlines(&self) -> Vec<String> {
        match &self.comparison {
            Some(own) => [own.verdict()].into_iter().chain(own.seeds_needed()).collect(),
            None => self
                .runs
                .iter()
                .map(|own| format!("{}: {}", own.name, own.report.headline()))
                .collect(),
        }
    }

    fn charts(&self) -> Vec<Chart> {
        let mut groups: curves::Groups<'_> = Vec::new();
        for LanguageRun { group, report, .. } in &self.runs {
            match groups.iter_mut().find(|(name, _)| name == group) {
                Some((_, runs)) => runs.push(&report.records),
                None => groups.push((group, vec![&report.records])),
            }
        }
        let mut charts: Vec<Chart> =
            curves::bits(groups, &curves::levels(&self.teachers())).into_iter().collect();
        let mut shown: Vec<&str> = Vec::new();
        for LanguageRun { name, group, report } in &self.runs {
            let names: Vec<&str> =
                report.card.teachers.iter().map(|own| own.name.as_str()).collect();
            // Of several seeds the first, and nothing of methods whose weights are constants.
            if shown.contains(&group.as_str()) || !report.weighs() {
                continue;
            }
            shown.push(group);
            charts.extend(curves::weights(&report.records, &names, name));
        }
        charts
    }

    /// The whole page.
    #[must_use]
    pub fn page(&self) -> String {
        let lines = self.headlines();
        let lines = lines.iter().enumerate().map(|(at, line)| {
            let class = if at == 0 { "lead" } else { "more" };
            format!("<p class=\"{class}\">{}</p>", escape(line))
        });
        let answer = lines.collect::<String>() + &self.results().html();
        let sections =
            [("answer", "Answer", answer), ("learning", "Learning", figures(&self.charts()))];
        frame(&escape(&self.title), &sections)
    }
}
