//! Against the obvious gather; the gradient by the adjoint identity.

use super::*;
use crate::testing::Seeded;

#[test]
fn channels_are_those_of_the_shuffled_concatenation() {
    let cases = [(6, 0, 3, 0..6), (4, 4, 2, 0..8), (4, 4, 2, 0..4), (4, 4, 2, 4..8)];
    let more =
        [(5, 3, 1, 0..8), (5, 3, 1, 2..7), (3, 3, 2, 1..4), (1, 1, 1, 0..0), (3, 0, 1, 0..2)];
    for (first, second, groups, range) in cases.into_iter().chain(more) {
        for (batch, spatial) in [(0, 4), (1, 1), (3, 5), (70, 300)] {
            let shape = ChannelsShape {
                batch,
                first,
                second,
                groups,
                start: range.start,
                count: range.len(),
                spatial,
            };
            check(&shape);
        }
    }
}

fn check(shape: &ChannelsShape) {
    let ChannelsShape { batch, first, second, groups, start, count, spatial } = *shape;
    let mut seeded = Seeded(1);
    let a = seeded.values(batch * first * spatial);
    let b = seeded.values(batch * second * spatial);
    let mut got = vec![f32::NAN; batch * count * spatial];
    join_channels(shape, &a, &b, &mut got);
    let mut want = Vec::new();
    for image in 0..batch {
        let joined: Vec<&[f32]> = (a[image * first * spatial..][..first * spatial].chunks(spatial))
            .chain(b[image * second * spatial..][..second * spatial].chunks(spatial))
            .collect();
        // As PyTorch: view as [groups, C / groups], transpose, flatten.
        let each = joined.len() / groups;
        let shuffled = (0..each).flat_map(|i| (0..groups).map(move |k| k * each + i));
        let taken = shuffled.skip(start).take(count);
        want.extend(taken.flat_map(|channel| joined[channel].iter().copied()));
    }
    assert_eq!(got, want, "{shape:?}");

    let grad = seeded.values(got.len());
    let mut product = 0.0;
    for (side, source) in [(Side::First, &a), (Side::Second, &b)] {
        let mut by_source = vec![f32::NAN; source.len()];
        join_channels_backward(shape, side, &grad, false, &mut by_source);
        let mut twice = by_source.clone();
        join_channels_backward(shape, side, &grad, true, &mut twice);
        for ((x, g), twice) in source.iter().zip(&by_source).zip(twice) {
            product += f64::from(*x) * f64::from(*g);
            assert_eq!(twice, 2.0 * g, "{shape:?}");
        }
    }
    let forward: f64 = got.iter().zip(&grad).map(|(y, g)| f64::from(*y) * f64::from(*g)).sum();
    assert!((forward - product).abs() < 1e-9 * (1.0 + got.len() as f64), "{shape:?}");
}

#[test]
#[should_panic(expected = "channels in")]
fn refuses_channels_that_do_not_exist() {
    let shape =
        ChannelsShape { batch: 1, first: 2, second: 0, groups: 1, start: 1, count: 2, spatial: 1 };
    join_channels(&shape, &[0.0; 2], &[], &mut [0.0; 2]);
}
