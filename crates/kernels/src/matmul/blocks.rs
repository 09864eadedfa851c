//! How a product is cut: slabs that are packed, and the tasks of a slab. By the sizes alone.

use std::ops::Range;

use super::tile::BLOCK;

/// Floats of a packed slab of the right factor, 16 MiB: half of what a server's third cache has.
const SLAB: usize = 4 << 20;
/// Depth of a slab: at least this many floats times 32 columns are packed at once.
const SLAB_DEPTH: usize = 8192;
/// Rows of a task, a multiple of all register tiles; with a pass's depth 120 KiB.
const TASK_ROWS: usize = 120;
/// Columns of a task; with a pass's depth half a MiB, which stays in a second cache.
const TASK_COLUMNS: usize = 512;
/// Tasks that a slab should have, so that any number of threads up to it is busy.
const TASKS: usize = 16;
/// Products that a task should have at least: some twenty microseconds.
const TASK_PRODUCTS: usize = 1 << 20;
/// All register tiles divide it.
const STRIP: usize = 12;

/// The `index`-th of `chunks` parts of `0..len`; the first `len % chunks` have one more.
pub(super) fn chunk(len: usize, chunks: usize, index: usize) -> Range<usize> {
    let (each, more) = (len / chunks, len % chunks);
    let start = index * each + index.min(more);
    start..start + each + usize::from(index < more)
}

/// The cut of one product.
pub(super) struct Blocks {
    rows: usize,
    columns: usize,
    /// Parts the depth is cut into; a slab each.
    pub(super) depth_slabs: usize,
    /// Depth of the deepest.
    depth: usize,
    /// Columns of a panel.
    panel: usize,
    /// Columns of a slab: whole panels.
    slab: usize,
}

impl Blocks {
    pub(super) fn new([rows, columns, depth]: [usize; 3], lanes: usize) -> Self {
        let depth_slabs = depth.div_ceil(SLAB_DEPTH).max(1);
        let depth = depth.div_ceil(depth_slabs);
        let panel = BLOCK * lanes;
        let slab = (SLAB / depth.max(1) / panel).max(1) * panel;
        Self { rows, columns, depth_slabs, depth, panel, slab }
    }

    /// The columns of every slab.
    pub(super) fn column_slabs(&self) -> impl Iterator<Item = Range<usize>> {
        let (columns, slab) = (self.columns, self.slab);
        (0..columns).step_by(slab).map(move |start| start..columns.min(start.saturating_add(slab)))
    }

    /// The tasks of a slab of `columns`.
    pub(super) fn tasks(&self, columns: usize) -> Tasks {
        let mut block = [TASK_ROWS.min(self.rows), TASK_COLUMNS.min(columns)];
        loop {
            let tasks = Tasks {
                sizes: [self.rows, columns],
                block: [block[0].next_multiple_of(STRIP), block[1].next_multiple_of(self.panel)],
            };
            let products = block[0] * block[1] * self.depth;
            let wider = usize::from(block[0] < block[1]);
            let least = [STRIP, self.panel][wider];
            if tasks.count() >= TASKS || products < 2 * TASK_PRODUCTS || block[wider] <= least {
                return tasks;
            }
            block[wider] = block[wider].div_ceil(2);
        }
    }
}

/// A slab's output in blocks of rows and columns.
pub(super) struct Tasks {
    sizes: [usize; 2],
    block: [usize; 2],
}

impl Tasks {
    pub(super) fn count(&self) -> usize {
        self.sizes[0].div_ceil(self.block[0]) * self.sizes[1].div_ceil(self.block[1])
    }

    /// Rows and columns of a task; neighbours share their columns.
    pub(super) fn at(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let down = self.sizes[0].div_ceil(self.block[0]);
        let range = |axis: usize, index: usize| {
            let start = index * self.block[axis];
            start..self.sizes[axis].min(start + self.block[axis])
        };
        (range(0, task % down), range(1, task / down))
    }
}
