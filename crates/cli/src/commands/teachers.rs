//! `faculty teachers`: what the teachers of a recipe are worth, before anything is trained.

use std::io::{self, Write};
use std::sync::Arc;

use faculty_data::Dataset;
use faculty_distill::ablation::{Ablation, AblationPlan, ablate, check_ablation};
use faculty_distill::preflight::{Diversity, Report, TeacherReport};
use faculty_distill::recipe::Recipe;
use faculty_distill::run::{Ranked, Ranking, inspect_teachers, rank_teachers};
use faculty_distill::{Event, Start};

use super::{beside, heads, load_recipe, open_data, shown, stop_on_interrupt, use_threads};
use crate::arguments::TeachersOptions;
use crate::failure::Failure;
use crate::progress::{Progress, print_json};
use crate::table::{self, Align, percent, shows_top5};

/// Classes shown in the table of classes.
const CONTESTED: usize = 8;

pub(crate) fn run(options: &TeachersOptions) -> Result<(), Failure> {
    let recipe = load_recipe(&options.recipe, &options.sets)?.recipe;
    if recipe.teachers.is_empty() {
        return Err(Failure::Usage {
            what: format!("recipe `{}` has no teachers", options.recipe.display()),
            hint: "add `[[teachers]]`".to_owned(),
        });
    }
    if options.ablate {
        check_ablation(&recipe)?;
    }
    use_threads(recipe.train.threads)?;
    // Measuring takes seconds and leaves nothing behind: there Ctrl-C ends at once.
    let stop = if options.ablate { stop_on_interrupt() } else { Arc::default() };
    let dataset = open_data(&recipe)?;
    let samples = options.samples.map(|samples| samples as usize);
    if options.rank {
        let ranking = rank_teachers(&recipe, &dataset, samples)?;
        if options.json {
            print_json(&ranking);
            return Ok(());
        }
        return Ok(show_ranking(&ranking, &mut crate::terminal::stdout())?);
    }
    let report = inspect_teachers(&recipe, &dataset, samples)?;
    if !options.json {
        notes(&report);
        show(&report, &mut crate::terminal::stdout())?;
    }
    let refused = report.refused().map(|teacher| Failure::Answer {
        what: format!(
            "teacher `{}` is near chance: {} of the {} split ({} balanced over the classes){}, where \
             always saying `{}` gives {}",
            teacher.name,
            percent(teacher.quality.top1),
            report.part,
            percent(teacher.balanced),
            only_answer(&report, teacher),
            report.majority,
            percent(report.chance)
        ),
        hint: format!("fix or drop it, or set `allow_weak = true` on teacher `{}`", teacher.name),
    });
    let ablation = match &refused {
        None if options.ablate => Some(trained(options, &recipe, &dataset, &stop)?),
        _ => None,
    };
    if options.json {
        let mut all = serde_json::to_value(&report).expect("plain data always serialises");
        all["ablation"] = serde_json::to_value(&ablation).expect("plain data always serialises");
        for (teacher, own) in report.teachers.iter().enumerate() {
            all["teachers"][teacher]["suspicion"] =
                serde_json::to_value(own.suspicion()).expect("plain data always serialises");
            all["teachers"][teacher]["precision_suspicion"] =
                serde_json::to_value(own.precision_suspicion())
                    .expect("plain data always serialises");
        }
        print_json(&all);
    } else if let Some(ablation) = &ablation {
        show_ablation(ablation, &mut crate::terminal::stdout())?;
    }
    refused.map_or(Ok(()), Err)
}

