//! `faculty report` and what runs write for it.

use std::path::Path;

use crate::project::{Project, TEACHERS, recipe};

mod browser;
mod events;

/// Class names as strangers may give them.
const HOSTILE: [&str; 3] =
    ["<img src=x onerror=alert(1)>", "</script><script>alert('2')</script>", "a&b|c_\"%$\\"];

/// A finished run of ca-mkd in `run`, on classes of hostile names.
fn distilled() -> Project {
    let project = Project::new();
    project.write("bands/classes.txt", HOSTILE.join("\n"));
    project.train("a", &["train.epochs=4"]);
    // One that learns wrong labels, so that there is something to disagree on.
    let wrong = ["data.label_noise=1", "data.label_noise_kind=pair", "data.validation=0", "seed=4"];
    project.train("b", &[&wrong[..], &["train.epochs=4"]].concat());
    project.write("distill.toml", recipe("ca-mkd", TEACHERS));
    project.run(&["distill", "distill.toml", "--output", "run"]).expect(0);
    project
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The page as XML, which it is too.
fn parsed(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    roxmltree::Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("{e}"))
}

/// Ids of the charts that are drawn.
fn charts(page: &roxmltree::Document<'_>) -> Vec<String> {
    let figures = page.descendants().filter(|node| node.has_tag_name_local("figure"));
    let drawn = figures.filter(|own| own.descendants().any(|node| node.has_tag_name_local("svg")));
    drawn.filter_map(|own| own.attribute("id").map(str::to_owned)).collect()
}

/// Whatever name space a tag is in.
trait Local {
    fn has_tag_name_local(&self, name: &str) -> bool;
}

impl Local for roxmltree::Node<'_, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

#[test]
fn a_run_leaves_a_page_that_is_whole_and_safe() {
    let project = distilled();
    let page = read(&project.path("run/report.html"));
    let document = parsed(&page);
    for chart in [
        "accuracy",
        "same-part",
        "learning",
        "nll",
        "loss",
        "terms",
        "confusion",
        "classes",
        "calibration",
        "weights-kd",
        "weights-intermediate",
        "correctness-kd",
    ] {
        let id = format!("chart-{chart}");
        assert!(charts(&document).contains(&id), "no `{id}` in {:?}", charts(&document));
    }
    // Names of classes are text: there are no more scripts and pictures than ours.
    let count = |tag| document.descendants().filter(|node| node.has_tag_name_local(tag)).count();
    assert_eq!((count("script"), count("style")), (1, 1));
    let pictures = document.descendants().filter(|node| node.has_tag_name_local("img"));
    for picture in pictures {
        assert!(picture.attribute("src").unwrap().starts_with("data:image/png;base64,"));
        assert_eq!(picture.attribute("onerror"), None);
    }
    let text: String = document.descendants().filter_map(|node| node.text()).collect();
    assert!(HOSTILE.iter().all(|name| text.contains(name)), "{text}");
    // No address of another file or machine; links lead to places in the page.
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        for attribute in node.attributes().filter(|own| ["src", "href"].contains(&own.name())) {
            let value = attribute.value();
            assert!(value.starts_with("data:") || value.starts_with('#'), "{value}");
        }
    }
    assert!(page.contains("default-src 'none'") && !page.contains("http://localhost"));

    let data: serde_json::Value =
        serde_json::from_str(&read(&project.path("run/report.json"))).unwrap();
    let confusion = data["student"]["confusion"].as_array().unwrap();
    let all: u64 = confusion.iter().map(|cell| cell["samples"].as_u64().unwrap()).sum();
    assert_eq!((all, data["student"]["part"].as_str()), (60, Some("test")));
    let card: serde_json::Value =
        serde_json::from_str(&read(&project.path("run/card.json"))).unwrap();
    let right = data["student"]["correct"].as_f64().unwrap();
    let top1 = card["best"]["test"]["top1"].as_f64().unwrap();
    assert!((right / 60.0 * 100.0 - top1).abs() < 1e-9);
    let examples = data["teachers"]["examples"].as_array().unwrap();
    assert!(!examples.is_empty(), "the teachers disagree somewhere");
    for example in examples {
        for level in ["kd", "intermediate"] {
            let weights = example["weights"][level].as_array().unwrap();
            let sum: f64 = weights.iter().map(|own| own.as_f64().unwrap()).sum();
            assert!(weights.len() == 2 && (sum - 1.0).abs() < 1e-5, "{example}");
        }
    }
}

