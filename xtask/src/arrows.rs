//! `cargo xtask arrows`: which crate imports which, and inside each crate which file imports which,
//! read from the sources, so that no import circle comes back unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

mod graph;
mod source;

use graph::Graph;
use source::Crate;

/// Largest share of all lines that one crate may hold, percent.
const MOST_LINES: f64 = 20.0;
/// Most floors of files inside one crate.
const MOST_FLOORS: usize = 8;

/// What was found: a table for people, and what is not yet as it should be.
pub(crate) struct Arrows {
    pub(crate) table: String,
    pub(crate) problems: Vec<String>,
    circles: usize,
}

impl Arrows {
    /// Fails when files or modules import each other in a circle.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.circles == 0 {
            return Ok(());
        }
        Err(format!("{} import circles\n{}", self.circles, self.problems.join("\n")))
    }
}

/// Reads every crate below `crates/`.
pub(crate) fn find(root: &Path) -> Result<Arrows, String> {
    let crates = read_crates(&root.join("crates"))?;
    let names: Vec<String> = crates.iter().map(|own| own.package.clone()).collect();
    let mut between = Graph::new(crates.len());
    for (from, krate) in crates.iter().enumerate() {
        for to in krate.dependencies.iter().filter_map(|name| names.iter().position(|n| n == name))
        {
            between.add(from, to);
        }
    }
    let floors = between.floors();
    let total: usize = crates.iter().map(Crate::lines).sum();
    let mut order: Vec<usize> = (0..crates.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(floors[index]), &names[index]));

    let mut table = format!(
        "{:<18} {:>5} {:>7} {:>7} {:>6} {:>7}  imports\n",
        "crate", "floor", "lines", "share", "files", "floors"
    );
    let (mut problems, mut count) = (Vec::new(), 0);
    for index in order {
        let krate = &crates[index];
        let share = 100.0 * krate.lines() as f64 / total.max(1) as f64;
        let files = krate.imports();
        let depth = files.floors().into_iter().max().unwrap_or(0);
        let to: Vec<&str> = between.of(index).map(|to| names[to].as_str()).collect();
        let _ = writeln!(
            table,
            "{:<18} {:>5} {:>7} {:>5.1} % {:>6} {:>7}  {}",
            names[index],
            floors[index],
            krate.lines(),
            share,
            krate.files.len(),
            depth,
            to.join(" ")
        );
        if share > MOST_LINES {
            problems.push(format!("{} holds {share:.1} % of the lines", names[index]));
        }
        if depth > MOST_FLOORS {
            problems.push(format!("{} is {depth} floors of files deep", names[index]));
        }
        let found = circles(krate, &files);
        count += found.len();
        problems.extend(found);
    }
    Ok(Arrows { table, problems, circles: count })
}

/// The circles of files, and of the top modules that they belong to.
fn circles(krate: &Crate, files: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for circle in files.circles() {
        let mut text =
            format!("{}: {} files import each other in a circle:", krate.package, circle.len());
        for &from in &circle {
            for to in files.of(from).filter(|to| circle.contains(to)) {
                text += &krate.arrow(from, to);
            }
        }
        found.push(text);
    }
    let rooms: Vec<&str> = krate.files.iter().map(|file| file.room()).collect();
    let names: BTreeSet<&str> = rooms.iter().copied().filter(|room| !room.is_empty()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let number: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(i, &name)| (name, i)).collect();
    let mut between = Graph::new(names.len());
    for (from, room) in rooms.iter().enumerate() {
        for to in files.of(from) {
            if let (Some(&a), Some(&b)) = (number.get(room), number.get(rooms[to]))
                && a != b
            {
                between.add(a, b);
            }
        }
    }
    for circle in between.circles() {
        let list: Vec<&str> = circle.iter().map(|&room| names[room]).collect();
        let mut text = format!(
            "{}: modules import each other in a circle: {}",
            krate.package,
            list.join(", ")
        );
        for (from, room) in rooms.iter().enumerate() {
            for to in files.of(from) {
                if *room != rooms[to] && list.contains(room) && list.contains(&rooms[to]) {
                    text += &krate.arrow(from, to);
                }
            }
        }
        found.push(text);
    }
    found
}

fn read_crates(folder: &Path) -> Result<Vec<Crate>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.join("Cargo.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    folders.iter().map(|folder| Crate::read(folder)).collect()
}
