//! How large a graph may be before the runtime sees it.
//!
//! The runtime plans a graph by a function that calls itself once for each node of its longest path,
//! and some of its work grows with the square of the number of nodes. A stack that runs out cannot be
//! caught, nor can memory that does.

use std::collections::HashMap;

use rten_onnx::onnx::{GraphProto, NodeProto, TensorProto};

use super::graph::{Index, attribute, inner_graphs, integers, kind, operator, reads};
use faculty_nets::onnx_file::{DAMAGED, Outcome};

/// Nodes on a path from input to output. The largest networks for images have some thousands.
pub(super) const LONGEST_PATH: usize = 10_000;

/// Stack of a thread that plans such a path: 470 bytes a node were measured for an optimised build,
/// several times that without optimisation.
pub(super) const STACK_BYTES: usize = 64 << 20;

/// Nodes of a graph.
const MOST_NODES: usize = 40_000;

/// Nodes of a graph inside a node: those are planned on the runtime's own threads, of 2 MiB of stack.
const MOST_INNER_NODES: usize = 500;

/// Values of a constant, or of a tensor whose shape is written in the file: 1 GiB of float32.
const MOST_VALUES: i64 = 1 << 28;

/// Cells of padding on one side.
const MOST_PADDING: i64 = 1 << 12;

const SMALLER: &str = "no network for images is made like that; export it again";

/// Refuses a graph that the runtime could not plan or hold.
pub(super) fn check_limits(graph: &GraphProto) -> Outcome<()> {
    check_node_count(graph, MOST_NODES)?;
    check_longest_path(graph)?;
    let index = Index::new(graph);
    for tensor in &graph.initializer {
        check_constant(tensor)?;
    }
    graph.node.iter().try_for_each(|node| check_sizes(node, &index))
}

fn check_node_count(graph: &GraphProto, most: usize) -> Outcome<()> {
    if graph.node.len() > most {
        let text =
            format!("it has {} operators in one graph, {most} at most are run", graph.node.len());
        return Err((text, SMALLER));
    }
    for inner in graph.node.iter().flat_map(inner_graphs) {
        check_node_count(inner, MOST_INNER_NODES)?;
    }
    Ok(())
}

/// Steps through the graph in the order of its tensors, whatever the order of its nodes.
fn check_longest_path(graph: &GraphProto) -> Outcome<()> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (number, node) in graph.node.iter().enumerate() {
        makers.extend(node.output.iter().map(|output| (output.as_str(), number)));
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    let mut missing = vec![0_usize; graph.node.len()];
    for (number, node) in graph.node.iter().enumerate() {
        for maker in reads(node).iter().filter_map(|name| makers.get(name)) {
            readers[*maker].push(number);
            missing[number] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..graph.node.len()).filter(|&n| missing[n] == 0).collect();
    let mut length = vec![1_usize; graph.node.len()];
    let mut done = 0;
    while let Some(number) = ready.pop() {
        done += 1;
        if length[number] > LONGEST_PATH {
            let text = format!("more than {LONGEST_PATH} of its operators follow one another");
            return Err((text, SMALLER));
        }
        for &reader in &readers[number] {
            length[reader] = length[reader].max(length[number] + 1);
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(reader);
            }
        }
    }
    if done < graph.node.len() {
        return Err(("an operator waits for its own output".to_owned(), DAMAGED));
    }
    Ok(())
}

fn check_constant(tensor: &TensorProto) -> Outcome<()> {
    check_product(&tensor.dims, || {
        format!("constant `{}`", tensor.name.as_deref().unwrap_or_default())
    })
}

fn check_product(sizes: &[i64], what: impl Fn() -> String) -> Outcome<()> {
    let product = sizes
        .iter()
        .filter(|&&size| size > 0)
        .try_fold(1_i64, |all, &size| all.checked_mul(size))
        .filter(|&product| product <= MOST_VALUES);
    if product.is_none() {
        let text =
            format!("{} would be of {sizes:?} values, {MOST_VALUES} at most are held", what());
        return Err((text, SMALLER));
    }
    Ok(())
}

/// Sizes that stand in the file. What a graph computes of sizes is not seen.
fn check_sizes(node: &NodeProto, index: &Index<'_>) -> Outcome<()> {
    let what = || format!("the output of {}", operator(node));
    for tensor in node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()) {
        check_constant(tensor)?;
    }
    let pads = attribute(node, "pads").map_or(&[][..], |pads| &pads.ints);
    check_padding(pads, node)?;
    let shape = match kind(node) {
        Some("ConstantOfShape") => 0,
        Some("Expand" | "Tile" | "OneHot" | "Range" | "Pad") => 1,
        Some("Resize") => 3,
        _ => return Ok(()),
    };
    let Some(tensor) = node.input.get(shape).and_then(|name| index.constant(name)) else {
        return Ok(());
    };
    let Some(sizes) = integers(tensor) else { return Ok(()) };
    if kind(node) == Some("Pad") {
        check_padding(&sizes, node)
    } else {
        check_product(&sizes, what)
    }
}

fn check_padding(pads: &[i64], node: &NodeProto) -> Outcome<()> {
    match pads.iter().find(|&&pad| pad.saturating_abs() > MOST_PADDING) {
        Some(pad) => Err((format!("{} pads by {pad}", operator(node)), SMALLER)),
        None => Ok(()),
    }
}
