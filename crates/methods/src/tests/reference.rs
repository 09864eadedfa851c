//! `docs/methods.md`: made from the methods' documentation and their rows, so that it cannot differ
//! from them. `FACULTY_WRITE_DOCS=1 cargo test --release docs_of_methods` writes it anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::METHODS;
use crate::MethodInfo;

const HEAD: &str = "\
# The methods
Made from the methods' rustdoc by a test; edit `crates/methods/src/method/NAME.rs` instead \
(`FACULTY_WRITE_DOCS=1 cargo test --release docs_of_methods` writes this file anew).

B samples, K teachers, C classes; τ temperature; z_S the student's logits, z_k teacher k's; F_S, F_k \
last feature maps; σ softmax; `CE_b(z) = -log σ(z_b)[y_b]`; KL is summed over classes and carries τ². \
A weighting rule's weights sum to 1 over the teachers, so that all methods have the same strength at \
the same α. Teachers are constants.

*Cost* is the time of a step against one of plain training (student resnet20, 3×32×32, batch 64, 100 \
classes, three teachers resnet20 or as many as the method takes, their outputs given; \
`cargo bench --bench methods`, AMD EPYC Zen 4, 2 cores, 2026-11-24; differences of 0.04 are noise). Terms of the methods marked with + can stand \
beside another method in `[[method.terms]]`, see [terms.md](terms.md).

";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The module documentation of a method.
fn documentation(name: &str) -> String {
    let source =
        std::fs::read_to_string(path(&format!("src/method/{}.rs", name.replace('-', "_"))))
            .expect("a method has a file of its name");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Headings become bold words, links to items plain code.
fn as_page(documentation: &str) -> String {
    let mut page = String::new();
    let mut code = false;
    for line in documentation.lines() {
        code ^= line.starts_with("```");
        match line.strip_prefix("# ").filter(|_| !code) {
            Some(heading) => {
                let _ = writeln!(page, "\n**{heading}:**");
            }
            None if code => {
                let _ = writeln!(page, "{line}");
            }
            None => {
                let plain = line.replace("[`", "`").replace("`]", "`");
                let _ = writeln!(page, "{plain}");
            }
        }
    }
    page
}

fn section(info: &MethodInfo) -> String {
    let spec = &info.spec;
    let mut page = format!("## {}\n", spec.name);
    let teachers = match (spec.min_teachers, spec.max_teachers) {
        (_, Some(0)) => "no teachers".to_owned(),
        (least, Some(most)) if least == most => format!("{least} teacher"),
        (least, Some(most)) => format!("{least} to {most} teachers"),
        (least, None) => format!("{least} or more teachers"),
    };
    let cost = info.cost().map_or_else(String::new, |cost| format!(" Cost {cost:.2}."));
    let term = if spec.is_term() { " +" } else { "" };
    let _ = writeln!(
        page,
        "*{}; {teachers}; needs {}.{cost}{term}*\n",
        info.status.name(),
        info.needs_in_words()
    );
    page += &as_page(&documentation(spec.name));
    if !spec.options.is_empty() {
        page += "\n| option | default | values | default from | meaning |\n|---|---|---|---|---|\n";
    }
    for option in spec.options {
        let default = serde_json::to_string(&option.default).expect("a plain value");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            option.key,
            default.trim_matches('"'),
            option.range,
            option.source,
            option.help_with_exceptions()
        );
    }
    page + "\n"
}

#[test]
fn docs_of_methods_are_those_of_the_code() {
    let mut text = HEAD.to_owned();
    text += "| method | what it does | paper | cost |\n|---|---|---|---:|\n";
    for info in METHODS {
        let name = info.spec.name;
        let cost = info.cost().map_or_else(String::new, |cost| format!("{cost:.2}"));
        let _ =
            writeln!(text, "| [{name}](#{name}) | {} | {} | {cost} |", info.spec.help, info.paper);
    }
    text.push('\n');
    text += &METHODS.iter().map(section).collect::<String>();
    let file = path("../../docs/methods.md");
    if std::env::var_os("FACULTY_WRITE_DOCS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let same = found == text;
    assert!(same, "docs/methods.md is old: run this test with FACULTY_WRITE_DOCS=1");
}
