//! `faculty init` of language models: running text, and decoders as teachers.

use std::fmt::Write as _;
use std::path::Path;

use faculty_distill::recipe::{LanguageData, LanguageMethodName, LanguageRecipe};
use faculty_files::write_atomically;
use faculty_language::{Corpus, Document, LanguageModel, RunError, check_same_tokens};
use faculty_nets::{DecoderConfig, decoder_config, is_decoder};
use serde_json::json;

use super::recipe_place::{folder_of, shell_word};
use super::recipe_text::{line, path, quoted};
use super::teachers::{name_of, unlike};
use crate::arguments::{DataOptions, InitOptions};
use crate::commands::{show_warnings, shown};
use crate::failure::Failure;
use crate::progress::print_json;

/// What a recipe calls such data.
const FORMAT: &str = "running-text";
/// Windows of a step.
const BATCH: usize = 8;
/// Tokens of a window, where all models read as many.
const WINDOW: usize = 128;
/// How often the text is read.
const PASSES: usize = 3;
/// Fewest and most steps that are proposed.
const STEPS: [usize; 2] = [200, 2000];
/// A student has one of so many layers of the first teacher.
const EVERY: usize = 5;
/// Bytes whose tokens are counted; the rest is taken to be like them.
const LOOKED_AT: usize = 1 << 20;

/// Whether the files are of language models: that of a teacher or of the student is a decoder.
pub(super) fn is_meant(options: &InitOptions) -> bool {
    let student = options.student.as_deref().map(Path::new);
    let mut files = options.weights.iter().map(|own| &**own).chain(student);
    // A network's name is no file.
    files.any(|own| own.exists() && is_decoder(own))
}

/// A model that was looked at.
struct Model<'a> {
    name: String,
    path: &'a Path,
    config: DecoderConfig,
}

impl Model<'_> {
    fn size(&self) -> String {
        format!("{} layers of {}", self.config.layers, self.config.width)
    }
}

pub(super) fn run(options: &InitOptions) -> Result<(), Failure> {
    refuse_others(options)?;
    let mut teachers: Vec<Model<'_>> = Vec::new();
    for weights in &options.weights {
        let name = unlike(&name_of(weights), teachers.iter().map(|own| own.name.as_str()));
        teachers.push(Model { name, path: weights, config: config(weights)? });
    }
    let student = options.student.as_deref().map(Path::new);
    let student = student.map(|own| config(own).map(|config| (own, config))).transpose()?;
    // A student that was given, or the first teacher: whose tokens it has.
    let source = match (&student, teachers.first()) {
        (Some((own, _)), _) => *own,
        (None, Some(first)) => first.path,
        (None, None) => return Err(nothing_to_read_with()),
    };
    let (tokenizer, _) = LanguageModel::tokenizer(source)?;
    for teacher in &teachers {
        check_same_tokens(&teacher.name, teacher.path, source)?;
    }
    let data = LanguageData { path: options.data.clone(), ..LanguageData::default() };
    let corpus = Corpus::open(&data)?;
    let tokens = tokens(&corpus.train, |text| Ok(tokenizer.encode(text)?.len()))?;
    let method = method(options, teachers.len())?;

    let mut longest: Vec<usize> = teachers.iter().map(|own| own.config.longest).collect();
    longest.extend(student.iter().map(|(_, own)| own.longest));
    let window = longest.into_iter().fold(WINDOW, usize::min);
    let plan = Plan { options, teachers: &teachers, student: &student, method, tokens, window };
    let text = plan.recipe()?;
    let output = &options.output;
    // What does not read back is a mistake here, or a method that does not fit the teachers.
    let loaded = LanguageRecipe::from_str(&text, output, &[])?;
    write_atomically(output, text.as_bytes()).map_err(|error| Failure::Usage {
        what: format!("cannot write `{}`: {error}", output.display()),
        hint: "check that the folder exists and can be written".to_owned(),
    })?;
    show_warnings(&loaded.warnings);
    plan.tell(&corpus);
    Ok(())
}

fn config(path: &Path) -> Result<DecoderConfig, Failure> {
    match is_decoder(path) {
        true => Ok(decoder_config(path)?),
        false => Err(Failure::Usage {
            what: format!("`{}` is no language model, and others here are", path.display()),
            hint: "give GGUF files, or folders with `config.json`, weights and `tokenizer.json`"
                .to_owned(),
        }),
    }
}

fn nothing_to_read_with() -> Failure {
    Failure::Usage {
        what: "no language model was given".to_owned(),
        hint: "give a GGUF file or a folder behind the text".to_owned(),
    }
}

