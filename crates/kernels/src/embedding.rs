//! Rows of a table by number, and the gradient by the table.
//!
//! ```text
//! output[t] = table[ids[t]]      table_grad[v] += sum over t with ids[t] = v of output_grad[t]
//! ```
//!
//! # Shapes
//! table and its gradient `[vocabulary, width]`, ids `[tokens]`, output and its gradient
//! `[tokens, width]`.
//!
//! # Threads
//! The sum of a table row runs over its tokens in their order and is one task's, so results do not
//! depend on the number of threads.

use rayon::prelude::*;

use crate::parallel::{ELEMENTS_PER_TASK, SharedMut};
use crate::sizes;

/// The sizes of a table of embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingShape {
    /// Rows of the table.
    pub vocabulary: usize,
    /// Values of a row.
    pub width: usize,
}

impl EmbeddingShape {
    fn check(&self, ids: &[u32], table: (&str, usize), tokens: (&str, usize)) {
        let wants = [self.vocabulary, ids.len()].map(|rows| sizes::elements([rows, self.width]));
        for ((name, got), want) in [table, tokens].into_iter().zip(wants) {
            assert!(got == want, "`{name}` has {got} elements, {want} expected for {self:?}");
        }
        for (token, &id) in ids.iter().enumerate() {
            assert!(
                (id as usize) < self.vocabulary,
                "id {id} of token {token} is not below {} rows of the table",
                self.vocabulary
            );
        }
    }
}

/// The rows of the table; overwritten.
///
/// # Panics
/// If a length does not match, or an id is not below the vocabulary.
pub fn embedding(shape: &EmbeddingShape, table: &[f32], ids: &[u32], output: &mut [f32]) {
    shape.check(ids, ("table", table.len()), ("output", output.len()));
    let width = shape.width;
    if width == 0 {
        return;
    }
    let min_len = ELEMENTS_PER_TASK / width;
    (output.par_chunks_mut(width)).with_min_len(min_len).zip(ids).for_each(|(output, &id)| {
        output.copy_from_slice(&table[id as usize * width..][..width]);
    });
}

/// Adds the gradient by the table to `table_grad`; rows that no token has are not touched.
///
/// # Panics
/// If a length does not match, or an id is not below the vocabulary.
pub fn embedding_backward(
    shape: &EmbeddingShape,
    ids: &[u32],
    output_grad: &[f32],
    table_grad: &mut [f32],
) {
    shape.check(ids, ("table_grad", table_grad.len()), ("output_grad", output_grad.len()));
    let width = shape.width;
    // Tokens by id, those of one id in their order: the sort is stable.
    let mut tokens: Vec<usize> = (0..ids.len()).collect();
    tokens.sort_by_key(|&token| ids[token]);
    let groups: Vec<&[usize]> = tokens.chunk_by(|&a, &b| ids[a] == ids[b]).collect();
    let target = SharedMut::new(table_grad);
    let min_len = ELEMENTS_PER_TASK / width.max(1);
    groups.into_par_iter().with_min_len(min_len.div_ceil(4)).for_each(|group| {
        // SAFETY: no other group has this id, so none has this row.
        let row = unsafe { target.part(ids[group[0]] as usize * width, width) };
        for &token in group {
            for (sum, grad) in row.iter_mut().zip(&output_grad[token * width..][..width]) {
                *sum += grad;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

    const CASES: [(usize, usize, usize); 6] =
        [(3, 4, 0), (3, 0, 5), (1, 1, 1), (5, 3, 40), (100, 17, 64), (30, 384, 500)];

    fn data(vocabulary: usize, width: usize, tokens: usize) -> (EmbeddingShape, Vec<u32>) {
        let mut seeded = Seeded(tokens as u64);
        let ids = (0..tokens).map(|_| (seeded.next_u64() % vocabulary as u64) as u32).collect();
        (EmbeddingShape { vocabulary, width }, ids)
    }

    #[test]
    fn tokens_get_their_rows_and_rows_the_sums_of_their_tokens() {
        for (vocabulary, width, tokens) in CASES {
            let (shape, ids) = data(vocabulary, width, tokens);
            let table = Seeded(1).values(vocabulary * width);
            let mut output = vec![f32::NAN; tokens * width];
            embedding(&shape, &table, &ids, &mut output);
            for (t, &id) in ids.iter().enumerate() {
                assert_eq!(output[t * width..][..width], table[id as usize * width..][..width]);
            }
            let grad = Seeded(2).values(tokens * width);
            let mut table_grad = table.clone();
            embedding_backward(&shape, &ids, &grad, &mut table_grad);
            let mut want: Vec<f64> = table.iter().map(|&x| f64::from(x)).collect();
            for (t, &id) in ids.iter().enumerate() {
                for i in 0..width {
                    want[id as usize * width + i] += f64::from(grad[t * width + i]);
                }
            }
            // At most 60 additions of values below 1.
            assert_close("gradient", &table_grad, &want, 1e-7, 60.0 * 60.0 * 2_f64.powi(-24));
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let (shape, ids) = data(50, 96, 3000);
        let grad = Seeded(2).values(3000 * 96);
        assert_same_for_any_threads("gradient", || {
            let mut table_grad = vec![0.0; 50 * 96];
            embedding_backward(&shape, &ids, &grad, &mut table_grad);
            table_grad
        });
    }

    #[test]
    #[should_panic(expected = "id 3 of token 1 is not below 3 rows of the table")]
    fn an_id_beyond_the_table_is_refused() {
        let shape = EmbeddingShape { vocabulary: 3, width: 2 };
        embedding(&shape, &[0.0; 6], &[0, 3], &mut [0.0; 4]);
    }
}
