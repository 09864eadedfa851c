//! The teacher explorer: who is trusted when, and pictures on which the teachers disagree.
//!
//! Every picture with its table is in the page; the script only hides what a filter leaves out.

use std::fmt::Write as _;

use faculty_records::report_data::{Answer, Example, MOST_EXAMPLES, MOST_OF_CLASS, TeachersDetail};

use super::figures::figures;
use crate::charts::{self, level_name, teacher_names};
use crate::load::{Report, Run};
use crate::svg::escape;
use crate::tables;

/// Everything about the teachers of the run in focus; empty without teachers.
pub(super) fn section(report: &Report, run: &Run) -> String {
    let names = teacher_names(run);
    if names.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    if report.runs.len() > 1 {
        let _ = write!(
            text,
            "<p>Details: <strong>{}</strong>. Every other run's folder gives a report of its \
             own with <code>faculty report</code>.</p>",
            escape(&run.name)
        );
    }
    let detail = run.data.as_ref().and_then(|data| data.teachers.as_ref());
    let examples = detail.map_or(&[][..], |own| &own.examples);
    text += &filters(run, &names, !examples.is_empty());
    text += &figures(&charts::teachers(run));
    let tables: String = tables::levels(run).map(|own| tables::weights(run, own).html()).collect();
    if !tables.is_empty() {
        let _ = writeln!(text, "<div class=\"pair\">{tables}</div>");
    }
    if let Some(detail) = detail.filter(|own| !own.examples.is_empty()) {
        text += &gallery(run, detail, &names);
    }
    text
}

/// Shown by the script alone, without which it would do nothing.
fn filters(run: &Run, names: &[String], pictures: bool) -> String {
    let option =
        |value: usize, name: &str| format!("<option value=\"{value}\">{}</option>", escape(name));
    let teachers: String = names.iter().enumerate().map(|(at, name)| option(at, name)).collect();
    let mut text = format!(
        "<form id=\"filters\" class=\"filters\" hidden=\"\"><label>teacher <select name=\"teacher\">\
         <option value=\"\">all</option>{teachers}</select></label>"
    );
    if pictures {
        let classes = run.card.iter().flat_map(|card| &card.classes).enumerate();
        let classes: String = classes.map(|(at, name)| option(at, name)).collect();
        let _ = write!(
            text,
            "<label>class <select name=\"class\"><option value=\"\">all</option>{classes}</select></label>\
             <label>its answer <select name=\"answer\"><option value=\"\">any</option>\
             <option value=\"right\">right</option><option value=\"wrong\">wrong</option></select></label>\
             <button type=\"reset\">all</button><output name=\"count\"></output>"
        );
    }
    text + "</form>\n"
}

fn gallery(run: &Run, detail: &TeachersDetail, names: &[String]) -> String {
    let empty = Vec::new();
    let classes = run.card.as_ref().map_or(&empty, |card| &card.classes);
    let mut levels: Vec<&str> = detail.weights.iter().map(|own| own.level.as_str()).collect();
    levels.dedup();
    let mut text = format!(
        "<h3>Where the teachers disagree</h3><p>Samples of the {} split on which the teachers contradict \
         each other; first those where good teachers do (one near chance hardly counts). Of each class, the \
         run has kept up to {MOST_OF_CLASS} samples (fewer of many classes, {MOST_EXAMPLES} in all): those with the most different answers, and \
         among these the ones about which the teachers are surest; samples on which all agree are not \
         among them. Confidence: the probability of the answer; weight: what {} gave the teacher for this \
         sample at the end of the training.</p><div id=\"examples\" class=\"examples\">",
        escape(&detail.part),
        escape(&run.name)
    );
    let trust = trust(detail);
    let mut examples: Vec<&Example> = detail.examples.iter().collect();
    // Stable: equal ones stay as the run has ordered them.
    examples.sort_by(|a, b| contradiction(b, &trust).total_cmp(&contradiction(a, &trust)));
    for example in examples {
        text += &card(example, classes, names, &levels);
    }
    text + "</div>\n<button id=\"more-examples\" hidden=\"\">more</button>\n<p id=\"no-examples\" hidden=\"\">No sample fits these filters.</p>\n"
}

