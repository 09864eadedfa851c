//! `faculty tfidf`: a linear classifier on words.

use std::io::Write as _;

use faculty_distill::tfidf::{FeatureConfig, LinearConfig, TfidfConfig, write_table};
use faculty_records::quality::Quality;
use faculty_teachers::prepare_data;
use serde_json::json;

use super::{load_recipe, open_data, shown, use_threads};
use crate::arguments::TfidfOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align, percent};

pub(crate) fn run(options: &TfidfOptions) -> Result<(), Failure> {
    let recipe = load_recipe(&options.recipe, &options.sets)?.recipe;
    use_threads(recipe.train.threads)?;
    let dataset = open_data(&recipe)?;
    let data = prepare_data(&recipe, &dataset).map_err(faculty_distill::Error::from)?;
    let config = TfidfConfig {
        features: FeatureConfig { pairs: !options.words_only, ..FeatureConfig::default() },
        linear: LinearConfig { c: options.c, ..LinearConfig::default() },
        folds: options.folds as usize,
    };
    let result = write_table(&dataset, &data, &config, &options.output)?;
    let parts = [
        ("training (unseen)", result.train),
        ("validation", result.validation),
        ("test", result.test),
    ];
    if options.json {
        let of = |(part, quality): &(&str, Option<Quality>)| {
            quality.map(|own| json!({ "split": part, "top1": own.top1, "nll": own.nll }))
        };
        let parts: Vec<_> = parts.iter().filter_map(of).collect();
        print_json(&json!({
            "table": options.output, "features": result.features, "quality": parts,
        }));
        return Ok(());
    }
    let mut out = crate::terminal::stdout();
    writeln!(out, "{} words and pairs; logits in `{}`", result.features, shown(&options.output))?;
    let row = |(part, quality): (&str, Option<Quality>)| {
        quality.map(|own| vec![part.to_owned(), percent(own.top1), format!("{:.3}", own.nll)])
    };
    let rows: Vec<Vec<String>> = parts.into_iter().filter_map(row).collect();
    let header = [("split", Align::Left), ("top-1", Align::Right), ("NLL", Align::Right)];
    table::write(&mut out, &header, &rows)?;
    Ok(out.flush()?)
}
