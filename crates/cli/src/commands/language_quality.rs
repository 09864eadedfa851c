//! `faculty evaluate` of a language model: how well it predicts a text, and how near it comes to a
//! teacher.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use faculty_language::{
    Agreement, Judgement, JudgementConfig, LanguageModel, Sampling, WindowConfig, judge, measure,
};
use serde_json::{Value, json};

use super::generate::read;
use crate::arguments::{DataOptions, EvaluateOptions, JudgementOptions, SplitName};
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
    let mut last_report = Instant::now();
    let own = measure(&mut model, &text, config, |done, all| {
        if last_report.elapsed() >= BETWEEN && done < all {
            eprintln!("{done} of {all} tokens measured");
            last_report = Instant::now();
        }
    })?;
    let judged = judged(&options.judgement, &mut model, &text)?;
    let (perplexity, bits) = (own.perplexity(), own.bits_per_character());
    let mean = own.nats / own.tokens as f64;
    if options.json {
        let mut json = json!({
            "tokens": own.tokens, "characters": own.characters, "nats": own.nats,
            "perplexity": perplexity, "bits_per_character": bits,
            "window": config.window, "overlap": config.overlap,
        });
        if let Some(judged) = &judged {
            json["teacher"] = record(judged, &model)?;
        }
        print_json(&json);
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
        if let Some(judged) = &judged {
            show(judged)?;
        }
    }
    if own.nats.is_finite() {
        return Ok(());
    }
    Err(Failure::Answer {
        what: "the outputs of the model are not all numbers".to_owned(),
        hint: "its weights are damaged, or of another model than its settings".to_owned(),
    })
}

/// The model beside the teacher that was named.
fn judged(
    options: &JudgementOptions,
    model: &mut LanguageModel,
    text: &str,
) -> Result<Option<Judgement>, Failure> {
    let Some(path) = &options.teacher else { return Ok(None) };
    let config = JudgementConfig {
        prompts: options.prompts,
        prompt_tokens: options.prompt_tokens,
        max_tokens: options.max_tokens,
        sampling: Sampling { temperature: options.temperature, ..Sampling::default() },
        drafts: options.drafts,
        seed: options.seed,
        ..JudgementConfig::default()
    };
    let mut teacher = LanguageModel::open(path)?;
    Ok(Some(judge(model, &mut teacher, text, &config, |stage| eprintln!("{stage}"))?))
}

fn record(judged: &Judgement, model: &LanguageModel) -> Result<Value, Failure> {
    let agreement = |own: &Agreement| {
        json!({
            "tokens": own.tokens, "kl": own.kl, "reverse_kl": own.reverse_kl,
            "acceptance": own.acceptance, "top1": own.top1,
        })
    };
    let counts = &judged.speculation;
    let texts = judged.texts.iter().map(|(prompt, text)| {
        let [prompt, written] = [&prompt.ids, &text.ids].map(|ids| model.tokenizer.decode(ids));
        Ok(json!({ "prompt": prompt?, "text": written?, "end": text.end.name() }))
    });
    Ok(json!({
        "prompts": judged.prompts,
        "on_text": agreement(&judged.real),
        "on_own_text": agreement(&judged.own),
        "teacher_nats": judged.teacher_nats,
        "distinct_2": judged.distinct_2,
        "repetition": judged.repetition,
        "speculation": {
            "tokens_per_call": counts.tokens_per_call(), "acceptance": counts.acceptance(),
            "calls": counts.calls, "drafted": counts.drafted, "accepted": counts.accepted,
            "rejected": counts.rejected, "written": counts.written,
        },
        "texts": texts.collect::<Result<Vec<_>, Failure>>()?,
    }))
}

/// Two tables: both models behind the same prefixes, and what the student writes.
fn show(judged: &Judgement) -> std::io::Result<()> {
    let mut out = crate::terminal::stdout();
    let header = ["beside the teacher", "tokens", "KL", "reverse KL", "acceptance", "top-1"];
    let row = |name: &str, own: &Agreement| {
        vec![
            name.to_owned(),
            own.tokens.to_string(),
            format!("{:.4}", own.kl),
            format!("{:.4}", own.reverse_kl),
            format!("{:.4}", own.acceptance),
            format!("{:.1} %", 100.0 * own.top1),
        ]
    };
    let rows = [row("on the text", &judged.real), row("on its own text", &judged.own)];
    let aligned = |name| (name, if name == header[0] { Align::Left } else { Align::Right });
    writeln!(out)?;
    table::write(&mut out, &header.map(aligned), &rows)?;
    let share = |own: Option<f64>| own.map_or("-".to_owned(), |own| format!("{own:.4}"));
    let header = ["teacher's nats", "distinct-2", "repetition", "tokens a teacher call"];
    let row = vec![
        format!("{:.4}", judged.teacher_nats),
        share(judged.distinct_2),
        share(judged.repetition),
        format!("{:.2}", judged.speculation.tokens_per_call()),
    ];
    writeln!(out)?;
    table::write(&mut out, &header.map(|own| (own, Align::Right)), &[row])
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