/// What is for images and labelled texts only.
fn refuse_others(options: &InitOptions) -> Result<(), Failure> {
    let given = [
        ("--weights-key", options.weights_key.is_some()),
        ("--tokenizer", options.tokenizer.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        return Err(Failure::Usage {
            what: format!("`{flag}` has no effect here: the files are language models"),
            hint: "leave it out: they have their tokenizers".to_owned(),
        });
    }
    let mut reading = options.reading.clone();
    reading.format = reading.format.filter(|own| own != FORMAT);
    match reading == DataOptions::default() {
        true => Ok(()),
        false => Err(Failure::Usage {
            what: "running text is read in one way".to_owned(),
            hint: "leave out options such as `--text-column`, `--classes` and `--test`".to_owned(),
        }),
    }
}

/// About how many tokens the documents have.
fn tokens(
    documents: &[Document],
    count: impl Fn(&str) -> Result<usize, RunError>,
) -> Result<usize, Failure> {
    let (mut looked_at, mut tokens) = (0, 0);
    for document in documents {
        if looked_at >= LOOKED_AT {
            break;
        }
        let mut end = document.text.len().min(LOOKED_AT - looked_at);
        while !document.text.is_char_boundary(end) {
            end += 1;
        }
        tokens += count(&document.text[..end])?;
        looked_at += end;
    }
    let all: usize = documents.iter().map(|own| own.text.len()).sum();
    Ok((tokens as f64 * all as f64 / looked_at.max(1) as f64).round() as usize)
}

/// The method, and why this one.
fn method(
    options: &InitOptions,
    teachers: usize,
) -> Result<(LanguageMethodName, &'static str), Failure> {
    use LanguageMethodName::{CaMkd, Ce, Kd};

    if let Some(name) = &options.method {
        let known = LanguageMethodName::ALL.iter().find(|own| own.name() == name);
        let known = known.map(|own| (*own, "as given"));
        return known.ok_or_else(|| Failure::Usage {
            what: format!("no method of language models is named `{name}`"),
            hint: format!("give one of {}", LanguageMethodName::NAMES.join(", ")),
        });
    }
    Ok(match teachers {
        0 => (Ce, "the text alone, as there is no teacher"),
        1 => (Kd, "the usual one of a single teacher"),
        _ => (CaMkd, "weighs the teachers at each token by how well they predict it"),
    })
}

/// What was decided.
struct Plan<'a> {
    options: &'a InitOptions,
    teachers: &'a [Model<'a>],
    student: &'a Option<(&'a Path, DecoderConfig)>,
    method: (LanguageMethodName, &'static str),
    tokens: usize,
    window: usize,
}

impl Plan<'_> {
    /// Layers of the first teacher that the student starts from, where none was given.
    fn layers(&self) -> Option<(usize, &Model<'_>)> {
        let first = self.teachers.first().filter(|_| self.student.is_none())?;
        Some(((first.config.layers / EVERY).max(1), first))
    }

    fn steps(&self) -> usize {
        let [least, most] = STEPS;
        (PASSES * self.tokens / (BATCH * self.window).max(1)).clamp(least, most)
    }

    fn recipe(&self) -> Result<String, Failure> {
        let folder = folder_of(&self.options.output);
        let mut text = "# Written by `faculty init`; `faculty explain` shows all other keys with \
                        their defaults.\n"
            .to_owned();
        line(&mut text, "seed", 1, "one seed, one result");
        text.push_str("\n[data]\n");
        let words = format!("about {} tokens to train on", self.tokens);
        line(&mut text, "path", path(&self.options.data, folder)?, &words);
        let format = quoted(FORMAT);
        line(&mut text, "format", format, "makes this a recipe of language models");
        text.push_str("\n[student]\n");
        match (self.student, self.layers()) {
            (Some((own, config)), _) => {
                let why = format!("{} layers of {}, trained on", config.layers, config.width);
                line(&mut text, "weights", path(own, folder)?, &why);
            }
            (None, Some((layers, first))) => {
                let why = format!("starts from `{}`", first.name);
                line(&mut text, "weights", path(first.path, folder)?, &why);
                let why = format!("of its {}, at equal distances", first.config.layers);
                line(&mut text, "layers", layers, &why);
            }
            (None, None) => {}
        }
        for teacher in self.teachers {
            text.push_str("\n[[teachers]]\n");
            line(&mut text, "name", quoted(&teacher.name), "in reports");
            line(&mut text, "weights", path(teacher.path, folder)?, &teacher.size());
        }
        text.push_str("\n[method]\n");
        let (method, why) = self.method;
        line(&mut text, "name", quoted(method.name()), why);
        text.push_str("\n[train]\n");
        let steps = self.steps();
        let passes = steps as f64 * (BATCH * self.window) as f64 / self.tokens.max(1) as f64;
        let why = format!("reads the text {passes:.1} times");
        line(&mut text, "steps", steps, &why);
        line(&mut text, "window", self.window, "tokens that are read at once");
        line(&mut text, "batch_size", BATCH, "windows in one step");
        line(&mut text, "learning_rate", "5e-4", "the highest; trained layers need less than 1e-3");
        let _ =
            writeln!(text, "\n# Texts that models write: `[writing]` in docs/language-models.md.");
        Ok(text)
    }

    fn tell(&self, corpus: &Corpus) {
        let output = &self.options.output;
        let student = match (self.student, self.layers()) {
            (Some((own, config)), _) => {
                format!("{}, {} layers of {}", shown(own), config.layers, config.width)
            }
            (None, Some((layers, first))) => {
                format!("{layers} of the {} layers of {}", first.config.layers, first.name)
            }
            (None, None) => String::new(),
        };
        let (method, why) = self.method;
        if self.options.json {
            let teachers: Vec<_> = self
                .teachers
                .iter()
                .map(|own| {
                    let (layers, width) = (own.config.layers, own.config.width);
                    json!({"name": own.name, "source": "decoder", "file": own.path,
                           "layers": layers, "width": width})
                })
                .collect();
            let splits = [&corpus.train, &corpus.validation, &corpus.test].map(Vec::len);
            print_json(&json!({
                "recipe": output, "texts": splits, "tokens": self.tokens, "teachers": teachers,
                "student": student, "method": method.name(), "steps": self.steps(),
            }));
            return;
        }
        eprintln!("data: running text, about {} tokens to train on", self.tokens);
        for own in self.teachers {
            eprintln!("teacher: {}, {}", own.name, own.size());
        }
        eprintln!("student: {student}");
        eprintln!("method: {} ({why})", method.name());
        eprintln!("wrote {}; next:", output.display());
        let recipe = shown(output).to_string();
        let command = if self.teachers.is_empty() { "train" } else { "distill" };
        let recipe = shell_word(&recipe);
        eprintln!("  faculty explain {recipe}\n  faculty {command} {recipe}");
    }
}
