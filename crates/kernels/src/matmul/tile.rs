//! The micro-kernel: a register tile of the product, summed over packed factors.

use crate::simd::Simd;

/// Vectors of columns in a register tile: with twelve rows 24 of 32 registers, with six 12 of 16.
pub(crate) const BLOCK: usize = 2;
/// Floats between two rows of the packed left factor, and so the deepest block: a strip of twelve
/// rows takes 12 KiB of the first cache. A constant, so that rows are offsets of one address.
pub(crate) const PITCH: usize = 256;

/// The packed right factor: panels `[depth][BLOCK vectors]`, the last one perhaps narrower.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    /// The first panel.
    pub(crate) start: *const f32,
    /// Depth of all panels.
    pub(crate) depth: usize,
    /// Where in the depth the sum begins.
    pub(crate) first: usize,
    /// Columns in use; vectors are full behind them.
    pub(crate) columns: usize,
}

/// Where the tiles go.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Element of the first row and column.
    pub(crate) start: *mut f32,
    /// Floats between two rows.
    pub(crate) pitch: usize,
    /// To what stands there.
    pub(crate) adds: bool,
}

/// Rows of the next strip when `rows` are left.
#[inline(always)]
pub(crate) fn strip<S: Simd>(rows: usize) -> usize {
    let full = if S::REGISTERS >= 32 { 12 } else { 6 };
    if rows >= full { full } else { [0, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8][rows] }
}

/// All tiles of a strip of `tall` rows (what [`strip`] said), over `depth` products each, with
/// left elements `(row, k)` at `left + row * PITCH + k`.
///
/// # Safety
/// Those of the left factor are readable, as are the panels from `first` over `depth`; the columns
/// of `tall` rows of the target are writable.
#[inline(always)]
pub(crate) unsafe fn strip_of_tiles<S: Simd>(
    simd: S,
    tall: usize,
    left: *const f32,
    depth: usize,
    panels: Panels,
    target: Target,
) {
    // SAFETY: the caller's promise.
    unsafe { strided_strip::<S, PITCH, 1>(simd, tall, left, depth, panels, target) }
}

/// As [`strip_of_tiles`], with left elements `(row, k)` at `left + row * ROW + k * STEP`.
///
/// # Safety
/// Likewise.
#[inline(always)]
pub(crate) unsafe fn strided_strip<S: Simd, const ROW: usize, const STEP: usize>(
    simd: S,
    tall: usize,
    left: *const f32,
    depth: usize,
    panels: Panels,
    target: Target,
) {
    // SAFETY: the caller's promise; no tile is taller than `tall`.
    unsafe {
        match tall {
            12 if S::REGISTERS >= 32 => {
                tiles::<S, 12, ROW, STEP>(simd, left, depth, panels, target);
            }
            8 if S::REGISTERS >= 32 => {
                tiles::<S, 8, ROW, STEP>(simd, left, depth, panels, target);
            }
            6 if S::REGISTERS < 32 => {
                tiles::<S, 6, ROW, STEP>(simd, left, depth, panels, target);
            }
            4 => tiles::<S, 4, ROW, STEP>(simd, left, depth, panels, target),
            2 => tiles::<S, 2, ROW, STEP>(simd, left, depth, panels, target),
            _ => tiles::<S, 1, ROW, STEP>(simd, left, depth, panels, target),
        }
    }
}

/// The tiles of a strip of `ROWS` rows.
///
/// # Safety
/// As for [`strided_strip`].
#[inline(always)]
unsafe fn tiles<S: Simd, const ROWS: usize, const ROW: usize, const STEP: usize>(
    simd: S,
    left: *const f32,
    depth: usize,
    panels: Panels,
    target: Target,
) {
    let mut column = 0;
    while column < panels.columns {
        let columns = (panels.columns - column).min(BLOCK * S::LANES);
        // SAFETY: the panel that holds column `c` first begins `c` times the depth behind the
        // first panel, since all before it are full; the rest is the caller's promise.
        unsafe {
            let panel = panels.start.add(column * panels.depth);
            let target = Target { start: target.start.add(column), ..target };
            if columns > S::LANES {
                let right = panel.add(panels.first * BLOCK * S::LANES);
                let sums = tile::<S, ROWS, 2, ROW, STEP>(simd, left, right, depth);
                store(simd, sums, columns, target);
            } else {
                let right = panel.add(panels.first * S::LANES);
                let sums = tile::<S, ROWS, 1, ROW, STEP>(simd, left, right, depth);
                store(simd, sums, columns, target);
            }
        }
        column += columns;
    }
}

/// `ROWS` rows × `WIDTH` vectors of columns.
///
/// # Safety
/// `ROWS` times `depth` left elements are readable, and `depth` times `WIDTH` vectors at `right`.
#[inline(always)]
unsafe fn tile<
    S: Simd,
    const ROWS: usize,
    const WIDTH: usize,
    const ROW: usize,
    const STEP: usize,
>(
    simd: S,
    left: *const f32,
    right: *const f32,
    depth: usize,
) -> [[S::V; WIDTH]; ROWS] {
    let mut sums = [[simd.splat(0.0); WIDTH]; ROWS];
    for k in 0..depth {
        // SAFETY: the caller's promise.
        unsafe {
            let (left, right) = (left.add(k * STEP), right.add(k * WIDTH * S::LANES));
            let mut b = [simd.splat(0.0); WIDTH];
            for v in 0..WIDTH {
                b[v] = simd.load(right.add(v * S::LANES));
            }
            for r in 0..ROWS {
                let a = simd.splat(*left.add(r * ROW));
                for v in 0..WIDTH {
                    sums[r][v] = simd.mul_add(a, b[v], sums[r][v]);
                }
            }
        }
    }
    sums
}

/// Writes the first `columns` columns of a tile.
///
/// # Safety
/// They are writable in `ROWS` rows of the target.
#[inline(always)]
unsafe fn store<S: Simd, const ROWS: usize, const WIDTH: usize>(
    simd: S,
    sums: [[S::V; WIDTH]; ROWS],
    columns: usize,
    target: Target,
) {
    // SAFETY: the caller's promise; the buffer has `WIDTH` vectors for each of the rows.
    unsafe {
        if columns == WIDTH * S::LANES {
            for r in 0..ROWS {
                for v in 0..WIDTH {
                    let to = target.start.add(r * target.pitch + v * S::LANES);
                    let sum =
                        if target.adds { simd.add(simd.load(to), sums[r][v]) } else { sums[r][v] };
                    simd.store(to, sum);
                }
            }
            return;
        }
        let mut buffer = [[0.0_f32; 32]; ROWS];
        for r in 0..ROWS {
            for v in 0..WIDTH {
                simd.store(buffer[r].as_mut_ptr().add(v * S::LANES), sums[r][v]);
            }
        }
        for (r, row) in buffer.iter().enumerate() {
            for (c, &sum) in row[..columns].iter().enumerate() {
                let to = target.start.add(r * target.pitch + c);
                *to = if target.adds { *to + sum } else { sum };
            }
        }
    }
}
