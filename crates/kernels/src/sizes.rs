//! Products of sizes that never wrap. Kernels index by the sizes of a shape, so every length they
//! rely on is computed here: a wrapped one could equal the length of a short slice.

/// The most floats a slice can have.
const MOST: usize = isize::MAX as usize / size_of::<f32>();

/// Elements of an array of these sizes; `None` where no slice is that long. A size of 0 excuses
/// nothing: the others must fit without it, so that every partial product is a length as well.
pub(crate) fn checked_elements<const N: usize>(sizes: [usize; N]) -> Option<usize> {
    let without_zeros = sizes.iter().try_fold(1_usize, |product, &n| product.checked_mul(n.max(1)));
    without_zeros.filter(|&product| product <= MOST)?;
    Some(sizes.iter().product())
}

/// As [`checked_elements`].
///
/// # Panics
/// Where that is `None`.
#[track_caller]
pub(crate) fn elements<const N: usize>(sizes: [usize; N]) -> usize {
    checked_elements(sizes)
        .unwrap_or_else(|| panic!("an array of {sizes:?} has more elements than memory can hold"))
}

/// Positions of an axis with `padding` at each side; `None` where the sum wraps.
pub(crate) fn padded(input: usize, padding: usize) -> Option<usize> {
    padding.checked_mul(2)?.checked_add(input).filter(|&size| size <= MOST)
}

/// Windows on an axis; `None` where not one fits, or the stride is 0.
pub(crate) fn windows(input: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let room = padded(input, padding)?.checked_sub(kernel)?;
    Some(room.checked_div(stride)? + 1)
}
