//! The simulation tables of `docs/compare.md`: `cargo run --release -p faculty-records --example verdicts`.

use std::error::Error;
use std::io::Write;

use faculty_records::statistics::simulation::{
    Noise, Scatter, World, any_verdict, any_verdict_at_any_look, power, power_of_plain_t,
};

const CASES: usize = 20_000;
const METHODS: [usize; 7] = [1, 2, 3, 5, 10, 20, 34];
const SEEDS: [usize; 5] = [2, 3, 4, 6, 10];

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let worlds = [
        ("equal", Scatter::Equal, Noise::Normal),
        ("equal, heavy tails (t with 3 degrees)", Scatter::Equal, Noise::Heavy),
        ("equal, skewed (exponential)", Scatter::Equal, Noise::Skewed),
        ("half of the methods tenfold", Scatter::HalfTenfold, Noise::Normal),
        (
            "the reference and half of the methods tenfold",
            Scatter::HalfTenfoldWithReference,
            Noise::Normal,
        ),
        ("one method tenfold", Scatter::OneTenfold, Noise::Normal),
        ("the reference alone tenfold", Scatter::ReferenceTenfold, Noise::Normal),
        ("the reference alone tenfold, heavy tails", Scatter::ReferenceTenfold, Noise::Heavy),
        ("two camps with noise of their own", Scatter::Camps, Noise::Normal),
    ];
    writeln!(
        out,
        "| variances | methods | {} |",
        SEEDS.map(|own| format!("{own} seeds")).join(" | ")
    )?;
    writeln!(out, "| --- | ---: |{}", " ---: |".repeat(SEEDS.len()))?;
    for (name, scatter, noise) in worlds {
        for methods in METHODS {
            let world = World { scatter, noise, ..World::new(methods) };
            let cells = SEEDS.map(|seeds| format!("{:.1}", any_verdict(world, seeds, CASES)));
            writeln!(out, "| {name} | {methods} | {} |", cells.join(" | "))?;
        }
    }
    writeln!(out, "\n| methods | seeds | plain t, Holm | moderated t, Holm |")?;
    writeln!(out, "| ---: | ---: | ---: | ---: |")?;
    for seeds in [3, 5] {
        for methods in METHODS {
            let world = World { gap: 2.0, ..World::new(methods) };
            let (plain, own) = (power_of_plain_t(world, seeds, CASES), power(world, seeds, CASES));
            writeln!(out, "| {methods} | {seeds} | {plain:.1} | {own:.1} |")?;
        }
    }
    writeln!(out, "\n| variances | methods | any verdict at any look up to 20 seeds |")?;
    writeln!(out, "| --- | ---: | ---: |")?;
    for (name, scatter, noise) in [worlds[0], worlds[1], worlds[6]] {
        for methods in [1, 3, 10, 34] {
            let world = World { scatter, noise, ..World::new(methods) };
            writeln!(
                out,
                "| {name} | {methods} | {:.1} |",
                any_verdict_at_any_look(world, 20, CASES)
            )?;
        }
    }
    Ok(())
}