/// How much each teacher's word counts: 1 for the best, 0 at the share of the largest class, and
/// evenly between.
fn trust(detail: &TeachersDetail) -> Vec<f64> {
    let share = |right: f64| right / detail.samples.max(1) as f64;
    let accuracy: Vec<f64> = detail
        .teachers
        .iter()
        .map(|own| {
            let right = own.per_class.iter();
            share(right.map(|c| c.top1.unwrap_or(0.0) / 100.0 * c.samples as f64).sum())
        })
        .collect();
    let largest = detail.student_per_class.iter().map(|own| own.samples).max().unwrap_or(0);
    let chance = share(largest as f64);
    let best = accuracy.iter().copied().fold(chance, f64::max);
    let scaled = |own: &f64| ((own - chance) / (best - chance).max(1e-9)).clamp(0.0, 1.0);
    accuracy.iter().map(scaled).collect()
}

/// Over all pairs of teachers with different answers: how surely both say so, and how much their
/// words count.
fn contradiction(example: &Example, trust: &[f64]) -> f64 {
    let said: Vec<(u32, f64)> = example
        .teachers
        .iter()
        .zip(trust)
        .filter_map(|(own, trust)| own.map(|own| (own.class, trust * own.confidence)))
        .collect();
    let pairs = said.iter().enumerate().flat_map(|(i, a)| said[..i].iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| a.0 != b.0).map(|(a, b)| a.1 * b.1).sum()
}

fn card(example: &Example, classes: &[String], names: &[String], levels: &[&str]) -> String {
    let class =
        |at: u32| classes.get(at as usize).map_or_else(|| at.to_string(), |own| escape(own));
    let right = |own: &Option<Answer>| own.is_some_and(|own| own.class == example.label);
    let marks: Vec<String> = example
        .teachers
        .iter()
        .enumerate()
        .map(|(at, own)| format!("{at}-{}", if right(own) { "right" } else { "wrong" }))
        .collect();
    let label = class(example.label);
    let mut text = format!(
        "<article data-class=\"{}\" data-teachers=\"{}\"><div class=\"truth\">",
        example.label,
        marks.join(" ")
    );
    if let Some(shown) = &example.text {
        let _ = write!(text, "<blockquote>{}</blockquote>", escape(shown).replace('\n', "<br/>"));
    }
    if is_picture(&example.image) {
        let _ = write!(text, "<img src=\"{}\" alt=\"an image of {label}\"/>", example.image);
    }
    let origin = example.origin.as_deref().map_or_else(String::new, |origin| {
        format!("<small class=\"origin\">{}</small>", escape(origin))
    });
    let _ = write!(
        text,
        "<div><strong>{label}</strong>{origin}<small>{}</small></div></div><table><thead><tr>\
         <th scope=\"col\">who</th><th scope=\"col\">answer</th><th scope=\"col\" class=\"n\">conf.</th>",
        escape(&example.id)
    );
    for level in levels {
        let short = if *level == "kd" { "weight" } else { "map weight" };
        let title = format!("weight at the {}", level_name(level));
        let _ =
            write!(text, "<th scope=\"col\" class=\"n\" title=\"{}\">{short}</th>", escape(&title));
    }
    text += "</tr></thead><tbody>";
    for (at, own) in example.teachers.iter().enumerate() {
        let name = names.get(at).map_or_else(|| at.to_string(), |own| escape(own));
        let _ = write!(text, "<tr data-mark=\"teacher-{at}\"><th scope=\"row\">{name}</th>");
        text += &answer_cells(own.as_ref(), example.label, class);
        for level in levels {
            let weight = example.weights.get(*level).and_then(|own| own.get(at));
            let weight = weight.map_or_else(|| "–".to_owned(), |own| format!("{own:.2}"));
            let _ = write!(text, "<td class=\"n\">{weight}</td>");
        }
        text += "</tr>";
    }
    text += "<tr class=\"student\"><th scope=\"row\">student</th>";
    text += &answer_cells(example.student.as_ref(), example.label, class);
    text += &"<td></td>".repeat(levels.len());
    text + "</tr></tbody></table></article>\n"
}

