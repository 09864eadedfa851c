//! What messages, help and docs name is there: commands, flags, keys of recipes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use faculty_distill::methods::{METHODS, specs};
use faculty_distill::recipe::{LanguageRecipe, Recipe};

use faculty_nets::DescribedNetwork;

use super::Arguments;

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README and guides.
fn documents() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let named = |path: PathBuf| {
        (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text_of(&path))
    };
    docs.chain([root().join("README.md")]).map(named).collect()
}

/// Our own programs' sources, without their tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tests") || path.ends_with("tests.rs") {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = text_of(&path);
                let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                found.push((path.display().to_string(), program.to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    for name in
        ["cli", "data", "distill", "files", "kernels", "nets", "recipe", "records", "report"]
    {
        walk(&root().join("crates").join(name).join("src"), &mut found);
    }
    found
}

/// The string literals of Rust source, as they are meant.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(inside) = rest.strip_prefix("r#\"") {
            let end = inside.find("\"#").expect("sources compile");
            found.push(inside[..end].to_owned());
            rest = &inside[end + 2..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = &rest[rest.find("\"'").expect("just seen") + 2..];
        } else if let Some(inside) = rest.strip_prefix('"') {
            let (text, after) = literal(inside);
            found.push(text);
            rest = after;
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// A literal from behind its first quote, and what follows it.
fn literal(source: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                // A line that goes on.
                Some('\n') => chars = chars.as_str().trim_start().chars(),
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    (text, chars.as_str())
}

/// What stands in backticks, within a line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Everything that can be named.
struct Known {
    program: clap::Command,
    keys: BTreeSet<String>,
    sections: BTreeSet<String>,
}

impl Known {
    fn new() -> Self {
        let keys = Recipe::keys().into_iter().chain(LanguageRecipe::keys()).collect();
        let mut known = Self { program: Arguments::command(), keys, sections: BTreeSet::new() };
        let options = METHODS.iter().flat_map(|method| method.spec.options);
        known.keys.extend(options.map(|option| format!("method.{}", option.key)));
        known.keys.extend(["name", "teacher_weights"].map(|key| format!("method.terms.{key}")));
        known.sections =
            known.keys.iter().filter_map(|key| Some(key.rsplit_once('.')?.0.to_owned())).collect();
        known
    }

    fn flags(command: &clap::Command) -> BTreeSet<&str> {
        command.get_arguments().filter_map(clap::Arg::get_long).chain(["help", "version"]).collect()
    }

    /// What in `quoted` is not there.
    fn missing(&self, quoted: &str) -> Option<String> {
        if quoted.contains("cargo ") {
            return None;
        }
        let flags = |command| -> Vec<String> {
            let known = Self::flags(command);
            let words = quoted.split([' ', '=', ',', '`']).filter_map(|w| w.strip_prefix("--"));
            words
                .filter(|w| !w.is_empty() && !known.contains(w) && !ELSEWHERE.contains(w))
                .map(str::to_owned)
                .collect()
        };
        if let Some(rest) = quoted.strip_prefix("faculty ") {
            let name = rest.split(' ').next().unwrap_or_default();
            // `faculty COMMAND` stands for every command.
            if name.starts_with(|c: char| !c.is_ascii_lowercase()) {
                return None;
            }
            let Some(command) = self.program.find_subcommand(name) else {
                return Some(format!("command `{name}`"));
            };
            return flags(command).first().map(|flag| format!("`--{flag}` of `{name}`"));
        }
        if quoted.starts_with("--") {
            let all = self.program.get_subcommands().map(flags);
            let none = all.min_by_key(Vec::len).unwrap_or_default();
            if let Some(flag) = none.first() {
                return Some(format!("`--{flag}`"));
            }
        }
        let quoted = quoted.strip_prefix("--set ").unwrap_or(quoted);
        if quoted.starts_with('[') {
            let section = quoted.trim_matches(['[', ']']);
            let word = section.chars().all(|c| c.is_ascii_lowercase() || c == '.');
            let there = self.sections.contains(section)
                || PLACEHOLDERS.contains(&section)
                || OF_DESCRIPTIONS.contains(&section);
            return (word && !there).then(|| format!("section `{section}`"));
        }
        let end = quoted.find([' ', '=']).unwrap_or(quoted.len());
        let (key, rest) = quoted.split_at(end);
        let value = rest.trim_start_matches(' ').strip_prefix('=');
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
        let known = PLACEHOLDERS.contains(&key) || OF_DESCRIPTIONS.contains(&key);
        if key.is_empty() || !key.chars().all(word) || known {
            return None;
        }
        let there = match key.split_once('.') {
            Some((first, _)) if self.sections.contains(first) => {
                let last = key.rsplit('.').next().unwrap_or_default();
                // Tables of a list go by their names: `teachers.ada.mean`, `method.terms.at.beta`.
                let in_a_list = ["teachers.", "method.terms."].iter().any(|l| key.starts_with(l))
                    && self.keys.contains(&format!("{first}.{last}"));
                in_a_list
                    || FILES.contains(&last)
                    || self.keys.contains(key)
                    || self.sections.contains(key)
            }
            None if value.is_some_and(|value| !value.is_empty()) => {
                self.keys.iter().any(|own| own.rsplit('.').next() == Some(key))
            }
            _ => true,
        };
        (!there).then(|| format!("key `{key}`"))
    }
}

/// Stand for any section or key.
const PLACEHOLDERS: [&str; 2] = ["section", "key"];

/// Endings that tell a file (`train.csv`) from a key.
const FILES: [&str; 7] = ["bin", "csv", "json", "jsonl", "parquet", "pkl", "safetensors"];

/// Flags of other programs: of `mpirun`, of a paper's code and of Cargo.
const ELSEWHERE: [&str; 6] =
    ["allow-run-as-root", "bind-to", "convs", "features", "map-by", "oversubscribe"];

/// Sections and keys of descriptions of networks.
const OF_DESCRIPTIONS: [&str; 17] = [
    "activation",
    "avg_pool",
    "batch_norm",
    "blocks",
    "classifier",
    "concat",
    "conv",
    "global_pool",
    "linear",
    "max_pool",
    "pooled",
    "product",
    "shuffle",
    "stochastic_depth",
    "sum",
    "tap",
    "value",
];

#[test]
fn messages_name_only_commands_flags_and_keys_that_exist() {
    let known = Known::new();
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        for literal in literals(&source) {
            for item in quoted(&literal).filter(|item| !item.contains('{')) {
                wrong.extend(known.missing(item).map(|what| format!("{path}: {what} in `{item}`")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The walk does see what is not there.
    for item in [
        "train.epoch",
        "test_split = 3",
        "faculty fly",
        "--sort",
        "faculty demo --set x=1",
        "[models]",
    ] {
        assert!(known.missing(item).is_some(), "{item}");
    }
}

#[test]
fn docs_name_only_commands_flags_and_keys_that_exist() {
    let known = Known::new();
    let mut wrong = Vec::new();
    for (name, text) in documents() {
        // In brackets there are shapes of arrays.
        for item in quoted(&text).filter(|item| !item.starts_with('[')) {
            wrong.extend(known.missing(item).map(|what| format!("{name}: {what} in `{item}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The words of a shell's line, without comment, pipe and redirection.
fn words(line: &str) -> Vec<String> {
    // What a job's number stands for.
    let line = line.replace("$SLURM_ARRAY_TASK_ID", "1");
    let mut words = vec![String::new()];
    let mut in_quotes = false;
    for c in line.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            ' ' if !in_quotes => words.push(String::new()),
            c => words.last_mut().expect("one at least").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words.into_iter().take_while(|word| !["#", "|", ">"].contains(&word.as_str())).collect()
}

/// A command to copy, if the line is one.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let rest = line.strip_prefix("faculty ").or(line.strip_prefix("cargo run --release -- "))?;
    // In help texts a remark stands behind two blanks.
    let rest = rest.split("   ").next().unwrap_or(rest);
    Some([vec!["faculty".to_owned()], words(rest)].concat())
}

#[test]
fn every_example_of_help_and_docs_is_understood() {
    let program = Arguments::command();
    let helps = program.get_subcommands().chain([&program]).filter_map(|command| {
        Some((command.get_name().to_owned(), command.get_after_help()?.to_string()))
    });
    let mut examples: Vec<(String, Vec<String>)> = Vec::new();
    for (name, text) in helps {
        examples.extend(text.lines().filter_map(command).map(|words| (name.clone(), words)));
    }
    let commands: BTreeSet<&str> = examples.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(commands.len(), 1 + program.get_subcommands().count(), "each shows an example");
    for (name, text) in documents() {
        // Every second one is a block.
        for block in text.split("```").skip(1).step_by(2) {
            examples.extend(block.lines().filter_map(command).map(|words| (name.clone(), words)));
        }
    }
    assert!(examples.len() > 80, "{} examples", examples.len());
    let wrong: Vec<String> = examples
        .iter()
        .filter_map(|(name, words)| Some((name, words, Arguments::try_parse_from(words).err()?)))
        .map(|(name, words, error)| format!("{name}: {}\n{error}", words.join(" ")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn recipes_in_docs_have_only_known_keys_and_values() {
    for (name, text) in documents() {
        for block in text.split("```toml").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            if block.contains("\nnetwork = [") {
                let own = DescribedNetwork::of_text(block, name.clone(), Path::new("x.toml"));
                assert!(own.is_ok(), "{name}: {own:?}\n{block}");
                continue;
            }
            let of_language = LanguageRecipe::is_text_of_one(block, &[])
                || block.trim_start().starts_with("[writing]");
            let read = match of_language {
                true => LanguageRecipe::from_str(block, "x.toml", &[]).map(|_| ()),
                false => Recipe::from_str(block, "x.toml", &[], &specs()).map(|_| ()),
            };
            let Err(error) = read else { continue };
            for problem in error.problems {
                assert!(!problem.what.contains("unknown"), "{name}: {problem}\n{block}");
            }
        }
    }
}
