//! A description as it is written, layer by layer.

use std::fmt::Write as _;

/// A description that grows line by line.
#[derive(Default)]
pub(super) struct Text {
    network: String,
    blocks: String,
    pub(super) is_pytorch: bool,
}

impl Text {
    /// A layer, or a block, of the network.
    pub(super) fn layer(&mut self, keys: &str) {
        writeln!(self.network, "    {{ {keys} }},").expect("a text takes every line");
    }

    /// A stage: a block several times.
    pub(super) fn stage(&mut self, block: &str, name: &str, repeat: usize, more: &str) {
        self.layer(&format!("block = \"{block}\", name = \"{name}\", repeat = {repeat}, {more}"));
    }

    pub(super) fn block(&mut self, name: &str, layers: &[&str]) {
        writeln!(self.blocks, "{name} = [").expect("a text takes every line");
        for keys in layers {
            writeln!(self.blocks, "    {{ {keys} }},").expect("a text takes every line");
        }
        self.blocks += "]\n";
    }

    pub(super) fn done(self) -> String {
        let Self { network, blocks, is_pytorch } = self;
        let start = if is_pytorch { "pytorch" } else { "kaiming-fan-out" };
        format!("start = \"{start}\"\nnetwork = [\n{network}]\n\n[blocks]\n{blocks}")
    }
}
