//! `faculty evaluate` of a language model: how well it predicts a text.

use std::path::Path;
use std::time::{Duration, Instant};

use faculty_language::{LanguageModel, WindowConfig, measure};
use serde_json::json;

use super::generate::read;
use crate::arguments::{DataOptions, EvaluateOptions, SplitName};
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align};

/// Between two lines of progress.
const BETWEEN: Duration = Duration::from_secs(30);

/// Measures the model on a file of text.
pub(super) fn run(options: &EvaluateOptions, model: &Path, data: &Path) -> Result<(), Failure> {
    refuse_others(options)?;
    let text = read(data)?;
    let mut model = LanguageModel::open(model)?;
    let config = WindowConfig::default();
    let mut told = Instant::now();
    let own = measure(&mut model, &text, config, |done, all| {
        if told.elapsed() >= BETWEEN && done < all {
            eprintln!("{done} of {all} tokens measured");
            told = Instant::now();
        }
    })?;
    let (perplexity, bits) = (own.perplexity(), own.bits_per_character());
    let mean = own.nats / own.tokens as f64;
    if options.json {
        print_json(&json!({
            "tokens": own.tokens, "characters": own.characters, "nats": own.nats,
            "perplexity": perplexity, "bits_per_character": bits,
            "window": config.window, "overlap": config.overlap,
        }));
    } else {
        let header = ["tokens", "characters", "nats a token", "perplexity", "bits a character"];
        let row = vec![
            own.tokens.to_string(),
            own.characters.to_string(),
            format!("{mean:.4}"),
            format!("{perplexity:.2}"),
            format!("{bits:.4}"),
        ];
        table::write(
            &mut crate::terminal::stdout(),
            &header.map(|own| (own, Align::Right)),
            &[row],
        )?;
    }
    if own.nats.is_finite() {
        return Ok(());
    }
    Err(Failure::Answer {
        what: "the outputs of the model are not all numbers".to_owned(),
        hint: "its weights are damaged, or of another model than its settings".to_owned(),
    })
}

/// What is meant for images and labels has no effect here.
fn refuse_others(options: &EvaluateOptions) -> Result<(), Failure> {
    let given = [
        ("--network", options.network.is_some()),
        ("--weights-key", options.weights_key.is_some()),
        ("--mean", options.mean.is_some()),
        ("--split", options.split != SplitName::Test),
        ("an option of reading", options.reading != DataOptions::default()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::Usage {
            what: format!("`{flag}` has no effect on a language model"),
            hint: "leave it out: `--data` is a file of text, measured as a whole".to_owned(),
        }),
    }
}
