//! The sizes of attention and where its samples lie.

use std::ops::Range;

use crate::matmul::tile::PITCH;
use crate::sizes;

/// Heads, their width, and what a query sees; see the [module](super).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Heads of a query.
    pub heads: usize,
    /// Heads of a key and a value; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head, 1 to 256.
    pub width: usize,
    /// Factor of the products; usually `1 / √width`.
    pub scale: f32,
    /// Whether a query sees keys up to its own position only.
    pub causal: bool,
    /// Whether a query sees keys at a distance below this only.
    pub window: Option<usize>,
}

/// Why an [`AttentionShape`] is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttentionShapeError {
    /// The key heads do not divide the heads.
    #[error("{kv_heads} `kv_heads` do not divide {heads} `heads`")]
    Heads {
        /// Heads of a query.
        heads: usize,
        /// Heads of a key.
        kv_heads: usize,
    },
    /// A width of 0, or beyond what the kernel packs.
    #[error("`width` is {width}, it must be 1 to {PITCH}")]
    Width {
        /// The width.
        width: usize,
    },
}

impl AttentionShape {
    /// Checks that the sizes describe attention.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn validate(&self) -> Result<(), AttentionShapeError> {
        let &Self { heads, kv_heads, width, .. } = self;
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(AttentionShapeError::Heads { heads, kv_heads });
        }
        if width == 0 || width > PITCH {
            return Err(AttentionShapeError::Width { width });
        }
        Ok(())
    }

    /// Elements of queries, and of keys.
    ///
    /// # Panics
    /// If the shape is not valid, or memory cannot hold them.
    pub(super) fn lens(&self, samples: &Samples<'_>) -> [usize; 2] {
        if let Err(error) = self.validate() {
            panic!("{error} in {self:?}");
        }
        [
            sizes::elements([samples.query_rows(), self.heads, self.width]),
            sizes::elements([samples.key_rows(), self.kv_heads, self.width]),
        ]
    }
}

/// Where the rows of each sample begin and end.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    queries: &'a [usize],
    keys: Keys<'a>,
    key_lengths: Option<&'a [usize]>,
}

/// Where the keys of each sample lie.
#[derive(Clone, Copy, Debug)]
enum Keys<'a> {
    /// Behind those of the sample before, by offsets.
    Packed(&'a [usize]),
    /// Anywhere among `rows` rows.
    Cached { starts: &'a [usize], lengths: &'a [usize], rows: usize },
}

impl<'a> Samples<'a> {
    /// Self-attention: sample `s` is rows `offsets[s]..offsets[s + 1]` of queries and keys.
    ///
    /// # Panics
    /// If the offsets do not begin at 0, or fall.
    #[track_caller]
    #[must_use]
    pub fn new(offsets: &'a [usize]) -> Self {
        Self::with_keys(offsets, offsets)
    }

    /// Queries and keys of different numbers, as in decoding and cross-attention.
    ///
    /// # Panics
    /// If offsets do not begin at 0, or fall, or their numbers differ.
    #[track_caller]
    #[must_use]
    pub fn with_keys(queries: &'a [usize], keys: &'a [usize]) -> Self {
        for (name, offsets) in [("queries", queries), ("keys", keys)] {
            assert!(offsets.first() == Some(&0), "the offsets of {name} do not begin at 0");
            assert!(offsets.is_sorted(), "the offsets of {name} fall");
        }
        let (a, b) = (queries.len(), keys.len());
        assert!(a == b, "{a} offsets of queries, {b} of keys");
        Self { queries, keys: Keys::Packed(keys), key_lengths: None }
    }

    /// Queries whose keys lie in a cache of `rows` rows: those of sample `s` are the `lengths[s]` rows
    /// from `starts[s]` on. Samples may share rows; there is no backward pass.
    ///
    /// # Panics
    /// If the offsets of the queries do not begin at 0, or fall, there is not a start and a length for
    /// each sample, or one leads out of the cache.
    #[track_caller]
    #[must_use]
    pub fn in_cache(
        queries: &'a [usize],
        starts: &'a [usize],
        lengths: &'a [usize],
        rows: usize,
    ) -> Self {
        assert!(queries.first() == Some(&0), "the offsets of queries do not begin at 0");
        assert!(queries.is_sorted(), "the offsets of queries fall");
        let (got, want) = ([starts.len(), lengths.len()], queries.len() - 1);
        assert!(got == [want; 2], "{got:?} starts and lengths, {want} samples");
        for (sample, (&start, &length)) in starts.iter().zip(lengths).enumerate() {
            let inside = start.checked_add(length).is_some_and(|end| end <= rows);
            assert!(inside, "{length} keys of sample {sample} from row {start} on, of {rows} rows");
        }
        Self { queries, keys: Keys::Cached { starts, lengths, rows }, key_lengths: None }
    }

    pub(super) fn are_cached(&self) -> bool {
        matches!(self.keys, Keys::Cached { .. })
    }

    /// Hides the keys of sample `s` behind its first `lengths[s]`, as padding of a fixed length.
    ///
    /// # Panics
    /// If there is not a length for each sample, or one is more than the sample's keys.
    #[track_caller]
    #[must_use]
    pub fn with_key_lengths(mut self, lengths: &'a [usize]) -> Self {
        let (got, want) = (lengths.len(), self.count());
        assert!(got == want, "{got} key lengths, {want} samples");
        for (sample, &length) in lengths.iter().enumerate() {
            let keys = self.keys(sample).len();
            assert!(length <= keys, "key length {length} of sample {sample}, it has {keys} keys");
        }
        self.key_lengths = Some(lengths);
        self
    }

    pub(super) fn count(&self) -> usize {
        self.queries.len() - 1
    }

    pub(super) fn query_rows(&self) -> usize {
        self.queries[self.count()]
    }

    pub(super) fn key_rows(&self) -> usize {
        match self.keys {
            Keys::Packed(offsets) => offsets[self.count()],
            Keys::Cached { rows, .. } => rows,
        }
    }

    /// The query rows of a sample.
    pub(super) fn queries(&self, sample: usize) -> Range<usize> {
        self.queries[sample]..self.queries[sample + 1]
    }

    /// The key rows of a sample, hidden ones included.
    pub(super) fn keys(&self, sample: usize) -> Range<usize> {
        match self.keys {
            Keys::Packed(offsets) => offsets[sample]..offsets[sample + 1],
            Keys::Cached { starts, lengths, .. } => {
                starts[sample]..starts[sample] + lengths[sample]
            }
        }
    }

    /// How many keys of a sample are not hidden.
    pub(super) fn visible_keys(&self, sample: usize) -> usize {
        self.key_lengths.map_or_else(|| self.keys(sample).len(), |lengths| lengths[sample])
    }
}

/// A number for each head and distance, added to the scores: MPNet's and T5's relative position
/// bias, whose buckets the caller spreads over distances.
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    /// Distances beyond it, either way, have the number of the furthest.
    pub reach: usize,
    /// `[heads, 2 reach + 1]`: key behind query is positive, distance 0 stands at `reach`.
    pub values: &'a [f32],
}

impl RelativeBias<'_> {
    /// Numbers of a head.
    pub(super) fn distances(&self) -> usize {
        sizes::elements([self.reach, 2]) + 1
    }

    pub(super) fn check(&self, shape: &AttentionShape) {
        let (got, want) = (self.values.len(), sizes::elements([shape.heads, self.distances()]));
        assert!(got == want, "`bias` has {got} elements, {want} expected");
    }
}
