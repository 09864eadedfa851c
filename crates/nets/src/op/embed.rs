//! Tokens as vectors: a row of the word table, with those of position and segment added.

use faculty_inputs::Tokens;
use faculty_kernels::embedding::{EmbeddingShape, embedding, embedding_backward};
use rayon::prelude::*;

use super::{BackwardStep, ForwardStep, FrozenOp, FrozenStep, Op, Site, Values};
use crate::parameter::ParameterId;

/// Tokens of one task.
const TOKENS: usize = 64;

/// The tables; each `[rows, width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embed {
    pub(crate) word: ParameterId,
    pub(crate) position: Option<PositionTable>,
    /// Read by the number of the text of a pair.
    pub(crate) segment: Option<ParameterId>,
}

/// A table of positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PositionTable {
    pub(crate) table: ParameterId,
    /// Row of a text's first token: 2 where padding has rows of its own (RoBERTa, MPNet).
    pub(crate) first: usize,
}

impl PositionTable {
    /// The rows of all tokens.
    fn rows(self, tokens: &Tokens) -> Vec<u32> {
        let of_text = |text| (0..tokens.range(text).len()).map(|at| (at + self.first) as u32);
        (0..tokens.len()).flat_map(of_text).collect()
    }
}

/// The segments of all tokens as rows of a table of `rows`: models without pairs have one row.
fn segments(tokens: &Tokens, rows: usize) -> Vec<u32> {
    let last = rows.saturating_sub(1) as u32;
    tokens.segments().iter().map(|&segment| u32::from(segment).min(last)).collect()
}

fn table(values: &[f32], width: usize) -> EmbeddingShape {
    EmbeddingShape { vocabulary: values.len() / width.max(1), width }
}

/// `output += table[rows]`
fn add_rows(values: &[f32], rows: &[u32], width: usize, output: &mut [f32]) {
    (output.par_chunks_mut(TOKENS * width).zip(rows.par_chunks(TOKENS))).for_each(|(out, rows)| {
        for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
            let from = &values[row as usize * width..][..width];
            out.iter_mut().zip(from).for_each(|(x, y)| *x += y);
        }
    });
}

impl Embed {
    fn compute(&self, site: &Site, tokens: &Tokens, parameters: &[Vec<f32>], output: &mut [f32]) {
        let width = site.output.elements();
        let word = &parameters[self.word.0];
        embedding(&table(word, width), word, tokens.ids(), output);
        if let Some(position) = self.position {
            add_rows(&parameters[position.table.0], &position.rows(tokens), width, output);
        }
        if let Some(segment) = self.segment {
            let values = &parameters[segment.0];
            let rows = segments(tokens, values.len() / width);
            add_rows(values, &rows, width, output);
        }
    }
}

impl Op for Embed {
    fn kind(&self) -> &'static str {
        "Embed"
    }

    fn parameters(&self) -> Vec<ParameterId> {
        let position = self.position.map(|position| position.table);
        std::iter::once(self.word).chain(position).chain(self.segment).collect()
    }

    fn skips_input_grad(&self) -> bool {
        true
    }

    fn forward(&self, site: &Site, step: ForwardStep<'_>) {
        self.compute(site, step.tokens, step.parameters, step.output);
    }

    fn backward(&self, site: &Site, step: BackwardStep<'_>) {
        let (tokens, width) = (step.tokens, site.output.elements());
        let mut add = |id: ParameterId, rows: &[u32]| {
            let gradient = &mut step.gradients[id.0];
            gradient.fill(0.0);
            embedding_backward(&table(gradient, width), rows, step.by_output, gradient);
        };
        add(self.word, tokens.ids());
        if let Some(position) = self.position {
            add(position.table, &position.rows(tokens));
        }
        if let Some(segment) = self.segment {
            let rows = step.parameters[segment.0].len() / width;
            add(segment, &segments(tokens, rows));
        }
    }

    fn freeze(&self, values: Values<'_>) -> Box<dyn FrozenOp> {
        let Self { position, segment, .. } = self;
        let mut tables = Vec::new();
        let mut keep = |id: ParameterId| {
            tables.push(values.parameters[id.0].clone());
            ParameterId(tables.len() - 1)
        };
        let embed = Self {
            word: keep(self.word),
            position: position.map(|old| PositionTable { table: keep(old.table), ..old }),
            segment: segment.map(keep),
        };
        Box::new(FrozenEmbed { embed, tables })
    }
}

/// The same with the tables that it names.
#[derive(Debug)]
struct FrozenEmbed {
    embed: Embed,
    tables: Vec<Vec<f32>>,
}

impl FrozenOp for FrozenEmbed {
    fn run(&self, site: &Site, step: FrozenStep<'_>) {
        self.embed.compute(site, step.tokens, &self.tables, step.output);
    }
}
