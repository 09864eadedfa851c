//! `faculty report`: a page, plots and tables of what runs have left behind.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use faculty_distill::Event;
use faculty_files::write_atomically;
use faculty_report::tensorboard::{EventFile, StepRecord};
use faculty_report::{
    Error, LanguageReport, LanguageRuns, Report, Table, charts, html, tables, text,
};
use serde_json::json;

use super::{refuse_recipe, shown};
use crate::arguments::ReportOptions;
use crate::failure::Failure;
use crate::progress::print_json;

/// The page's name in a folder.
const PAGE: &str = "report.html";

pub(crate) fn run(options: &ReportOptions) -> Result<(), Failure> {
    options.runs.iter().try_for_each(|run| refuse_recipe(run))?;
    let of_language =
        |own: &PathBuf| LanguageReport::is_at(own) || LanguageRuns::is_comparison(own);
    if options.runs.iter().any(of_language) {
        return of_language_models(options);
    }
    let report = Report::load(&options.runs)?;
    let ReportOptions { text, markdown, latex, csv, .. } = *options;
    let instead = text || markdown || latex || csv || options.svg.is_some();
    let mut written = Vec::new();
    if let Some(folder) = &options.svg {
        written.extend(write_charts(&report, folder)?);
    }
    if !instead || options.output.is_some() {
        let path = options.output.clone().unwrap_or_else(|| beside(&options.runs));
        write_file(&path, &html::page(&report))?;
        written.push(path);
    }
    if options.json {
        print_json(&json!({"title": report.title, "files": written, "notes": report.notes}));
        return Ok(());
    }
    for note in report.notes.iter().filter(|_| !text) {
        eprintln!("note: {note}");
    }
    let mut out = crate::terminal::stdout();
    let all = || tables::all(&report);
    if text {
        write!(out, "{}", text::view(&report, crate::terminal::width()))?;
    } else if markdown {
        write!(out, "{}", all().iter().map(|t| t.markdown()).collect::<Vec<_>>().join("\n"))?;
    } else if latex {
        write!(out, "{}", all().iter().map(|t| t.latex()).collect::<Vec<_>>().join("\n"))?;
    } else if csv {
        write!(out, "{}", tables::numbers(&report).csv())?;
    }
    // Tables on stdout may go into a file: names of files do not belong there then.
    for path in &written {
        match text || markdown || latex || csv {
            true => eprintln!("{}", shown(path)),
            false => writeln!(out, "{}", shown(path))?,
        }
    }
    Ok(())
}

