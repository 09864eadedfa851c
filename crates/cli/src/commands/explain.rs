//! `faculty explain`: every value of a recipe and where it is from.

use serde_json::json;

use super::load_recipe;
use crate::arguments::ExplainOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align};

pub(crate) fn run(options: &ExplainOptions) -> Result<(), Failure> {
    let loaded = load_recipe(&options.recipe, &options.sets)?;
    if options.json {
        print_json(&json!({"recipe": options.recipe, "values": loaded.explain()}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = loaded
        .explain()
        .iter()
        .map(|entry| {
            vec![
                entry.key.clone(),
                entry.value_text(),
                entry.origin.to_string(),
                entry.help.to_owned(),
            ]
        })
        .collect();
    let header = ["key", "value", "from", "meaning"].map(|title| (title, Align::Left));
    table::write(&mut crate::terminal::stdout(), &header, &rows)?;
    Ok(())
}