#[test]
fn every_format_is_text_and_goes_where_it_belongs() {
    let project = distilled();
    let ran = project.run(&["report", "run", "--markdown"]).expect(0);
    assert!(ran.stdout.contains("| student run | resnet8x0.5 | test |"), "{}", ran.stdout);
    assert!(ran.stdout.contains("a\\&b\\|c\\_"), "{}", ran.stdout);
    let latex = project.run(&["report", "run", "--latex"]).expect(0).stdout;
    assert!(latex.contains("\\toprule") && latex.contains("a\\&b|c\\_\"\\%\\$"), "{latex}");
    assert_eq!(latex.matches("\\begin{table}").count(), latex.matches("\\end{table}").count());
    let csv = project.run(&["report", "run", "--csv"]).expect(0).stdout;
    assert!(csv.lines().next().unwrap().starts_with("kind,name,network,part,samples"), "{csv}");
    // Two teachers, their ensemble, the student.
    assert_eq!(csv.lines().count(), 1 + 4, "{csv}");

    let text = project.run(&["report", "run", "--text"]).expect(0).stdout;
    assert!(text.contains("teacher weight at the output") && text.contains('█'), "{text}");
    // As wide as a terminal that nothing is known of.
    let narrow = std::process::Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(["report", "run", "--text"])
        .current_dir(project.path("."))
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    let text = String::from_utf8(narrow.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    let ran = project.run(&["report", "run", "--svg", "figures", "--csv"]).expect(0);
    assert_eq!(ran.stdout, csv);
    let names = std::fs::read_dir(project.path("figures")).unwrap();
    let names: Vec<_> = names.map(|own| own.unwrap().path()).collect();
    assert!(names.len() > 8, "{names:?}");
    for path in names {
        let text = read(&path);
        let document = roxmltree::Document::parse(&text).unwrap();
        assert_eq!(document.root_element().tag_name().name(), "svg");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{}", path.display());
    }
    // Several runs side by side, into a file.
    let both = ["report", "run", "a", "--output", "both.html", "--json"];
    let json = project.run(&both).expect(0).json();
    assert_eq!(json["files"][0], "both.html");
    let page = read(&project.path("both.html"));
    assert!(page.contains("points against"), "two students are compared");
    assert!(page.contains("Where the recipes of these runs differ"), "no keys side by side");
    parsed(&page);
    project.run(&["report", "run", "--text", "--csv"]).expect(2);
    // Asked to leave it, a run leaves it.
    let sets = ["train", "recipe.toml", "--output", "bare", "--no-report"];
    project.run(&sets).expect(0);
    let bare = |name: &str| project.path("bare").join(name).exists();
    assert!(!bare("report.html") && !bare("events.out.tfevents.faculty") && bare("report.json"));
}

#[test]
fn a_cache_changes_nothing_of_what_is_reported() {
    let project = distilled();
    let cached = format!("{TEACHERS}[cache]\npath = \"kept\"\n");
    project.write("cached.toml", recipe("ca-mkd", &cached));
    for (recipe, output) in [("cached.toml", "with"), ("distill.toml", "without")] {
        let set = ["distill", recipe, "--output", output, "--set", "data.views=2"];
        project.run(&set).expect(0);
    }
    let data = |folder: &str| read(&project.path(folder).join("report.json"));
    assert!(data("with") == data("without"));
}

#[test]
fn an_unfinished_or_damaged_run_gives_the_part_that_there_is() {
    let project = distilled();
    let remove = |name: &str| std::fs::remove_file(project.path("run").join(name)).unwrap();
    project.write("run/report.json", "{\"format\": 1");
    let ran = project.run(&["report", "run"]).expect(0);
    assert!(ran.stderr.contains("`report.json` cannot be understood"), "{}", ran.stderr);

    // As a run leaves it that is killed while it writes the third epoch.
    remove("report.json");
    remove("card.json");
    let metrics = read(&project.path("run/metrics.jsonl")) + "{\"epoch\":3,\"learn";
    project.write("run/metrics.jsonl", metrics);
    let ran = project.run(&["report", "run"]).expect(0);
    for part in ["line 3", "not finished (2 epochs so far)", "--resume"] {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let page = read(&project.path("run/report.html"));
    let document = parsed(&page);
    let drawn = charts(&document);
    assert!(drawn.contains(&"chart-learning".to_owned()), "{drawn:?}");
    assert!(!drawn.contains(&"chart-confusion".to_owned()), "{drawn:?}");
    assert!(page.contains("This report is not complete."));
    project.run(&["report", "run", "--text"]).expect(0);
    project.run(&["report", "run", "--markdown"]).expect(0);
    // Before the first epoch there is a recipe and nothing else.
    remove("metrics.jsonl");
    let ran = project.run(&["report", "run"]).expect(0);
    assert!(ran.stderr.contains("(0 epochs so far)"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_read_or_written_is_told_with_a_way_out() {
    let project = distilled();
    project.write("empty/note.txt", "");
    project.write("broken/comparison.json", "[]");
    project.write("file", "");
    for (arguments, parts) in [
        (&["report", "nowhere"][..], &["cannot read `nowhere`", "hint: "][..]),
        (&["report", "empty"], &["holds neither a run nor a comparison", "`faculty distill`"]),
        (&["report", "run", "empty"], &["`empty` holds neither"]),
        (&["report", "broken"], &["comparison.json` cannot be understood", "hint: "]),
        (&["report", "run", "broken"], &["is a comparison, which has a report of its own"]),
        (&["report", "run", "--output", "file/x.html"], &["cannot write", "`--output`"]),
        (&["report", "run", "--svg", "file"], &["cannot write `file`", "hint: "]),
        (&["report"], &["<RUN>"]),
    ] {
        let ran = project.run(arguments).expect(2);
        for part in parts {
            assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
        }
    }
    // The end of a run: its page is in the way of a folder, its numbers are not.
    std::fs::remove_file(project.path("run/report.html")).unwrap();
    std::fs::create_dir_all(project.path("run/report.html/x")).unwrap();
    let ran = project.run(&["distill", "distill.toml", "--output", "run", "--resume"]).expect(0);
    assert!(ran.stderr.contains("warning: no report: cannot write"), "{}", ran.stderr);
}

#[test]
fn a_comparison_says_its_verdict_first() {
    let project = distilled();
    let compare = ["compare", "distill.toml", "--methods", "aver,ca-mkd", "--seeds", "2"];
    project.run(&[&compare[..], &["--output", "compared"]].concat()).expect(0);
    let page = read(&project.path("compared/report.html"));
    let document = parsed(&page);
    let drawn = charts(&document);
    for chart in ["accuracy", "same-part", "difference", "learning", "weights-kd"] {
        assert!(drawn.contains(&format!("chart-{chart}")), "no `{chart}` in {drawn:?}");
    }
    let lead = document.descendants().find(|node| node.attribute("class") == Some("lead"));
    let lead = lead.unwrap().text().unwrap();
    assert!(lead.contains("better than aver") && lead.contains("on 2 seeds"), "{lead}");
    assert!(project.path("compared/aver/seed3/events.out.tfevents.faculty").exists());

    // Taken away in the middle: a report of what there is, without a verdict.
    std::fs::remove_file(project.path("compared/comparison.json")).unwrap();
    std::fs::remove_file(project.path("compared/aver/seed4/card.json")).unwrap();
    let ran = project.run(&["report", "compared"]).expect(0);
    assert!(ran.stderr.contains("not finished (5 of 6 runs that have begun)"), "{}", ran.stderr);
    parsed(&read(&project.path("compared/report.html")));
}
