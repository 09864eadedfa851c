//! `faculty report`: a page, plots and tables of what runs have left behind.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use faculty_distill::Event;
use faculty_files::write_atomically;
use faculty_report::tensorboard::{EventFile, StepRecord};
use faculty_report::{Error, LanguageReport, Report, charts, html, tables, text};
use serde_json::json;

use super::{refuse_recipe, shown};
use crate::arguments::ReportOptions;
use crate::failure::Failure;
use crate::progress::print_json;

/// The page's name in a folder.
const PAGE: &str = "report.html";

pub(crate) fn run(options: &ReportOptions) -> Result<(), Failure> {
    options.runs.iter().try_for_each(|run| refuse_recipe(run))?;
    if let Some(folder) = options.runs.iter().find(|own| LanguageReport::is_at(own)) {
        return of_language_model(options, folder);
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

/// The report of a language model's run.
fn of_language_model(options: &ReportOptions, folder: &Path) -> Result<(), Failure> {
    if options.runs.len() > 1 || options.svg.is_some() {
        return Err(Failure::Usage {
            what: format!("`{}` is the run of a language model", shown(folder)),
            hint: "give it alone, and without `--svg`".to_owned(),
        });
    }
    let report = LanguageReport::load(folder)?;
    let ReportOptions { text, markdown, latex, csv, .. } = *options;
    let mut written = Vec::new();
    if !(text || markdown || latex || csv) || options.output.is_some() {
        let path = options.output.clone().unwrap_or_else(|| folder.join(PAGE));
        write_file(&path, &report.page())?;
        written.push(path);
    }
    if options.json {
        let models = [report.card.teachers.as_slice(), std::slice::from_ref(&report.card.student)];
        print_json(
            &json!({"title": report.headline(), "files": written, "models": models.concat()}),
        );
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    let models = report.models();
    if text {
        write!(out, "{}\n\n{}", report.headline(), models.text())?;
    } else if markdown {
        write!(out, "{}", models.markdown())?;
    } else if latex {
        write!(out, "{}", models.latex())?;
    } else if csv {
        write!(out, "{}", models.csv())?;
    }
    for path in &written {
        match text || markdown || latex || csv {
            true => eprintln!("{}", shown(path)),
            false => writeln!(out, "{}", shown(path))?,
        }
    }
    Ok(())
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
