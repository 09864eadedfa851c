//! `faculty bench-model`: size and speed of a student and its teachers.

use std::io::Write as _;

use faculty_distill::bench_model::bench_models;
use faculty_records::bench::{BENCH_FILE, MeasuredModel, ModelBench};

use super::{shown, use_threads};
use crate::arguments::BenchModelOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align};

pub(crate) fn run(options: &BenchModelOptions) -> Result<(), Failure> {
    use_threads(options.threads)?;
    let bench = bench_models(&options.run, options.precision)?;
    if options.run.is_dir() && options.precision.is_none() {
        eprintln!("wrote {}", shown(&options.run.join(BENCH_FILE)));
    }
    bench.left_out.iter().for_each(|what| eprintln!("left out: {what}"));
    if options.json {
        print_json(&bench);
        return Ok(());
    }
    let ModelBench { processor, threads, kernels, input_shape: [c, h, w], .. } = &bench;
    eprintln!("{processor}, {threads} threads, {kernels}, images {c}×{h}×{w}");
    let header = [
        ("model", Align::Left),
        ("network", Align::Left),
        ("precision", Align::Left),
        ("parameters", Align::Right),
        ("MACs", Align::Right),
        ("latency ms", Align::Right),
        ("p95 ms", Align::Right),
        ("images/s", Align::Right),
    ];
    let rows: Vec<Vec<String>> = bench.models.iter().map(row).collect();
    let mut out = crate::terminal::stdout();
    table::write(&mut out, &header, &rows)?;
    Ok(out.flush()?)
}

fn row(model: &MeasuredModel) -> Vec<String> {
    vec![
        model.name.clone(),
        model.network.clone(),
        model.precision.clone(),
        short(model.parameters),
        short(model.multiply_adds),
        format!("{:.3}", model.latency_median_ms),
        format!("{:.3}", model.latency_p95_ms),
        format!("{:.0}", model.images_per_second),
    ]
}

/// Three digits and a unit.
fn short(count: Option<usize>) -> String {
    let Some(count) = count else { return "?".to_owned() };
    let units = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    let fitting = units.iter().find(|(size, _)| count as f64 >= *size);
    fitting.map_or_else(
        || count.to_string(),
        |(size, unit)| format!("{:.2}{unit}", count as f64 / size),
    )
}