/// The report of language models: of one run, of several, or of a comparison.
fn of_language_models(options: &ReportOptions) -> Result<(), Failure> {
    if options.svg.is_some() {
        return Err(Failure::Usage {
            what: "`--svg` is not for language models".to_owned(),
            hint: "leave it out: the page has the curves".to_owned(),
        });
    }
    let ReportOptions { text, markdown, latex, csv, .. } = *options;
    let LanguageView { headlines, table, models, .. } = LanguageView::load(&options.runs)?;
    let mut written = Vec::new();
    if !(text || markdown || latex || csv) || options.output.is_some() {
        written.push(write_language(&options.runs, options.output.as_deref())?);
    }
    if options.json {
        let title = headlines.first();
        print_json(&json!({"title": title, "files": written, "models": models}));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    if text {
        write!(out, "{}\n\n{}", headlines.join("\n"), table.text())?;
    } else if markdown {
        write!(out, "{}", table.markdown())?;
    } else if latex {
        write!(out, "{}", table.latex())?;
    } else if csv {
        write!(out, "{}", table.csv())?;
    }
    for path in &written {
        match text || markdown || latex || csv {
            true => eprintln!("{}", shown(path)),
            false => writeln!(out, "{}", shown(path))?,
        }
    }
    Ok(())
}

/// What is told of runs of language models.
struct LanguageView {
    page: String,
    headlines: Vec<String>,
    table: Table,
    models: serde_json::Value,
}

impl LanguageView {
    fn load(runs: &[PathBuf]) -> Result<Self, Error> {
        if let [folder] = runs
            && LanguageReport::is_at(folder)
        {
            let report = LanguageReport::load(folder)?;
            let card = &report.card;
            return Ok(Self {
                page: report.page(),
                headlines: vec![report.headline()],
                table: report.models(),
                models: json!(card.teachers.iter().chain([&card.student]).collect::<Vec<_>>()),
            });
        }
        let all = LanguageRuns::load(runs)?;
        let students: Vec<_> = all.runs.iter().map(|own| &own.report.card.student).collect();
        Ok(Self {
            page: all.page(),
            headlines: all.headlines(),
            table: all.results(),
            models: json!(students),
        })
    }
}

/// Makes the page of runs or of a comparison of language models.
pub(crate) fn write_language(runs: &[PathBuf], path: Option<&Path>) -> Result<PathBuf, Error> {
    let path = path.map_or_else(|| beside(runs), Path::to_owned);
    write_file(&path, &LanguageView::load(runs)?.page)?;
    Ok(path)
}

/// Where a page belongs.
fn beside(runs: &[PathBuf]) -> PathBuf {
    match runs {
        [folder] => folder.join(PAGE),
        _ => PAGE.into(),
    }
}

/// Makes the page of these folders.
pub(crate) fn write(runs: &[PathBuf], path: &Path) -> Result<PathBuf, Error> {
    write_file(path, &html::page(&Report::load(runs)?))?;
    Ok(path.to_owned())
}

/// The page at the end of a run. The run is done and its numbers are written, so a page that cannot
/// be made is no failure of it.
pub(crate) fn at_the_end(runs: &[PathBuf]) -> Option<PathBuf> {
    or_warning(write(runs, &beside(runs)))
}

/// A failure as a warning.
pub(crate) fn or_warning(page: Result<PathBuf, Error>) -> Option<PathBuf> {
    match page {
        Ok(path) => Some(path),
        Err(error) => {
            eprintln!("warning: no report: {error}\n  hint: {}", error.hint());
            None
        }
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    write_atomically(path, text.as_bytes()).map_err(|source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

fn write_charts(report: &Report, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        action: "write",
        path: folder.to_owned(),
        source,
    })?;
    let mut written = Vec::new();
    for chart in charts::all(report) {
        let path = folder.join(format!("{}.svg", chart.id));
        write_file(&path, &chart.svg)?;
        written.push(path);
    }
    Ok(written)
}

/// TensorBoard events of runs, one after another. They are for looking at: where they cannot be
/// written, the run goes on.
pub(crate) struct Events {
    enabled: bool,
    /// Every so many steps get an event, if any.
    steps: Option<u32>,
    file: Option<EventFile>,
}

impl Events {
    /// Writes nothing unless `enabled`.
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, steps: None, file: None }
    }

    /// With events of every `steps`th training step.
    pub(crate) fn every(self, steps: Option<u32>) -> Self {
        Self { steps, ..self }
    }

    /// Takes an event of the run in `folder`.
    pub(crate) fn take(&mut self, folder: &Path, event: &Event<'_>) {
        if !self.enabled {
            return;
        }
        let result = match event {
            Event::Started { epoch, batch } => {
                EventFile::of_run(folder, *epoch, *batch).map(|file| self.file = Some(file))
            }
            Event::Batch { epoch, batch, batches, batch_loss, images_per_second, .. } => {
                let (epoch, batch, batches) = (*epoch, *batch, *batches);
                let (loss, images_per_second) = (*batch_loss, *images_per_second);
                let record = StepRecord { epoch, batch, batches, loss, images_per_second };
                let is_due = |steps: u32| record.step().is_multiple_of(steps as usize);
                match &mut self.file {
                    // A batch that was left out has no loss.
                    Some(file) if self.steps.is_some_and(is_due) && loss.is_finite() => {
                        file.append_step(&record)
                    }
                    _ => Ok(()),
                }
            }
            Event::Epoch(record) => self.file.as_mut().map_or(Ok(()), |file| file.append(record)),
            Event::Warning(_) | Event::StoppedEarly(_) => Ok(()),
        };
        if let Err(error) = result {
            eprintln!("warning: no more TensorBoard events: {error}");
            (self.enabled, self.file) = (false, None);
        }
    }
}
