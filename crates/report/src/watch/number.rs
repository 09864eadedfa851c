//! Numbers for JSON.

/// JSON has no others.
pub(super) fn number(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
