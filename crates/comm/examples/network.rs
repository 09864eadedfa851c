//! What a network leaves of several nodes, by the model of `Network::time`: the table of
//! `results/scale.md`. `cargo run --release -p faculty-comm --example network`

#![expect(clippy::print_stdout, reason = "a table for people")]

use std::time::Duration;

use faculty_comm::Network;

/// A student: its name, parameters, and sums of batch norm in a step, two a layer.
const STUDENTS: [(&str, usize, usize); 3] = [
    ("resnet8x4", 1_233_540, 18),
    ("resnet32x4", 7_433_860, 66),
    ("MiniLM, 6 layers", 22_713_216, 0),
];

/// Bytes of the sums of one batch norm: two numbers of 8 bytes for each of 128 channels, and a count.
const NORM: usize = 2 * 128 * 8 + 8;

/// Beside the gradients: whether to stop, which gradients there are, what the batch showed.
const SMALL: [usize; 3] = [8, 64, 128];

fn main() {
    let networks = [
        (
            "1 Gbit/s, 100 µs",
            Network { latency: Duration::from_micros(100), bytes_per_second: 1.25e8 },
        ),
        (
            "10 Gbit/s, 30 µs",
            Network { latency: Duration::from_micros(30), bytes_per_second: 1.25e9 },
        ),
    ];
    let nodes = [2, 4, 8, 16, 32, 64];
    println!(
        "| student | network | step of one node | {} |",
        nodes.map(|n| n.to_string()).join(" | ")
    );
    println!("|---|---|---|{}", "---|".repeat(nodes.len()));
    for (name, parameters, norms) in STUDENTS {
        for (network_name, network) in networks {
            for step in [0.1, 1.0, 10.0] {
                let efficiency = nodes.map(|count| {
                    let small = SMALL.iter().map(|&bytes| network.time(bytes, count));
                    let norms = network.time(NORM, count).mul_f64(norms as f64);
                    let sums =
                        network.time(4 * parameters, count) + norms + small.sum::<Duration>();
                    let own = step / count as f64;
                    format!("{:.0} %", 100.0 * own / (own + sums.as_secs_f64()))
                });
                println!("| {name} | {network_name} | {step} s | {} |", efficiency.join(" | "));
            }
        }
    }
}
