//! A tokenizer as a `tokenizer.json`.

use serde_json::{Value, json};

use super::TextTokenizer;
use crate::error::{LanguageError, Result};

impl TextTokenizer {
    /// The tokenizer as a `tokenizer.json`, with the rule that puts the token of the beginning before
    /// every text where there is one.
    ///
    /// # Errors
    /// [`LanguageError::Encoding`] when it cannot be written.
    pub fn to_json(&self) -> Result<String> {
        let failed = |problem: String| LanguageError::Encoding { problem };
        let text = self.inner.to_string(false).map_err(|error| failed(error.to_string()))?;
        let Some(begin) = self.begin else { return Ok(text) };
        let mut json: Value =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let token = self.token(begin).unwrap_or_default();
        let special = json!({ "SpecialToken": { "id": token, "type_id": 0 } });
        let part = |id: &str, kind: usize| json!({ "Sequence": { "id": id, "type_id": kind } });
        json["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [special, part("A", 0)],
            "pair": [special, part("A", 0), part("B", 1)],
            "special_tokens": { token.clone(): { "id": token, "ids": [begin], "tokens": [token] } },
        });
        Ok(json.to_string())
    }
}
