//! Keys and values of the tokens that a decoder has read: what makes the next token cost one token.

use faculty_inputs::Tokens;

/// Keys and values of some texts at work.
///
/// Each row is a text with a length of its own, in a slot of the cache's memory. Taking back the last
/// tokens of a row lowers its length; rows that are finished leave without anything being moved, and
/// their slots are there for new ones.
///
/// # Shapes
/// For each layer, keys and values `[slots, capacity, kv_heads * head width]`; memory
/// `layers * 2 * slots * capacity * kv_heads * head width` floats, taken at once.
#[derive(Debug)]
pub struct KvCache {
    /// Most tokens of a row.
    capacity: usize,
    /// Values of a token's keys, and of its values.
    width: usize,
    /// Keys and values of each layer.
    layers: Vec<[Vec<f32>; 2]>,
    /// The slot and length of each row at work.
    rows: Vec<(usize, usize)>,
    /// Slots without a row, the next one last.
    free: Vec<usize>,
}

/// What the queries of one layer attend to.
pub(crate) struct Seen<'a> {
    pub(crate) key: &'a [f32],
    pub(crate) value: &'a [f32],
    /// For each row at work, its first key and how many there are.
    pub(crate) starts: Vec<usize>,
    pub(crate) lengths: Vec<usize>,
    /// Keys of all slots.
    pub(crate) rows: usize,
}

impl KvCache {
    /// An empty cache for at most `slots` rows of at most `capacity` tokens.
    pub(crate) fn new(layers: usize, width: usize, slots: usize, capacity: usize) -> Self {
        let room = || vec![0.0; slots * capacity * width];
        let layers = (0..layers).map(|_| [room(), room()]).collect();
        Self { capacity, width, layers, rows: Vec::new(), free: (0..slots).rev().collect() }
    }

    /// Bytes that a cache of these sizes takes; at most `usize::MAX`.
    pub(crate) fn bytes_needed(
        layers: usize,
        width: usize,
        slots: usize,
        capacity: usize,
    ) -> usize {
        [2, layers, width, slots, capacity]
            .into_iter()
            .fold(size_of::<f32>(), |product, size| product.saturating_mul(size))
    }

    /// Most tokens of a row.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows at work.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Slots without a row.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Tokens of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn len(&self, row: usize) -> usize {
        self.rows[row].1
    }

    /// Whether no row is at work.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds an empty row behind those at work.
    ///
    /// # Panics
    /// If no slot is free.
    pub fn begin(&mut self) {
        let slot = self.free.pop().expect("a slot is free");
        self.rows.push((slot, 0));
    }

    /// Takes back the tokens of a row behind its first `len`.
    ///
    /// # Panics
    /// If the row has fewer.
    pub fn roll_back(&mut self, row: usize, len: usize) {
        let own = &mut self.rows[row].1;
        assert!(len <= *own, "row {row} has {own} tokens, not {len}");
        *own = len;
    }

    /// Leaves only the rows of which `keep` says so; these move up.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let rows = std::mem::take(&mut self.rows);
        for (row, (slot, len)) in rows.into_iter().enumerate() {
            match keep(row) {
                true => self.rows.push((slot, len)),
                false => self.free.push(slot),
            }
        }
    }

    /// Writes keys and values of the next tokens of every row, `[tokens, width]`, and gives all that
    /// are there then. Lengths stay until [`KvCache::advance`].
    pub(crate) fn add(
        &mut self,
        layer: usize,
        tokens: &Tokens,
        key: &[f32],
        value: &[f32],
    ) -> Seen<'_> {
        let Self { capacity, width, ref rows, .. } = *self;
        let (mut starts, mut lengths) = (Vec::new(), Vec::new());
        for (row, &(slot, len)) in rows.iter().enumerate() {
            let new = tokens.range(row);
            let to = (slot * capacity + len) * width..(slot * capacity + len + new.len()) * width;
            for (kept, values) in self.layers[layer].iter_mut().zip([key, value]) {
                kept[to.clone()].copy_from_slice(&values[new.start * width..new.end * width]);
            }
            starts.push(slot * capacity);
            lengths.push(len + new.len());
        }
        let [key, value] = &self.layers[layer];
        Seen { key, value, starts, lengths, rows: key.len() / width }
    }

    /// Counts the next tokens of every row.
    pub(crate) fn advance(&mut self, tokens: &Tokens) {
        for (row, (_, len)) in self.rows.iter_mut().enumerate() {
            *len += tokens.range(row).len();
        }
    }

    /// # Panics
    /// If the next tokens are not of the rows at work, or a row has no room for them.
    pub(crate) fn check(&self, tokens: &Tokens) {
        let (got, want) = (tokens.len(), self.rows.len());
        assert!(got == want, "the next tokens of {got} rows, {want} are at work");
        for (row, &(_, len)) in self.rows.iter().enumerate() {
            let (new, most) = (tokens.range(row).len(), self.capacity);
            assert!(
                len + new <= most,
                "{len} and {new} tokens of row {row}, there is room for {most}"
            );
        }
    }
}
