//! `faculty compare` of recipes of language models, and reports of several of their runs.

use serde_json::Value;

use crate::language_runs::project;

#[test]
fn methods_are_compared_in_several_processes_as_in_one() {
    let project = project();
    let compare = |output: &str, more: &[&str]| {
        let own = ["compare", "lm.toml", "--methods", "all", "--seeds", "2", "--output", output];
        project.run(&[&own[..], more].concat()).expect(0)
    };
    let ran = compare("one", &[]);
    assert!(ran.stderr.contains("the recipe's first, `a`: kd"), "{}", ran.stderr);
    assert!(ran.stdout.contains("corrected for 6 comparisons"), "{}", ran.stdout);
    assert!(ran.stdout.contains("teacher a") && ran.stdout.contains("reference"), "{}", ran.stdout);
    compare("jobs", &["--jobs", "2"]);
    let read = |folder: &str| -> Value {
        let path = project.path(folder).join("language-comparison.json");
        let mut own: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for row in own["rows"].as_array_mut().unwrap() {
            row["seconds"] = 0.into();
            row["runs"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .for_each(|own| own["seconds"] = 0.into());
        }
        own
    };
    assert_eq!(read("one"), read("jobs"));
    let names: Vec<Value> =
        read("one")["rows"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    let all = ["ce", "kd", "aver", "ebkd", "ca-mkd", "max-probability", "best-teacher"];
    assert_eq!(names, all);
    for file in ["comparison.csv", "comparison.md", "report.html", "ca-mkd/seed2/student"] {
        assert!(project.path("one").join(file).exists(), "{file}");
    }
    let csv = std::fs::read_to_string(project.path("one/comparison.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 7 * 2, "{csv}");
    let page = std::fs::read_to_string(project.path("one/report.html")).unwrap();
    assert!(roxmltree::Document::parse(&page.replacen("<!DOCTYPE html>", "", 1)).is_ok());
    assert!(page.contains("band: from the lowest to the highest"), "no bands");

    let text = project.run(&["report", "one", "--text"]).expect(0).stdout;
    assert!(text.contains("student ca-mkd") && text.contains("teacher b"), "{text}");
    let two = ["report", "one/ce/seed1", "one/aver/seed1", "--markdown"];
    let text = project.run(&two).expect(0).stdout;
    assert!(text.contains("student ce/seed1") && text.contains("teacher a"), "{text}");
    let error = project.run(&["report", "one", "one/ce/seed1"]).expect(2).stderr;
    assert!(error.contains("is a comparison"), "{error}");
}

#[test]
fn settings_are_compared_by_what_they_change() {
    let project = project();
    let sweep = "method.alpha=0.25,0.5";
    let own = ["compare", "lm.toml", "--sweep", sweep, "--output", "settings", "--json"];
    let ran = project.run(&own).expect(0);
    let result: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let rows = result["comparison"]["rows"].as_array().unwrap();
    // That of the recipe is there already.
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["own", "method.alpha=0.25"]);
    assert_eq!(result["comparison"]["reference"], "own");
    for (wrong, word) in [
        (vec!["--sweep", "seed=1,2"], "cannot vary `seed`"),
        (vec!["--sweep"], "has no values"),
        (vec!["--sweep", "method.alpha=2"], "method.alpha"),
        (vec!["--methods", "dkd"], "no method of language models is named `dkd`"),
        (vec!["--methods", "aver", "--against", "kd"], "`kd` does not take part"),
        (vec!["--methods", "aver", "--seeds", "auto"], "needs a width"),
    ] {
        let ran = project.run(&[&["compare", "lm.toml"][..], &wrong].concat()).expect(2);
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}
