//! `cargo xtask licences`: every crate that the program is made of has a licence that `deny.toml`
//! allows. Works offline, unlike `cargo deny check`, which also knows advisories.

use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

/// What is linked into the program or runs while it is built, on any system.
const TREE: &[&str] = &[
    "tree",
    "--locked",
    "--prefix",
    "none",
    "--edges",
    "normal,build",
    "--target",
    "all",
    "--package",
    "faculty",
    "--format",
    "{p}|{l}",
];

/// Checks them; gives how many there are.
pub(crate) fn check(root: &Path) -> Result<usize, String> {
    let path = root.join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let rules: Table = text.parse().map_err(|e| format!("{}: {e}", path.display()))?;
    let output = Command::new(env!("CARGO")).args(TREE).current_dir(root).output();
    let output = output.map_err(|e| format!("cannot start cargo: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut crates: Vec<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    let refused: Vec<String> =
        crates.iter().filter_map(|line| refused(line, &rules["licenses"])).collect();
    match refused.as_slice() {
        [] => Ok(crates.len()),
        _ => Err(format!("licences that deny.toml does not allow:\n  {}", refused.join("\n  "))),
    }
}

/// `NAME VERSION …|EXPRESSION`, if that is not allowed.
fn refused(line: &str, rules: &Value) -> Option<String> {
    let (package, expression) = line.split_once('|')?;
    let name = package.split(' ').next().unwrap_or_default();
    let texts = |list: Option<&Value>| -> Vec<String> {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|own| own.as_str().map(str::to_owned)).collect()
    };
    let mut allowed = texts(rules.get("allow"));
    let exceptions = rules.get("exceptions").and_then(Value::as_array);
    for own in exceptions.into_iter().flatten() {
        if own.get("crate").and_then(Value::as_str) == Some(name) {
            allowed.extend(texts(own.get("allow")));
        }
    }
    let expression = expression.replace('/', " OR ");
    (!is_allowed(&expression, &allowed)).then(|| format!("{package}: {expression}"))
}

/// SPDX as far as crates use it: `OR`, `AND`, one level of brackets.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let plain = |text: &str| {
        let text = text.trim().trim_start_matches('(').trim_end_matches(')');
        text.split(" OR ").any(|own| allowed.iter().any(|known| known == own.trim()))
    };
    // Outside brackets AND binds closer than OR.
    match expression.contains('(') {
        true => expression.split(" AND ").all(plain),
        false => expression.split(" OR ").any(|own| own.split(" AND ").all(plain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_need_one_and_conjunctions_all() {
        let allowed = ["MIT", "ISC"].map(str::to_owned);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0", false),
            ("", false),
            ("MIT AND GPL-3.0", false),
            ("MIT AND ISC", true),
            ("(GPL-3.0 OR MIT) AND ISC", true),
            ("(MIT OR ISC) AND GPL-3.0", false),
            ("GPL-3.0 AND MIT OR ISC", true),
        ] {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn an_exception_holds_for_its_crate_alone() {
        let text = "allow = ['MIT']\nexceptions = [{ crate = 'a', allow = ['MPL-2.0'] }]";
        let rules = Value::Table(text.parse().expect("valid"));
        assert_eq!(refused("a v1.0.0|MPL-2.0", &rules), None);
        assert!(refused("b v1.0.0|MPL-2.0", &rules).is_some());
        assert_eq!(refused("b v1.0.0|GPL-3.0/MIT", &rules), None);
    }
}