fn trained(
    options: &TeachersOptions,
    recipe: &Recipe,
    dataset: &Dataset,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Ablation, Failure> {
    let folder = options.output.clone().unwrap_or_else(|| beside(recipe, "ablation"));
    let seeds = options.seeds.unwrap_or(1) as usize;
    let start = match (options.resume, options.overwrite) {
        (true, _) => Start::Resume,
        (_, true) => Start::Overwrite,
        _ => Start::New,
    };
    let plan = AblationPlan { folder, seeds, start };
    let recipe = &heads::mount(recipe, dataset, stop, options.json)?;
    if !options.json {
        let runs = seeds * (recipe.teachers.len() + 1);
        eprintln!("ablation: {runs} students, in `{}`", shown(&plan.folder));
        if recipe.data.views.is_none() {
            eprintln!(
                "note: every epoch has new views, so the teachers run in every one; with \
                 `--set data.views=2` their outputs are kept for all students"
            );
        }
    }
    let mut progress: Option<Progress> = None;
    let result = ablate(recipe, dataset, &plan, stop, &mut |name, event| {
        if options.json {
            // One object at the end is the whole output.
            return;
        }
        if matches!(event, Event::Started { .. })
            && let Some(old) =
                progress.replace(Progress::new(name, recipe.train.epochs, false, false))
        {
            old.finish();
        }
        if let Some(progress) = &mut progress {
            progress.show(&event);
        }
    });
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(result?)
}

/// What is worth a thought, on stderr.
fn notes(report: &Report) {
    if report.part == "test" {
        eprintln!(
            "note: there is no validation split, so the test split is used; choose nothing by it"
        );
    }
    let widest = report
        .teachers
        .iter()
        .filter_map(|own| own.quality.interval_of_small_part())
        .map(|[low, high]| 0.5 * (high - low))
        .fold(0.0, f64::max);
    if widest > 0.0 {
        eprintln!(
            "note: {} {} samples are few: an accuracy on them is sure to ± {widest:.1} points (95 %)",
            report.samples, report.part
        );
    }
    for teacher in &report.teachers {
        let TeacherReport { name, near_chance, allow_weak, calibrated, .. } = teacher;
        if *near_chance && *allow_weak {
            eprintln!("note: teacher `{name}` is near chance; allowed by `allow_weak = true`");
        }
        if calibrated.at_bound && *near_chance {
            eprintln!("note: no temperature makes teacher `{name}` fit the labels");
        }
        for note in &teacher.notes {
            eprintln!("note: teacher `{name}`: {note}");
        }
        if let Some(suspicion) = teacher.suspicion() {
            eprintln!("warning: teacher `{name}`: {}\n  hint: {}", suspicion.what, suspicion.fix);
        }
        if let Some(suspicion) = teacher.precision_suspicion() {
            eprintln!("warning: teacher `{name}`: {}\n  hint: {}", suspicion.what, suspicion.fix);
        }
    }
    let names: Vec<&str> = report.teachers.iter().map(|teacher| teacher.name.as_str()).collect();
    warn_of_same_teachers(&names, report.diversity.as_ref());
}

/// Two teachers that say the same are one that counts twice.
pub(super) fn warn_of_same_teachers(names: &[&str], diversity: Option<&Diversity>) {
    for pair in diversity.iter().flat_map(|own| &own.pairs) {
        let (Some(how), Some(first), Some(second)) =
            (pair.sameness(), names.get(pair.first), names.get(pair.second))
        else {
            continue;
        };
        eprintln!(
            "warning: teachers `{first}` and `{second}` {how}: a student learns no more from both \
             than from one\n  hint: check that their files are those you mean, or drop one"
        );
    }
}

fn only_answer(report: &Report, teacher: &TeacherReport) -> String {
    let class = teacher.only_answer.and_then(|class| report.classes.get(class as usize));
    class.map_or_else(String::new, |class| format!(", as it says `{class}` every time"))
}

fn show_ranking(ranking: &Ranking, out: &mut impl Write) -> io::Result<()> {
    let header = [
        ("", Align::Right),
        ("teacher", Align::Left),
        ("network", Align::Left),
        ("classes", Align::Right),
        ("of the data", Align::Right),
        ("cost", Align::Right),
        ("guessing", Align::Right),
    ];
    let row = |(place, own): (usize, &Ranked)| {
        vec![
            (place + 1).to_string(),
            own.name.clone(),
            own.network.clone(),
            own.classes.to_string(),
            own.same.to_string(),
            format!("{:.3}", own.score),
            format!("{:.3}", own.guessing),
        ]
    };
    let rows: Vec<Vec<String>> = ranking.teachers.iter().enumerate().map(row).collect();
    table::write(out, &header, &rows)?;
    let Ranking { part, samples, .. } = ranking;
    writeln!(
        out,
        "\ncost: from each teacher's answers to the labels of {samples} {part} samples, 0 to 1"
    )?;
    writeln!(out, "the lowest is nearest to the task; guessing: all its classes equally likely")
}

fn show(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let Report { part, samples, classes, chance, majority, .. } = report;
    writeln!(
        out,
        "{part} split: {samples} samples, {} classes, always saying `{majority}` {}\n",
        classes.len(),
        percent(*chance)
    )?;
    show_teachers(report, out)?;
    show_precisions(report, out)?;
    if let Some(diversity) = &report.diversity {
        writeln!(out)?;
        show_diversity(report, diversity, out)?;
        writeln!(out)?;
        show_classes(report, out)?;
    }
    Ok(())
}

/// The column that few classes do without.
const TOP5: &str = "top-5";

fn show_teachers(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut header = vec![
        ("teacher", Align::Left),
        ("network", Align::Left),
        ("top-1", Align::Right),
        ("balanced", Align::Right),
        (TOP5, Align::Right),
        ("NLL", Align::Right),
        ("ECE", Align::Right),
        ("confidence", Align::Right),
        ("temperature", Align::Right),
        ("cal. NLL", Align::Right),
        ("cal. ECE", Align::Right),
        ("verdict", Align::Left),
    ];
    let mut rows: Vec<Vec<String>> = report
        .teachers
        .iter()
        .map(|teacher| {
            let (quality, fitted) = (&teacher.quality, &teacher.calibrated);
            let mut verdict = Vec::new();
            if teacher.near_chance {
                verdict.push("near chance".to_owned());
            }
            if teacher.precision_suspicion().is_some() {
                verdict.push("precision?".to_owned());
            }
            verdict.extend(teacher.doubted().map(|what| format!("{what}?")));
            vec![
                teacher.name.clone(),
                teacher.network.clone(),
                percent(quality.top1),
                percent(teacher.balanced),
                percent(quality.top5),
                format!("{:.3}", quality.nll),
                format!("{:.3}", quality.ece),
                format!("{:.3}", teacher.mean_confidence),
                format!("{}{:.2}", if fitted.at_bound { "bound " } else { "" }, fitted.temperature),
                format!("{:.3}", fitted.nll),
                format!("{:.3}", fitted.ece),
                if verdict.is_empty() { "good".to_owned() } else { verdict.join(", ") },
            ]
        })
        .collect();
    if report.teachers.len() > 1 {
        let quality = &report.ensemble;
        let mut row = vec![
            "ensemble".to_owned(),
            String::new(),
            percent(quality.top1),
            quality.balanced_accuracy.map_or_else(String::new, percent),
            percent(quality.top5),
            format!("{:.3}", quality.nll),
            format!("{:.3}", quality.ece),
        ];
        row.resize(header.len(), String::new());
        rows.push(row);
    }
    if let Some(at) = header.iter().position(|(title, _)| *title == TOP5)
        && !shows_top5(report.classes.len())
    {
        header.remove(at);
        rows.iter_mut().for_each(|row| drop(row.remove(at)));
    }
    table::write(out, &header, &rows)
}

/// Teachers that are run in another precision than f32, beside themselves in f32.
fn show_precisions(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let header = [
        ("precision", Align::Left),
        ("", Align::Left),
        ("top-1", Align::Right),
        ("in f32", Align::Right),
        ("gained", Align::Right),
        ("lost", Align::Right),
        ("NLL", Align::Right),
        ("in f32", Align::Right),
        ("difference", Align::Right),
    ];
    let row = |teacher: &TeacherReport| {
        let own = teacher.precision.as_ref()?;
        Some(vec![
            teacher.name.clone(),
            own.precision.clone(),
            percent(own.own.top1),
            percent(own.in_f32.top1),
            own.gained.to_string(),
            own.lost.to_string(),
            format!("{:.4}", own.own.nll),
            format!("{:.4}", own.in_f32.nll),
            format!("{:+.4}", own.nll_difference),
        ])
    };
    let rows: Vec<Vec<String>> = report.teachers.iter().filter_map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table::write(out, &header, &rows)
}

fn show_diversity(report: &Report, diversity: &Diversity, out: &mut impl Write) -> io::Result<()> {
    let names: Vec<&str> = report.teachers.iter().map(|teacher| teacher.name.as_str()).collect();
    let header = [
        ("pair", Align::Left),
        ("same answer", Align::Right),
        ("both right", Align::Right),
        ("one right", Align::Right),
        ("both wrong", Align::Right),
        ("error correlation", Align::Right),
        ("logit correlation", Align::Right),
    ];
    let share = |value: f64| percent(100.0 * value);
    let rows: Vec<Vec<String>> = diversity
        .pairs
        .iter()
        .map(|pair| {
            vec![
                format!("{}, {}", names[pair.first], names[pair.second]),
                share(pair.agreement),
                share(pair.both_right),
                share(pair.one_right),
                share(pair.double_fault),
                optional(pair.error_correlation),
                optional(pair.logit_correlation),
            ]
        })
        .collect();
    table::write(out, &header, &rows)?;
    let together: Vec<String> = diversity
        .right_together
        .iter()
        .enumerate()
        .map(|(right, &value)| format!("{right}: {}", share(value)))
        .collect();
    writeln!(
        out,
        "some teacher is right: {}; teachers right at once: {}",
        percent(diversity.oracle),
        together.join(", ")
    )?;
    writeln!(
        out,
        "entropy measure E {:.3}, interrater agreement κ {} (Kuncheva, Whitaker 2003)",
        diversity.entropy,
        optional(diversity.kappa)
    )
}

fn show_classes(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let contested = report.contested_classes();
    let mut header = vec![("class", Align::Left), ("samples", Align::Right)];
    header.extend(report.teachers.iter().map(|teacher| (teacher.name.as_str(), Align::Right)));
    header.push(("spread", Align::Right));
    let rows: Vec<Vec<String>> = contested
        .iter()
        .take(CONTESTED)
        .map(|&(class, spread)| {
            let own = report.teachers.iter().map(|teacher| &teacher.per_class[class]);
            let samples = report.teachers[0].per_class[class].samples;
            let mut row = vec![report.classes[class].clone(), samples.to_string()];
            row.extend(own.map(|own| own.top1.map_or_else(|| "-".to_owned(), percent)));
            row.push(format!("{spread:.1}"));
            row
        })
        .collect();
    table::write(out, &header, &rows)?;
    match report.classes.len().saturating_sub(rows.len()) {
        0 => Ok(()),
        more => writeln!(out, "{more} more classes with `--json`"),
    }
}

fn show_ablation(ablation: &Ablation, out: &mut impl Write) -> io::Result<()> {
    let tests = ablation.rows.iter().flat_map(|row| &row.runs).all(|run| run.test.is_some());
    let main = format!("{} top-1", ablation.part);
    let mut header = vec![("student", Align::Left), (main.as_str(), Align::Right)];
    let with_test = tests && ablation.part != "test";
    if with_test {
        header.push(("test top-1", Align::Right));
    }
    header.extend([("worth, points", Align::Right), ("± (95 %)", Align::Right)]);
    let rows: Vec<Vec<String>> = ablation
        .rows
        .iter()
        .map(|row| {
            let who = match &row.without {
                None => format!("{}, all teachers", ablation.method),
                Some(name) => format!("without {name}"),
            };
            let mut cells = vec![who, percent(row.top1)];
            if with_test {
                let tested: Vec<f64> =
                    row.runs.iter().filter_map(|run| run.test).map(|q| q.top1).collect();
                cells.push(percent(tested.iter().sum::<f64>() / tested.len() as f64));
            }
            cells.push(row.worth.map_or_else(String::new, |worth| format!("{worth:+.2}")));
            cells.push(row.margin.map_or_else(String::new, |margin| format!("{margin:.2}")));
            cells
        })
        .collect();
    writeln!(out)?;
    table::write(out, &header, &rows)?;
    for row in &ablation.rows {
        if let (Some(name), Some(worth)) = (&row.without, row.worth) {
            let doubt = row.margin.is_none_or(|margin| worth.abs() <= margin);
            let verdict = if doubt { " (no evidence: within the margin)" } else { "" };
            writeln!(out, "teacher {name} is worth {worth:+.2} points{verdict}")?;
        }
    }
    Ok(())
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
