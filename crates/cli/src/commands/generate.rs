//! `faculty generate`: a language model goes on with prompts.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use faculty_language::{
    Acceptance, Generated, GenerationConfig, LanguageModel, Prompt, Sampling, SpeculativeConfig,
    SpeculativeCounts, TextTokenizer, generate, speculate,
};
use serde_json::json;

use super::{shown, use_threads};
use crate::arguments::GenerateOptions;
use crate::failure::Failure;
use crate::progress::print_json;

pub(crate) fn run(options: &GenerateOptions) -> Result<(), Failure> {
    use_threads(options.threads)?;
    let sampling =
        Sampling { temperature: options.temperature, top_k: options.top_k, top_p: options.top_p };
    // Before the model, which takes seconds.
    sampling.check()?;
    let texts = prompts(options)?;
    let mut model = LanguageModel::open(&options.model)?;
    let mut prompts = Vec::new();
    for text in &texts {
        let ids = model.tokenizer.encode(text)?;
        prompts.extend((0..options.samples).map(|n| Prompt { ids: ids.clone(), sample: n.into() }));
    }
    let config = GenerationConfig {
        max_tokens: options.max_tokens,
        sampling,
        seed: options.seed,
        batch: options.batch,
    };
    let mut draft = options.draft.as_deref().map(LanguageModel::open).transpose()?;
    if let Some(draft) = &draft {
        draft.check_tokens_of(&model)?;
    }
    let LanguageModel { decoder, tokenizer, ends } = &mut model;
    // A text alone is shown as it comes.
    let mut live = Live::new(tokenizer, prompts.len() == 1 && !options.json);
    let started = Instant::now();
    let mut counts = None;
    let made = match &mut draft {
        None => generate(decoder, &prompts, ends, &config, |_, id| live.tell(id))?,
        Some(draft) => {
            let config = in_turns(&config, options.drafts);
            let tell = |_, id| live.tell(id);
            let made = speculate(&mut draft.decoder, decoder, &prompts, ends, &config, tell)?;
            let sum = counts.insert(SpeculativeCounts::default());
            made.iter().for_each(|own| sum.add(&own.counts));
            made.into_iter().map(|own| own.text).collect()
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    live.finish()?;
    let is_alone = live.is_on;
    for (number, (own, prompt)) in made.iter().zip(&prompts).enumerate() {
        let text = number / options.samples as usize;
        if options.json {
            print_json(&record(&texts[text], text, prompt, own, tokenizer)?);
        } else if !is_alone {
            let sample = prompt.sample + 1;
            let mut out = crate::terminal::stdout();
            writeln!(out, "--- prompt {}, text {sample} ({})", text + 1, own.end.name())?;
            writeln!(out, "{}", tokenizer.decode(&own.ids)?)?;
        }
    }
    let (read, written) = (
        prompts.iter().map(|prompt| prompt.ids.len()).sum::<usize>(),
        made.iter().map(|own| own.ids.len()).sum::<usize>(),
    );
    if !options.json {
        let speed = written as f64 / seconds;
        eprintln!("{read} tokens read, {written} written in {seconds:.1} s ({speed:.1} a second)");
        if let Some(counts) = counts {
            let (share, tokens) = (100.0 * counts.acceptance(), counts.tokens_per_call());
            eprintln!("{share:.1} % of the drafts looked at stayed; {tokens:.2} tokens a call");
        }
    }
    Ok(())
}

/// The same texts' distribution, by drafts.
fn in_turns(config: &GenerationConfig, drafts: usize) -> SpeculativeConfig {
    let GenerationConfig { max_tokens, sampling, seed, batch } = *config;
    SpeculativeConfig {
        max_tokens,
        drafts,
        acceptance: Acceptance::Lossless,
        student: sampling,
        teacher: sampling,
        seed,
        batch,
    }
}

fn record(
    text: &str,
    number: usize,
    prompt: &Prompt,
    own: &Generated,
    tokenizer: &TextTokenizer,
) -> Result<serde_json::Value, Failure> {
    Ok(json!({
        "prompt": text, "number": number + 1, "sample": prompt.sample + 1,
        "text": tokenizer.decode(&own.ids)?, "tokens": own.ids, "prompt_tokens": prompt.ids,
        "end": own.end.name(),
    }))
}

/// All prompts: those of the command line, then those of the file.
fn prompts(options: &GenerateOptions) -> Result<Vec<String>, Failure> {
    let mut all = options.prompt.clone();
    if let Some(path) = &options.prompts {
        let lines = read(path)?;
        let texts = lines.lines().filter(|line| !line.trim().is_empty());
        all.extend(texts.map(str::to_owned));
    }
    if all.is_empty() {
        return Err(Failure::Usage {
            what: "there is no prompt".to_owned(),
            hint: "put one text a line into the file of `--prompts`".to_owned(),
        });
    }
    Ok(all)
}

/// A file of text, or the standard input for `-`.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let content = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    content.map_err(|error| Failure::Usage {
        what: format!("cannot read `{}`: {error}", shown(path)),
        hint: "give a file of text in UTF-8, or `-` for the standard input".to_owned(),
    })
}

/// Shows a text while it is written.
struct Live<'a> {
    tokenizer: &'a TextTokenizer,
    is_on: bool,
    ids: Vec<u32>,
    /// Bytes of the text that are out.
    out: usize,
    result: Result<(), Failure>,
}

impl<'a> Live<'a> {
    fn new(tokenizer: &'a TextTokenizer, is_on: bool) -> Self {
        Self { tokenizer, is_on, ids: Vec::new(), out: 0, result: Ok(()) }
    }

    fn tell(&mut self, id: u32) {
        if self.is_on && self.result.is_ok() {
            self.ids.push(id);
            self.result = self.show(false);
        }
    }

    /// What is new; a character that may be cut in two waits for its rest.
    fn show(&mut self, is_whole: bool) -> Result<(), Failure> {
        let text = self.tokenizer.decode(&self.ids)?;
        let ready = if is_whole { text.len() } else { text.trim_end_matches('\u{fffd}').len() };
        if let Some(new) = text.get(self.out..ready).filter(|new| !new.is_empty()) {
            let mut out = crate::terminal::stdout();
            write!(out, "{new}")?;
            out.flush()?;
            self.out = ready;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        std::mem::replace(&mut self.result, Ok(()))?;
        if self.is_on {
            self.show(true)?;
            writeln!(crate::terminal::stdout())?;
        }
        Ok(())
    }
}