/// Answer and confidence; right and wrong differ in sign and colour.
fn answer_cells(own: Option<&Answer>, label: u32, class: impl Fn(u32) -> String) -> String {
    let Some(own) = own else { return "<td>–</td><td class=\"n\">–</td>".to_owned() };
    let (word, sign) = if own.class == label { ("right", "✓") } else { ("wrong", "✗") };
    format!(
        "<td class=\"{word}\">{sign} {}</td><td class=\"n\">{:.0} %</td>",
        class(own.class),
        100.0 * own.confidence
    )
}

/// Whether it is a PNG in the page itself and nothing else.
fn is_picture(address: &str) -> bool {
    address.strip_prefix("data:image/png;base64,").is_some_and(|own| {
        own.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_among_good_teachers_count_and_those_of_a_bad_one_do_not() {
        let class = |samples, top1: f64| serde_json::json!({"samples": samples, "top1": top1, "interval": null});
        let teacher = |name: &str, top1: f64| {
            let per_class = [class(10, top1), class(10, top1)];
            serde_json::json!({"name": name, "calibration": [], "per_class": per_class})
        };
        let detail: TeachersDetail = serde_json::from_value(serde_json::json!({
            "part": "validation", "samples": 20, "ensemble_calibration": [], "weights": [],
            "teachers": [teacher("good", 90.0), teacher("fair", 70.0), teacher("bad", 40.0)],
            "student_per_class": [class(10, 80.0), class(10, 80.0)], "examples": []
        }))
        .unwrap();
        let trust = trust(&detail);
        assert!((trust[0] - 1.0).abs() < 1e-9 && (trust[1] - 0.5).abs() < 1e-9, "{trust:?}");
        assert_eq!(trust[2], 0.0);
        let example = |said: [u32; 3]| -> Example {
            let said = said.map(|class| Answer { class, confidence: 0.8, of_label: 0.1 });
            serde_json::from_value(serde_json::json!({
                "id": "x", "label": 0, "image": "", "student": null, "teachers": said, "weights": {}
            }))
            .unwrap()
        };
        let of = |said| contradiction(&example(said), &trust);
        assert!((of([0, 1, 0]) - 0.32).abs() < 1e-9, "{}", of([0, 1, 0]));
        assert_eq!((of([0, 0, 1]), of([0, 0, 0])), (0.0, 0.0));
    }

    #[test]
    fn the_file_of_a_sample_stands_under_its_picture_as_text() {
        let example: Example = serde_json::from_value(serde_json::json!({
            "id": "0f", "label": 0, "image": "data:image/png;base64,iVBO", "student": null,
            "origin": "cat/<b>1.png", "teachers": [], "weights": {}
        }))
        .unwrap();
        let card = card(&example, &["cat".to_owned()], &[], &[]);
        assert!(card.contains("<small class=\"origin\">cat/&lt;b&gt;1.png</small>"), "{card}");
        let card = super::card(&Example { origin: None, ..example }, &[], &[], &[]);
        assert!(!card.contains("origin"), "{card}");
    }

    #[test]
    fn only_pictures_of_the_page_itself_are_shown() {
        assert!(is_picture("data:image/png;base64,iVBORw0KGgo="));
        assert!(!is_picture("data:image/png;base64,x\" onload=\"alert(1)"));
        assert!(!is_picture("https://example.org/x.png"));
    }
}
