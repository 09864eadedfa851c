//! `faculty explain`: every value of a recipe and where it is from.

use faculty_distill::recipe::LanguageRecipe;
use serde_json::json;

use super::{load_recipe, show_warnings};
use crate::arguments::ExplainOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align};

pub(crate) fn run(options: &ExplainOptions) -> Result<(), Failure> {
    let entries = match LanguageRecipe::is_at(&options.recipe, &options.sets) {
        true => {
            let loaded = LanguageRecipe::load(&options.recipe, &options.sets)?;
            show_warnings(&loaded.warnings);
            loaded.explain().to_vec()
        }
        false => load_recipe(&options.recipe, &options.sets)?.explain().to_vec(),
    };
    if options.json {
        print_json(&json!({"recipe": options.recipe, "values": entries}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = entries
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
