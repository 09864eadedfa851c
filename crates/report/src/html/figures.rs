//! Charts with their words, side by side.

use crate::svg::{Chart, escape};

/// Charts side by side as far as there is room.
pub(crate) fn figures(charts: &[Chart]) -> String {
    if charts.is_empty() {
        return String::new();
    }
    let figure = |Chart { id, title, caption, svg, log }: &Chart| {
        let log = log.as_ref().map_or_else(String::new, |log| {
            let log = log.replacen("<svg ", "<svg hidden=\"\" ", 1);
            format!(
                "{log}<button class=\"log\" aria-pressed=\"false\" hidden=\"\">log scale</button>"
            )
        });
        format!(
            "<figure id=\"chart-{id}\"><figcaption><strong>{}</strong><span>{}</span></figcaption>{svg}\
             {log}</figure>\n",
            escape(title),
            escape(caption)
        )
    };
    // Rows without holes, where the screen is wide enough to choose.
    let class = if matches!(charts.len(), 1 | 2 | 4) { "figures even" } else { "figures" };
    format!("<div class=\"{class}\">{}</div>\n", charts.iter().map(figure).collect::<String>())
}
