use std::collections::HashSet;

use super::*;

const SEED: u64 = 11;

/// The definition, pixel by pixel.
fn plainly(image: &[u8], shape: [usize; 3], pad: usize, at: Placement) -> Vec<f32> {
    let [channels, height, width] = shape;
    let normalisation = Normalisation::cifar100();
    let mut out = Vec::new();
    for channel in 0..channels {
        for y in 0..height {
            for x in 0..width {
                let x = if at.flipped { width - 1 - x } else { x };
                let (y, x) = (y + at.top, x + at.left);
                let inside = (pad..height + pad).contains(&y) && (pad..width + pad).contains(&x);
                let pixel =
                    if inside { image[(channel * height + y - pad) * width + x - pad] } else { 0 };
                let value = f32::from(pixel) / 255.0;
                out.push((value - normalisation.mean[channel]) / normalisation.std[channel]);
            }
        }
    }
    out
}

#[test]
fn every_placement_gives_the_pixels_of_the_definition() {
    let shape = [3, 4, 5];
    let image: Vec<u8> = (0..60).map(|i| (i * 4 + 3) as u8).collect();
    for pad in 0..=4 {
        let augmentation = Augmentation::crop_and_flip(pad, true);
        let renderer =
            Renderer::new(shape, augmentation, &Normalisation::cifar100(), SEED).unwrap();
        for top in 0..=2 * pad {
            for left in 0..=2 * pad {
                for flipped in [false, true] {
                    let at = Placement { top, left, flipped };
                    let mut out = vec![f32::NAN; 60];
                    renderer.render_at(&image, at, &renderer.table, &mut out);
                    assert_eq!(out, plainly(&image, shape, pad, at), "pad {pad}, {at:?}");
                }
            }
        }
    }
}

#[test]
fn the_same_view_is_the_same_pixels_and_others_differ() {
    let image: Vec<u8> = (0..=255).collect();
    let renderer = |seed| {
        Renderer::new([1, 16, 16], Augmentation::CIFAR, &Normalisation::identity(1), seed).unwrap()
    };
    let render = |seed, id, number| {
        let mut out = vec![0.0; 256];
        renderer(seed).render_into(&image, SampleId(id), number, &mut out);
        out
    };
    for number in 0..50 {
        assert_eq!(render(SEED, 5, number), render(SEED, 5, number));
    }
    let different = |other: &dyn Fn(u32) -> Vec<f32>| {
        (0..100).filter(|&number| render(SEED, 5, number) != other(number)).count()
    };
    // Of 162 placements, two agree by chance in 0.6 of 100 views.
    assert!(different(&|number| render(SEED, 6, number)) > 90);
    assert!(different(&|number| render(SEED + 1, 5, number)) > 90);
    assert!(different(&|number| render(SEED, 5, number + 1)) > 90);
}

#[test]
fn placements_are_uniform_and_all_are_reached() {
    let mut tops = [0; 9];
    let mut flips = 0;
    let mut reached = HashSet::new();
    for id in 0..9000 {
        let at = Augmentation::CIFAR.place(SEED, SampleId(id), 3);
        tops[at.top] += 1;
        flips += usize::from(at.flipped);
        reached.insert(at);
    }
    // Binomial(9000, 1/9): standard deviation 30; Binomial(9000, 1/2): standard deviation 47.
    assert!(tops.iter().all(|count| (850..1150).contains(count)), "{tops:?}");
    assert!((4260..4740).contains(&flips), "{flips}");
    assert_eq!(reached.len(), 9 * 9 * 2);
}

#[test]
fn no_augmentation_leaves_the_image_as_it_is() {
    let image: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let renderer =
        Renderer::new([1, 3, 4], Augmentation::NONE, &Normalisation::identity(1), SEED).unwrap();
    for number in 0..20 {
        let mut out = vec![0.0; 12];
        renderer.render_into(&image, SampleId(77), number, &mut out);
        let expected: Vec<f32> = image.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        assert_eq!(out, expected);
    }
}

#[test]
fn refuses_padding_beyond_the_image_and_a_foreign_normalisation() {
    let new = |pad, channels| {
        let augmentation = Augmentation::crop_and_flip(pad, false);
        Renderer::new([1, 3, 4], augmentation, &Normalisation::identity(channels), SEED)
    };
    assert!(new(3, 1).is_ok());
    assert!(matches!(new(4, 1), Err(DataError::OutOfRange { .. })));
    assert!(matches!(new(0, 3), Err(DataError::WrongShape { .. })));
}

