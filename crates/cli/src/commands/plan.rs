//! `faculty distill` of a recipe with `[plan]`: several students.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faculty_data::Dataset;
use faculty_distill::plan::{CheckedPlan, PlanEvent};
use faculty_distill::recipe::{Plan, Recipe};
use faculty_distill::record::RunCard;
use faculty_distill::{Event, Start};
use faculty_records::plan::PlanCard;
use serde_json::json;

use super::run_card::{describe, describe_data, qualities, summary};
use crate::failure::Failure;
use crate::progress::{Progress, duration, print_json};
use crate::table::{self, Align, percent};

pub(super) fn run(
    recipe: &Recipe,
    plan: &Plan,
    dataset: &Dataset,
    folder: &Path,
    start: Start,
    stop: &AtomicBool,
    as_json: bool,
) -> Result<(), Failure> {
    let reading = Instant::now();
    let checked = CheckedPlan::new(recipe, plan, dataset)?;
    let students = checked.students();
    if as_json {
        let kind = plan.kind.name();
        print_json(
            &json!({"event": "start", "folder": folder, "plan": kind, "students": students}),
        );
    } else {
        eprintln!("plan: {}, students {}", plan.kind.name(), students.join(", "));
    }
    let mut shown = Shown { progress: None, name: String::new(), told_data: false, as_json };
    let seconds = reading.elapsed().as_secs_f64();
    let result = checked.run(folder, start, stop, &mut |name, event| match event {
        PlanEvent::Student { card, data } => {
            if !as_json && !shown.told_data {
                describe_data(card, data, seconds);
                shown.told_data = true;
            }
            shown.begin(name, card, recipe.train.epochs);
        }
        PlanEvent::Kept(card) => shown.kept(name, card),
        PlanEvent::Run(event) => shown.event(name, &event),
    });
    shown.finish();
    let (card, plan) = result?;
    if as_json {
        print_json(&json!({"event": "result", "folder": folder, "card": card, "plan": plan}));
    } else {
        show(&plan, card.classes.len())?;
        summary(&card, folder)?;
    }
    Ok(())
}

/// What is on the screen.
struct Shown {
    progress: Option<Progress>,
    /// Whose progress.
    name: String,
    told_data: bool,
    as_json: bool,
}

impl Shown {
    fn begin(&mut self, name: &str, card: &RunCard, epochs: usize) {
        self.finish();
        if self.as_json {
            print_json(&json!({"event": "student", "run": name, "card": card}));
        } else {
            eprintln!("{name}:");
            describe(card, None);
        }
        self.progress = Some(Progress::new(name, epochs, self.as_json, true));
        name.clone_into(&mut self.name);
    }

    fn kept(&mut self, name: &str, card: &RunCard) {
        if self.as_json {
            print_json(&json!({"event": "kept", "run": name, "card": card}));
        } else {
            let best = qualities(card.best.test, card.best.validation, card.classes.len());
            eprintln!("{name}: finished already and kept: {best}");
        }
    }

    fn event(&mut self, name: &str, event: &Event<'_>) {
        let Some(progress) = &mut self.progress else { return };
        match event {
            // A peer, whose batches are those of the student.
            Event::Epoch(record) if name != self.name => progress.epoch(name, record),
            event => progress.show(event),
        }
    }

    fn finish(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
}

/// All students at their best epochs, on stdout.
fn show(plan: &PlanCard, classes: usize) -> std::io::Result<()> {
    let header = [
        ("student", Align::Left),
        ("network", Align::Left),
        ("parameters", Align::Right),
        ("test", Align::Right),
        ("validation", Align::Right),
        ("time", Align::Right),
    ];
    let top1 = |quality: Option<faculty_distill::metrics::Quality>| {
        quality.map_or_else(|| "-".to_owned(), |own| percent(own.top1))
    };
    let rows: Vec<Vec<String>> = plan
        .students
        .iter()
        .map(|own| {
            vec![
                own.name.clone(),
                own.network.clone(),
                own.parameters.to_string(),
                top1(own.best.test),
                top1(own.best.validation),
                duration(own.seconds),
            ]
        })
        .collect();
    let mut out = crate::terminal::stdout();
    table::write(&mut out, &header, &rows)?;
    if let Some(together) = plan.ensemble {
        let both = qualities(together.test, together.validation, classes);
        writeln!(out, "all {} together: {both}", plan.students.len())?;
    }
    Ok(())
}
