//! No input makes the reader panic.

use super::{FULL, METHODS, load};
use crate::{Recipe, RecipeError};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'p>(&mut self, pieces: &[&'p str]) -> &'p str {
        pieces[self.below(pieces.len())]
    }
}

const PIECES: &[&str] = &[
    "nan",
    "inf",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    "\n",
    "\u{feff}",
    "é",
    "\0",
    "[[teachers]]",
    "[data]",
    "teachers",
    "method",
    "name",
    "0",
    "#",
    "true",
    "2026-01-01",
    "epochs",
    "\"\"\"",
    "\\u0000",
    "[[",
    "0x",
    ",",
];

fn mutate(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let piece = random.pick(PIECES).bytes();
                bytes.splice(at..at, piece);
            }
            3 => {
                let end = (at + random.below(12)).min(bytes.len());
                bytes.splice(at..end, random.pick(PIECES).bytes());
            }
            _ => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut lines: Vec<&str> = text.lines().collect();
                let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(one, other);
                }
                bytes = lines.join("\n").into_bytes();
            }
        }
        if bytes.is_empty() {
            bytes.push(b'a');
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whatever the input, a result that can be shown, and a recipe that can be stored.
fn assert_sound(result: Result<super::LoadedRecipe, RecipeError>, input: &str) -> bool {
    match result {
        Ok(loaded) => {
            let text = loaded.recipe.to_toml().unwrap();
            let again = Recipe::from_str(&text, "y.toml", &[], METHODS);
            assert_eq!(again.unwrap().recipe, loaded.recipe, "{input}");
            loaded.recipe.check(METHODS).unwrap();
            true
        }
        Err(error) => {
            assert!(!error.problems.is_empty(), "{input}");
            for problem in &error.problems {
                assert_eq!(problem.to_string().lines().count(), 3, "{problem}\n{input}");
                assert!(!problem.hint.is_empty() && !problem.what.is_empty(), "{problem}");
            }
            false
        }
    }
}

#[test]
fn no_recipe_makes_it_panic() {
    let mut random = Random(1);
    let good = (0..3000)
        .filter(|_| {
            let text = mutate(&mut random, FULL);
            assert_sound(load(&text, &[]), &text)
        })
        .count();
    // Both outcomes are exercised.
    assert!((50..2900).contains(&good), "{good}");
}

#[test]
fn no_set_makes_it_panic() {
    const SETS: &[&str] = &[
        "train.epochs=10",
        "teachers.0.weights=a.pth",
        "teachers.wrn40.2.name=b",
        "teachers[1].mean=[0.1, 0.2, 0.3]",
        "method={name = \"kd\", alpha = 0.5}",
        "data.path=\"x\"",
        "teachers.0.classes={a = \"b\", c = [\"d\", \"-\"]}",
        "teachers.1.classes.a=b",
        "name=2026",
    ];
    let mut random = Random(2);
    let good = (0..3000)
        .filter(|_| {
            let first = random.pick(SETS);
            let sets = [mutate(&mut random, first), random.pick(SETS).to_owned()];
            let sets = [sets[0].as_str(), sets[1].as_str()];
            assert_sound(load(FULL, &sets), &sets.join(" | "))
        })
        .count();
    assert!((50..2900).contains(&good), "{good}");
}

#[test]
fn hostile_sizes_are_refused_in_bounded_time() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{b=".repeat(100_000)),
        format!("a{} = 1", ".b".repeat(100_000)),
        "[a]\n".repeat(20_000),
        "a = = 1\n".repeat(20_000),
        (0..2_000).map(|number| format!("k{number} = 1\n")).collect(),
        (0..2_000).map(|_| "[[teachers]]\nname = \"a\"\n").collect(),
    ] {
        assert!(!assert_sound(load(&text, &[]), &text[..20]));
    }
    let long = format!("a{}=1", ".b".repeat(100_000));
    let deep = format!("a={}", "[".repeat(100_000));
    for set in [&long, &deep] {
        assert!(!assert_sound(load(FULL, &[set]), &set[..20]));
    }
}
