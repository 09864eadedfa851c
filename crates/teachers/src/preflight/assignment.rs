//! The assignment problem: who gets what, so that the sum is largest.
//!
//! Forty lines of our own: the crates that solve it bring a graph or matrix library with them.

/// The column of each row, no column twice, with the largest sum of `gains`, `[size, size]` row by
/// row. Kuhn (1955) and Munkres (1957), by shortest augmenting paths, `O(size³)`.
///
/// # Panics
/// When `gains` is not square.
pub(super) fn best_assignment(gains: &[i64], size: usize) -> Vec<usize> {
    assert_eq!(gains.len(), size * size, "a square table");
    // Rows and columns count from 1, 0 stands for "none". `row_of[column]` is the matching.
    let cost = |row: usize, column: usize| -gains[(row - 1) * size + column - 1];
    let mut row_price = vec![0_i64; size + 1];
    let mut column_price = vec![0_i64; size + 1];
    let mut row_of = vec![0_usize; size + 1];
    let mut previous = vec![0_usize; size + 1];
    for start in 1..=size {
        row_of[0] = start;
        let mut at = 0;
        let mut slack = vec![i64::MAX; size + 1];
        let mut done = vec![false; size + 1];
        // Extends a tree of tight edges until it meets a free column.
        while row_of[at] != 0 {
            done[at] = true;
            let row = row_of[at];
            let (mut least, mut next) = (i64::MAX, 0);
            for column in 1..=size {
                if done[column] {
                    continue;
                }
                let reduced = cost(row, column) - row_price[row] - column_price[column];
                if reduced < slack[column] {
                    slack[column] = reduced;
                    previous[column] = at;
                }
                if slack[column] < least {
                    least = slack[column];
                    next = column;
                }
            }
            for column in 0..=size {
                if done[column] {
                    row_price[row_of[column]] += least;
                    column_price[column] -= least;
                } else if slack[column] != i64::MAX {
                    slack[column] -= least;
                }
            }
            at = next;
        }
        // Turns the path around.
        while at != 0 {
            row_of[at] = row_of[previous[at]];
            at = previous[at];
        }
    }
    let mut columns = vec![0; size];
    for column in 1..=size {
        columns[row_of[column] - 1] = column - 1;
    }
    columns
}

#[cfg(test)]
mod tests {
    use faculty_data::rng::{Purpose, below, draw};

    use super::*;

    fn sum(gains: &[i64], size: usize, columns: &[usize]) -> i64 {
        columns.iter().enumerate().map(|(row, column)| gains[row * size + column]).sum()
    }

    /// The best sum over all orders, by trying each.
    fn by_trying(gains: &[i64], size: usize, row: usize, used: &mut Vec<bool>) -> i64 {
        if row == size {
            return 0;
        }
        let mut best = i64::MIN;
        for column in 0..size {
            if !used[column] {
                used[column] = true;
                let rest = by_trying(gains, size, row + 1, used);
                best = best.max(gains[row * size + column] + rest);
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn finds_the_best_sum_of_small_tables() {
        for case in 0..200_u64 {
            let size = 1 + (case % 6) as usize;
            let number = |i| below(draw(Purpose::Method, 8, case, i, 0), 12) as i64;
            let gains: Vec<i64> = (0..(size * size) as u64).map(number).collect();
            let columns = best_assignment(&gains, size);
            let mut sorted = columns.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..size).collect::<Vec<_>>());
            let best = by_trying(&gains, size, 0, &mut vec![false; size]);
            assert_eq!(sum(&gains, size, &columns), best, "case {case}");
        }
    }

    #[test]
    fn finds_a_hidden_permutation_of_many_classes() {
        let size = 200;
        let mut gains = vec![0; size * size];
        for row in 0..size {
            gains[row * size + (row * 7 + 3) % size] = 50;
            gains[row * size + (row * 3) % size] += 49;
        }
        let columns = best_assignment(&gains, size);
        assert_eq!(sum(&gains, size, &columns), 50 * 200);
    }

    #[test]
    fn an_empty_table_has_an_empty_assignment() {
        assert!(best_assignment(&[], 0).is_empty());
    }
}
