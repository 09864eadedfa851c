//! A whole file, node by node.

use super::elementwise;
use super::fold::fold;
use super::model::OnnxModel;
use super::operators::operator;
use super::symbol::{Symbol, Unread};
use super::translator::{Translated, Translator};
use crate::shape::MapShape;

/// Translates a file for images of `input`, with `classes` outputs if given, else those of the file.
///
/// # Errors
/// Everything that cannot be read, each with the name of its node.
pub(super) fn translate(
    model: &OnnxModel,
    input: MapShape,
    classes: Option<usize>,
) -> Result<Translated, Vec<String>> {
    let (mut translator, output) = Translator::new(model, input, classes)?;
    let problems = run(&mut translator, output);
    if !problems.is_empty() {
        return Err(problems);
    }
    translator.finish(output, classes).map_err(|problem| vec![problem])
}

/// Reads every node; gives what cannot be read.
fn run(t: &mut Translator<'_>, output: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let model = t.model;
    for (number, node) in model.nodes.iter().enumerate() {
        let is_last = node.outputs.iter().any(|name| name == output);
        if t.done[number] {
            // A sum that was read as the bias of the layer in front of it.
            if is_last {
                break;
            }
            continue;
        }
        t.at = number;
        if fold(t, node) {
            continue;
        }
        let read = match t.fusions.remove(&number) {
            Some(fusion) => elementwise::fusion(t, node, &fusion),
            None => match operator(&node.kind) {
                Some(read) => read(t, node),
                None => Err("no network of this program has this operator".into()),
            },
        };
        if let Err(Unread(text)) = read {
            let named = |text| format!("`{}` ({}): {text}", node.name, node.kind);
            problems.extend(text.map(named));
            for name in &node.outputs {
                t.symbols.entry(name.clone()).or_insert(Symbol::Missing);
            }
        }
        if is_last {
            break;
        }
    }
    problems
}