/// A colour image with a pattern.
fn picture() -> Vec<u8> {
    (0..3 * 16 * 12).map(|i| (i * 37 % 251) as u8).collect()
}

fn rendered(augmentation: Augmentation, seed: u64, id: u64, number: u32) -> Vec<f32> {
    let normalisation = Normalisation::cifar100();
    let renderer = Renderer::new([3, 16, 12], augmentation, &normalisation, seed).unwrap();
    let mut out = vec![f32::NAN; renderer.view_len()];
    renderer.render_into(&picture(), SampleId(id), number, &mut out);
    out
}

const ALL: Augmentation = Augmentation {
    resized_crop: Some(ResizedCrop { area: [0.3, 1.0] }),
    policy: Some(Policy::RandAugment { operations: 2, magnitude: 9 }),
    color_jitter: Some(ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
    erasing: 0.5,
    ..Augmentation::crop_and_flip(0, true)
};

#[test]
fn every_change_is_a_function_of_seed_sample_and_view() {
    let alone = [
        Augmentation { policy: None, color_jitter: None, erasing: 0.0, ..ALL },
        Augmentation { policy: None, resized_crop: None, erasing: 0.0, ..ALL },
        Augmentation { policy: None, resized_crop: None, color_jitter: None, erasing: 1.0, ..ALL },
        Augmentation { color_jitter: None, erasing: 0.0, ..ALL },
        ALL,
    ];
    for own in alone {
        let mut same = 0;
        for number in 0..100 {
            let view = rendered(own, SEED, 5, number);
            assert_eq!(view, rendered(own, SEED, 5, number));
            assert!(view.iter().all(|value| value.is_finite()));
            let others = [(SEED + 1, 5, number), (SEED, 6, number), (SEED, 5, number + 1)];
            let others = others.map(|(seed, id, number)| rendered(own, seed, id, number));
            same += others.iter().filter(|other| **other == view).count();
        }
        // Large parts and rectangles have few places, so that two views agree now and then.
        assert!(same < 15, "{own:?}: {same} of 300");
    }
}

#[test]
fn changes_that_change_nothing_leave_the_image() {
    let whole = ResizedCrop { area: [1.0, 1.0] };
    // The whole area in every ratio is the whole image where nothing else fits.
    let plain = Augmentation::NONE;
    let line = |augmentation| {
        let renderer =
            Renderer::new([1, 1, 9], augmentation, &Normalisation::identity(1), SEED).unwrap();
        let mut out = vec![f32::NAN; 9];
        renderer.render_into(&[9, 8, 7, 6, 5, 4, 3, 2, 1], SampleId(1), 0, &mut out);
        out
    };
    // The middle pixel of a strip of one row, everywhere.
    let cut = line(Augmentation { resized_crop: Some(whole), ..plain });
    assert_eq!(cut, [5.0_f32 / 255.0; 9]);
    let nothing = ColorJitter::default();
    let want = rendered(plain, SEED, 5, 0);
    let got = rendered(Augmentation { color_jitter: Some(nothing), ..plain }, SEED, 5, 0);
    assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(rendered(Augmentation { erasing: 1e-18, ..plain }, SEED, 5, 0), want);
    // At magnitude 0 all operations but three give the picture back, and by the same table.
    let policy = Some(Policy::RandAugment { operations: 1, magnitude: 0 });
    let same = (0..140).filter(|&number| {
        let of = |policy| rendered(Augmentation { policy, ..Augmentation::CIFAR }, SEED, 5, number);
        of(policy) == of(None)
    });
    assert!((85..140).contains(&same.count()));
}

#[test]
fn operations_act_on_the_crop_and_before_other_changes() {
    let policy = Policy::TrivialAugment;
    let cropped = Augmentation::CIFAR;
    let identity = Normalisation::identity(3);
    let view = |augmentation, number| {
        let renderer = Renderer::new([3, 16, 12], augmentation, &identity, SEED).unwrap();
        let mut out = vec![f32::NAN; renderer.view_len()];
        renderer.render_into(&picture(), SampleId(5), number, &mut out);
        out
    };
    for number in 0..40 {
        let plain = view(cropped, number);
        let mut bytes: Vec<u8> = plain.iter().map(|x| (x * 255.0).round() as u8).collect();
        let word = |c| draw(Purpose::Augmentation, SEED, 5, u64::from(number), POLICY + c);
        policy.apply(&mut bytes, [3, 16, 12], word);
        let want: Vec<f32> = bytes.iter().map(|&x| f32::from(x) / 255.0).collect();
        assert_eq!(view(Augmentation { policy: Some(policy), ..cropped }, number), want);
    }
}

#[test]
fn crop_and_flip_are_drawn_as_without_other_changes() {
    let plain = Augmentation::CIFAR;
    for number in 0..50 {
        let erased = rendered(Augmentation { erasing: 1.0, ..plain }, SEED, 5, number);
        let want = rendered(plain, SEED, 5, number);
        let changed = erased.iter().zip(&want).filter(|(a, b)| a != b);
        assert!(changed.clone().all(|(erased, _)| *erased == 0.0));
        // A third of the area, and half a pixel of rounding on each side.
        assert!((1..=3 * 16 * 12 * 2 / 5).contains(&changed.count()), "view {number}");
    }
}

#[test]
fn a_scaled_part_has_the_pixels_of_the_definition() {
    let shape = [1, 4, 5];
    let image: Vec<u8> = (0..20).map(|i| (i * i % 97) as u8).collect();
    let renderer =
        Renderer::new(shape, Augmentation::NONE, &Normalisation::identity(1), SEED).unwrap();
    for (part, flipped) in [
        (Rectangle { top: 0, left: 0, height: 4, width: 5 }, false),
        (Rectangle { top: 1, left: 2, height: 2, width: 3 }, false),
        (Rectangle { top: 3, left: 0, height: 1, width: 5 }, true),
        (Rectangle { top: 0, left: 4, height: 3, width: 1 }, true),
    ] {
        let mut out = vec![f32::NAN; 20];
        renderer.render_part(&image, part, flipped, &mut out);
        for y in 0..4 {
            for x in 0..5 {
                // The value at a place of the part, whose edge pixels go on outside of it.
                let at = |count: usize, size: usize, i: usize| -> f64 {
                    let place = (i as f64 + 0.5) * count as f64 / size as f64 - 0.5;
                    place.clamp(0.0, count as f64 - 1.0)
                };
                let mirrored = if flipped { 4 - x } else { x };
                let (row, column) = (at(part.height, 4, y), at(part.width, 5, mirrored));
                let mut want = 0.0;
                for r in 0..part.height {
                    for c in 0..part.width {
                        // The tent of each pixel.
                        let tent = |distance: f64| (1.0 - distance.abs()).max(0.0);
                        let share = tent(row - r as f64) * tent(column - c as f64);
                        let pixel = image[(part.top + r) * 5 + part.left + c];
                        want += share * f64::from(pixel) / 255.0;
                    }
                }
                let got = f64::from(out[y * 5 + x]);
                assert!((got - want).abs() < 1e-6, "{part:?} {y} {x}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let new = |augmentation| {
        Renderer::new([1, 3, 4], augmentation, &Normalisation::identity(1), SEED).map(drop)
    };
    let plain = Augmentation::NONE;
    let hue = ColorJitter { hue: 0.1, ..ColorJitter::default() };
    for bad in [
        Augmentation { resized_crop: Some(ResizedCrop { area: [0.0, 1.0] }), ..plain },
        Augmentation { color_jitter: Some(hue), ..plain },
        Augmentation { policy: Some(Policy::RandAugment { operations: 0, magnitude: 9 }), ..plain },
        Augmentation { erasing: 1.5, ..plain },
        Augmentation { erasing: f64::NAN, ..plain },
    ] {
        assert!(matches!(new(bad), Err(DataError::OutOfRange { .. })), "{bad:?}");
    }
}

#[test]
fn other_settings_have_other_words_and_crop_and_flip_have_none() {
    assert_eq!(Augmentation::CIFAR.beside_crop_and_flip(), None);
    let expected = "random resized crop of 0.3 to 1 of the area, RandAugment of 2 operations at \
                magnitude 9 of 30, colour jitter 0.4 0.4 0.4 0.1 (brightness, contrast, \
                saturation, hue), random erasing of 0.5";
    assert_eq!(ALL.beside_crop_and_flip().as_deref(), Some(expected));
}
