//! `faculty methods`, `networks` and `datasets`: what there is.

use std::io::Write as _;

use faculty_data::{Dataset, SamplesInfo, TextSet, WordCounts, formats};
use faculty_distill::methods::{MethodInfo, all as all_methods, find};
use faculty_distill::recipe::{OptionSpec, nearest};
use faculty_nets::{EncoderFamily, MapShape, all_networks, described};
use serde_json::json;

use crate::arguments::{DataOptions, DatasetsOptions, MethodsOptions, NetworksOptions};
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align};

const LEFT: Align = Align::Left;

pub(crate) fn methods(options: &MethodsOptions) -> Result<(), Failure> {
    if let Some(name) = &options.name {
        let Some(info) = find(name) else {
            return Err(no_method(name));
        };
        if options.json {
            print_json(&json!({"method": method_row(info)}));
            return Ok(());
        }
        return Ok(method(info)?);
    }
    if options.json {
        print_json(
            &json!({"methods": all_methods().into_iter().map(method_row).collect::<Vec<_>>()}),
        );
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all_methods()
        .into_iter()
        .map(|info| {
            vec![
                info.spec.name.to_owned(),
                info.spec.help.to_owned(),
                teachers(info.spec.min_teachers, info.spec.max_teachers),
                info.needs_in_words(),
                info.cost().map_or_else(String::new, |cost| format!("{cost:.2}")),
                info.status.name().to_owned(),
                info.paper.to_owned(),
            ]
        })
        .collect();
    let header = [
        ("method", LEFT),
        ("what it does", LEFT),
        ("teachers", LEFT),
        ("needs", LEFT),
        ("cost", Align::Right),
        ("status", LEFT),
        ("paper", LEFT),
    ];
    let mut out = crate::terminal::stdout();
    table::write(&mut out, &header, &rows)?;
    writeln!(
        out,
        "cost: time of a step against plain training, teachers' outputs given (resnet20, three \
         teachers)\noptions: `faculty methods NAME`; all in docs/methods.md"
    )?;
    Ok(())
}

/// For a name that no method has.
pub(crate) fn no_method(name: &str) -> Failure {
    let hint = match nearest(name, all_methods().into_iter().map(|info| info.spec.name)) {
        Some(near) => format!("did you mean `{near}`? `faculty methods` lists all"),
        None => "`faculty methods` lists them".to_owned(),
    };
    Failure::Usage { what: format!("there is no method `{name}`"), hint }
}

fn method_row(info: &MethodInfo) -> serde_json::Value {
    let option_rows: Vec<_> = info
        .spec
        .options
        .iter()
        .map(|o| json!({"key": o.key, "default": o.default, "help": o.help}))
        .collect();
    json!({
        "name": info.spec.name,
        "help": info.spec.help,
        "paper": info.paper,
        "status": info.status.name(),
        "needs": info.needs_in_words(),
        "cost": info.cost(),
        "term": info.spec.is_term(),
        "min_teachers": info.spec.min_teachers,
        "max_teachers": info.spec.max_teachers,
        "options": option_rows,
    })
}

/// One method with its options.
fn method(info: &MethodInfo) -> std::io::Result<()> {
    let mut out = crate::terminal::stdout();
    let spec = &info.spec;
    writeln!(out, "{}: {}", spec.name, spec.help)?;
    writeln!(out, "paper: {} ({})", info.paper, info.status.name())?;
    writeln!(out, "teachers: {}", teachers(spec.min_teachers, spec.max_teachers))?;
    writeln!(out, "needs: {}", info.needs_in_words())?;
    if let Some(cost) = info.cost() {
        writeln!(out, "cost: {cost:.2} times a step of plain training")?;
    }
    if spec.is_term() {
        writeln!(out, "its term may stand in `[[method.terms]]` beside another method")?;
    }
    if spec.options.is_empty() {
        return Ok(());
    }
    let row = |own: &OptionSpec| {
        let default = serde_json::to_string(&own.default).expect("plain data always serialises");
        let default = default.trim_matches('"').to_owned();
        vec![
            own.key.to_owned(),
            default,
            own.range.to_string(),
            own.source.to_owned(),
            own.help_with_exceptions(),
        ]
    };
    let rows: Vec<Vec<String>> = spec.options.iter().map(row).collect();
    let header = [
        ("option", LEFT),
        ("default", Align::Right),
        ("values", LEFT),
        ("default from", LEFT),
        ("meaning", LEFT),
    ];
    table::write(&mut out, &header, &rows)
}

fn teachers(min: usize, max: Option<usize>) -> String {
    match max {
        Some(0) => "none".to_owned(),
        Some(max) if max == min => max.to_string(),
        Some(max) => format!("{min}-{max}"),
        None => format!("{min} or more"),
    }
}

pub(crate) fn networks(options: &NetworksOptions) -> Result<(), Failure> {
    if let Some(name) = &options.show {
        let Some(text) = described(name)? else {
            let what =
                format!("`{name}` was registered by a program, which alone knows how it is built");
            return Err(Failure::Usage {
                what,
                hint: "`faculty networks` lists the built-in ones".to_owned(),
            });
        };
        crate::terminal::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    let image = MapShape::new(3, 32, 32);
    let mut rows = Vec::new();
    for info in all_networks() {
        rows.push((info, info.graph(image, 100)?));
    }
    if options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(info, graph)| {
                let features: Vec<String> =
                    graph.features().iter().map(|&id| graph.shape(id).to_string()).collect();
                json!({
                    "name": info.name,
                    "summary": info.summary,
                    "parameters": graph.parameter_count(),
                    "features": features,
                })
            })
            .collect();
        let encoders: Vec<&str> = EncoderFamily::names().collect();
        print_json(&json!({
            "input": "3×32×32", "classes": 100, "networks": rows, "encoders": encoders,
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(info, graph)| {
            let map = graph.map().map_or_else(String::new, |id| graph.shape(id).to_string());
            let parameters = graph.parameter_count().to_string();
            vec![info.name.to_owned(), parameters, map, info.summary.to_owned()]
        })
        .collect();
    let header = [
        ("network", LEFT),
        ("parameters", Align::Right),
        ("last map", LEFT),
        ("what it is (figures for 3×32×32 images, 100 classes)", LEFT),
    ];
    let mut out = crate::terminal::stdout();
    table::write(&mut out, &header, &rows)?;
    let encoders: Vec<&str> = EncoderFamily::names().collect();
    writeln!(out, "\nof texts, with the sizes of a recipe or a folder: {}", encoders.join(", "))?;
    Ok(())
}

pub(crate) fn datasets(options: &DatasetsOptions) -> Result<(), Failure> {
    if let Some(path) = &options.path {
        let dataset = Dataset::open(path, &options.reading.read_options()?)?;
        if options.ids {
            return Ok(list_ids(&dataset)?);
        }
        return Ok(inspect(&dataset, options.json)?);
    }
    if options.reading != DataOptions::default() {
        return Err(Failure::Usage {
            what: "these options say how a data set is read, and none is given".to_owned(),
            hint: "give the path of one: `faculty datasets PATH`".to_owned(),
        });
    }
    if options.json {
        print_json(&json!({"formats": formats()}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = formats()
        .iter()
        .map(|f| vec![f.name.to_owned(), f.summary.to_owned(), f.recognises.to_owned()])
        .collect();
    let header = ["format", "what it is", "recognised by"].map(|title| (title, LEFT));
    table::write(&mut crate::terminal::stdout(), &header, &rows)?;
    Ok(())
}

/// Ids of all samples in the order of the files, for tables of logits made elsewhere.
fn list_ids(dataset: &Dataset) -> std::io::Result<()> {
    let mut out = crate::terminal::stdout();
    writeln!(out, "part,index,id,label")?;
    let splits = [
        ("train", Some(dataset.train())),
        ("validation", dataset.validation()),
        ("test", dataset.test()),
    ];
    for (part, set) in splits {
        let samples = set.into_iter().flat_map(|set| set.ids().iter().zip(set.labels()));
        for (index, (id, label)) in samples.enumerate() {
            writeln!(out, "{part},{index},{id},{label}")?;
        }
    }
    out.flush()
}

fn inspect(dataset: &Dataset, json: bool) -> std::io::Result<()> {
    let info = dataset.info();
    if json {
        print_json(&json!({"dataset": info, "fingerprint": dataset.fingerprint()}));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    let (what, samples) = match &info.samples {
        SamplesInfo::Images { channels, height, width } => {
            (format!("images {channels}×{height}×{width}"), "images")
        }
        SamplesInfo::Texts { pairs: true, .. } => ("pairs of texts".to_owned(), "pairs"),
        _ => ("texts".to_owned(), "texts"),
    };
    writeln!(out, "{} ({}): {what}", info.name, info.format)?;
    let splits = [
        ("training", Some(&info.train)),
        ("validation", info.validation.as_ref()),
        ("test", info.test.as_ref()),
    ];
    for (name, part) in splits {
        match part {
            Some(part) if part.class_min == part.class_max => {
                writeln!(out, "{name}: {} {samples}, {} a class", part.samples, part.class_min)?;
            }
            Some(part) => writeln!(
                out,
                "{name}: {} {samples}, {} to {} a class",
                part.samples, part.class_min, part.class_max
            )?,
            None => writeln!(out, "{name}: none")?,
        }
    }
    writeln!(out, "{} classes: {}", info.classes.len(), info.classes.join(", "))?;
    if let SamplesInfo::Texts { words, unlabelled, .. } = &info.samples {
        let WordCounts { median, nine_of_ten, most } = words;
        writeln!(
            out,
            "words of a training text: {median} (median), {nine_of_ten} (nine of ten have no more), \
             {most} (longest)"
        )?;
        if *unlabelled > 0 {
            writeln!(out, "without a label: {unlabelled} training texts")?;
        }
    }
    if let Some(texts) = dataset.train().texts() {
        examples(&mut out, texts, &info.classes)?;
    }
    for note in &info.findings.notes {
        writeln!(out, "note: {note}")?;
    }
    for skipped in &info.findings.skipped {
        writeln!(out, "skipped: {}", skipped.reason)?;
    }
    writeln!(out, "fingerprint: {}", dataset.fingerprint())
}

/// The first text of each class, for a look whether texts and labels fit.
fn examples(
    out: &mut impl std::io::Write,
    texts: &TextSet,
    classes: &[String],
) -> std::io::Result<()> {
    const MOST: usize = 4;
    const LETTERS: usize = 70;
    for (label, class) in (0_u32..).zip(classes).take(MOST) {
        let Some(at) = texts.labels().iter().position(|&own| own == label) else { continue };
        let text = &texts.texts()[at];
        let parts = [Some(&text.first), text.second.as_ref()];
        let whole: Vec<&str> = parts.into_iter().flatten().map(|part| &**part).collect();
        let whole = whole.join(" | ");
        // One line, whatever the text has.
        let line = whole.split_whitespace().collect::<Vec<_>>().join(" ");
        let start: String = line.chars().take(LETTERS).collect();
        let more = if start.len() < line.len() { "…" } else { "" };
        writeln!(out, "example of `{class}`: {start}{more}")?;
    }
    Ok(())
}
