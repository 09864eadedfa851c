//! What a step of each method costs, measured.

/// Time of a step against one of plain training (`ce`), by method; what it was measured with stands
/// in `docs/methods.md`. `cargo bench --bench methods` prints these rows.
pub(super) const COSTS: &[(&str, f64)] = &[];
