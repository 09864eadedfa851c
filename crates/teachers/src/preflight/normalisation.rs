//! Whether a teacher was trained with another normalisation than the one that it is given.

use faculty_data::{Normalisation, Split, View, ViewSettings};
use serde::{Deserialize, Serialize};

use super::answers;
use super::chance::Chance;
use crate::error::Result;
use crate::evaluate::for_each_batch;
use crate::source::{TeacherBatch, TeacherSource};
use crate::suspicion::{Suspicion, much_better};

/// Settings that published networks were trained with: name, mean and standard deviation of each channel
/// over pixel / 255. One value stands for every channel.
const ANY_CHANNELS: &[(&str, f32, f32)] = &[
    ("pixels from 0 to 1", 0.0, 1.0),
    ("pixels from 0 to 255", 0.0, 1.0 / 255.0),
    ("pixels from -1 to 1", 0.5, 0.5),
];
/// For one channel: the constants in common use.
const GREY: &[(&str, f32, f32)] =
    &[("constants of MNIST", 0.1307, 0.3081), ("constants of Fashion-MNIST", 0.286, 0.353)];
/// For three channels, red first: torchvision's for ImageNet, those of the published CIFAR
/// networks, and the bytes less a mean that Caffe networks take.
const COLOUR: &[(&str, [f32; 3], [f32; 3])] = &[
    ("constants of ImageNet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ("constants of CIFAR-10", [0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]),
    ("constants of CIFAR-100", [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
    ("constants of Caffe", [0.485, 0.458, 0.4076], [1.0 / 255.0; 3]),
];

/// One setting and what it gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedNormalisation {
    /// What it is called.
    pub name: String,
    /// Mean of each channel over pixel / 255, in the order red, green, blue.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel likewise.
    pub std: Vec<f32>,
    /// Whether the teacher got blue first.
    pub blue_first: bool,
    /// Accuracy, percent.
    pub top1: f64,
    /// Whether that is much better than as given: by 5 points and 3 standard errors at least, and no
    /// longer near chance (a teacher that is surely wrong gets better by guessing).
    pub much_better: bool,
}

/// The teacher under other settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormalisationCheck {
    /// Samples that it was measured on.
    pub samples: usize,
    /// Accuracy as given on these samples, percent.
    pub as_given: f64,
    /// The settings that were tried.
    pub tried: Vec<TriedNormalisation>,
}

impl NormalisationCheck {
    /// The best of the settings that are much better than the given one.
    #[must_use]
    pub fn better(&self) -> Option<&TriedNormalisation> {
        let better = self.tried.iter().filter(|tried| tried.much_better);
        // The first one of equals.
        better.reduce(|best, next| if next.top1 > best.top1 { next } else { best })
    }

    /// Told if another setting is much better.
    #[must_use]
    pub fn suspicion(&self) -> Option<Suspicion> {
        let TriedNormalisation { name, mean, std, blue_first, top1, .. } = self.better()?;
        let blue = if *blue_first { ", blue channel first" } else { "" };
        let Self { samples, as_given, .. } = self;
        let what = format!(
            "its normalisation seems to be another one: right on {top1:.1} % instead of \
             {as_given:.1} % of {samples} samples with {name}{blue}"
        );
        let lines = format!("`mean = {mean:?}` and `std = {std:?}`");
        let fix = if *blue_first {
            format!(
                "turn around the channels of its first convolution, and set {lines} on it as far \
                 as they differ"
            )
        } else {
            format!("set {lines} on it")
        };
        Some(Suspicion { what, fix })
    }
}

/// Runs a teacher over `part` under common settings.
///
/// `student` is the normalisation that teachers are given, `own` the one that this teacher turns it
/// into. Cost: six passes over the part with one channel, eleven with three.
///
/// # Errors
/// When a batch cannot be prepared or the teacher fails.
pub fn check_normalisation(
    teacher: &mut dyn TeacherSource,
    part: &Split,
    student: &Normalisation,
    own: &Normalisation,
) -> Result<NormalisationCheck> {
    let mut probe = Probe { teacher, part, student, own };
    let given = probe.right(own, false)?;
    let least = Chance::of(part.labels(), probe.teacher.classes()).near_below();
    let samples = part.len();
    let percent = |right: &[bool]| {
        100.0 * right.iter().filter(|r| **r).count() as f64 / samples.max(1) as f64
    };
    let mut tried: Vec<TriedNormalisation> = Vec::new();
    let mut attempt = |name: &str, normalisation: &Normalisation, blue_first| -> Result<()> {
        let right = probe.right(normalisation, blue_first)?;
        let count = |before: bool| {
            given.iter().zip(&right).filter(|&(&b, &a)| b == before && a != before).count()
        };
        let top1 = percent(&right);
        tried.push(TriedNormalisation {
            name: name.to_owned(),
            mean: normalisation.mean.clone(),
            std: normalisation.std.clone(),
            blue_first,
            top1,
            much_better: top1 >= least && much_better(count(false), count(true), samples),
        });
        Ok(())
    };
    let settings = settings(own, student);
    for (name, normalisation) in &settings {
        attempt(name, normalisation, false)?;
    }
    if own.mean.len() == 3 {
        attempt("the constants as given", own, true)?;
        for name in ["constants of ImageNet", "constants of Caffe"] {
            if let Some((_, setting)) = settings.iter().find(|(own, _)| own == name) {
                attempt(name, setting, true)?;
            }
        }
    }
    Ok(NormalisationCheck { samples, as_given: percent(&given), tried })
}

/// The settings worth trying that differ from `own`.
fn settings(own: &Normalisation, student: &Normalisation) -> Vec<(String, Normalisation)> {
    let channels = own.mean.len();
    let even = |&(name, mean, std): &(&str, f32, f32)| {
        (name.to_owned(), Normalisation { mean: vec![mean; channels], std: vec![std; channels] })
    };
    let mut all: Vec<(String, Normalisation)> = ANY_CHANNELS.iter().map(even).collect();
    match channels {
        1 => all.extend(GREY.iter().map(even)),
        3 => all.extend(COLOUR.iter().map(|(name, mean, std)| {
            ((*name).to_owned(), Normalisation { mean: mean.to_vec(), std: std.to_vec() })
        })),
        _ => {}
    }
    all.push(("the data's own constants".to_owned(), student.clone()));
    all.retain(|(_, setting)| setting != own);
    all
}

/// Runs a teacher on pixels that it will take for those of another normalisation.
struct Probe<'a> {
    teacher: &'a mut dyn TeacherSource,
    part: &'a Split,
    student: &'a Normalisation,
    own: &'a Normalisation,
}

impl Probe<'_> {
    /// Whether each sample is right when the teacher's network sees `target` pixels.
    ///
    /// The teacher turns student pixels `x` into its own by `(x σ_s + μ_s - μ_t) / σ_t`. So that
    /// this gives the pixels `(raw - μ_w) / σ_w`, it is handed `((raw - μ_w) / σ_w · σ_t + μ_t -
    /// μ_s) / σ_s`, with `raw = x σ_s + μ_s`.
    fn right(&mut self, target: &Normalisation, blue_first: bool) -> Result<Vec<bool>> {
        let Self { part, student, own, .. } = *self;
        let channels = own.mean.len();
        let factors: Vec<(f32, f32)> = (0..channels)
            .map(|c| {
                let [ms, ss] = [student.mean[c], student.std[c]].map(f64::from);
                let [mt, st] = [own.mean[c], own.std[c]].map(f64::from);
                // The channel that comes here has its own constants.
                let from = if blue_first { channels - 1 - c } else { c };
                let [mw, sw] = [target.mean[from], target.std[from]].map(f64::from);
                let [mf, sf] = [student.mean[from], student.std[from]].map(f64::from);
                let scale = sf / sw * st / ss;
                let shift = ((mf - mw) / sw * st + mt - ms) / ss;
                (scale as f32, shift as f32)
            })
            .collect();
        let mut right = Vec::with_capacity(part.len());
        let classes = self.teacher.classes();
        let [_, height, width] = part.shape()?;
        let positions = height * width;
        let mut images = Vec::new();
        for_each_batch(part, &ViewSettings::plain(student.clone()), |batch| {
            let pixels = batch.inputs.view().images().expect("a split of images");
            images.clear();
            for image in pixels.chunks_exact(channels * positions) {
                for (c, &(scale, shift)) in factors.iter().enumerate() {
                    let from = if blue_first { channels - 1 - c } else { c };
                    let plane = &image[from * positions..(from + 1) * positions];
                    images.extend(plane.iter().map(|x| x * scale + shift));
                }
            }
            let view = View::Probe;
            let probe = TeacherBatch { ids: &batch.ids, view, inputs: (&images).into() };
            let outputs = self.teacher.outputs(&probe, &[])?;
            let own = answers(&outputs.logits, classes);
            right.extend(own.iter().zip(&batch.labels).map(|(a, &label)| *a == Some(label)));
            Ok(())
        })?;
        Ok(right)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faculty_data::rng::{Purpose, below, draw};
    use faculty_data::{ImageSet, SampleId};
    use faculty_nets::MapShape;

    use super::*;
    use faculty_nets::Tap;
    use faculty_nets::{FrozenClassifier, Renormalise, TeacherOutputs};

    /// Knows pixels of `trained` only: names the class whose first red pixel lies nearest, among
    /// classes at 20, 40, … of 255.
    struct Ruler {
        trained: Normalisation,
        renormalise: Option<Renormalise>,
    }

    const CLASSES: usize = 10;

    impl TeacherSource for Ruler {
        fn classes(&self) -> usize {
            CLASSES
        }

        fn tap_shape(&self, _tap: Tap) -> Option<MapShape> {
            None
        }

        fn classifier(&self) -> Option<FrozenClassifier> {
            None
        }

        fn outputs(&mut self, batch: &TeacherBatch<'_>, _taps: &[Tap]) -> Result<TeacherOutputs> {
            let channels = self.trained.mean.len();
            let given = batch.inputs.images().unwrap();
            let mut images = given.to_vec();
            if let Some(renormalise) = &self.renormalise {
                renormalise.apply(given, 4, &mut images);
            }
            let logits = images
                .chunks_exact(4 * channels)
                .flat_map(|image| {
                    let seen = 255.0 * (image[0] * self.trained.std[0] + self.trained.mean[0]);
                    (0..CLASSES).map(move |class| -(seen - 20.0 * (class + 1) as f32).abs())
                })
                .collect();
            Ok(TeacherOutputs { logits, maps: Vec::new() })
        }
    }

    /// The first channel tells the class, the others nothing.
    fn part(channels: usize) -> Split {
        let number = |i, b| draw(Purpose::Method, 2, i, b, 0);
        let mut pixels = Vec::new();
        let mut labels = Vec::new();
        for image in 0..200_u64 {
            let label = below(number(image, 0), CLASSES as u64);
            labels.push(label as u32);
            for channel in 0..channels {
                let message = 20 * (label + 1) + below(number(image, 1), 5);
                let noise = below(number(image, 10 + channel as u64), 256);
                pixels.extend([if channel == 0 { message as u8 } else { noise as u8 }; 4]);
            }
        }
        Split::whole(Arc::new(ImageSet::new(channels, 2, 2, pixels, labels).unwrap()))
    }

    fn check(
        trained: &Normalisation,
        own: &Normalisation,
        student: &Normalisation,
    ) -> NormalisationCheck {
        let renormalise =
            Renormalise::between((&student.mean, &student.std), (&own.mean, &own.std));
        let mut teacher = Ruler { trained: trained.clone(), renormalise };
        check_normalisation(&mut teacher, &part(own.mean.len()), student, own).unwrap()
    }

    fn grey(mean: f32, std: f32) -> Normalisation {
        Normalisation { mean: vec![mean], std: vec![std] }
    }

    #[test]
    fn names_the_constants_that_a_teacher_was_trained_with() {
        let student = grey(0.4, 0.25);
        for (name, mean, std) in ANY_CHANNELS.iter().chain(GREY) {
            let trained = grey(*mean, *std);
            // As given by the data's constants, and by wrong ones of its own.
            for own in [student.clone(), grey(0.9, 0.1)] {
                let check = check(&trained, &own, &student);
                let better = check.better().unwrap_or_else(|| panic!("{name}: {check:?}"));
                assert_eq!(&better.name, name);
                assert_eq!((better.top1, better.blue_first), (100.0, false), "{check:?}");
                let message = check.suspicion().unwrap().to_string();
                assert!(message.contains(&format!("`mean = [{mean:?}]`")), "{message}");
            }
        }
    }

    #[test]
    fn is_quiet_when_the_constants_are_right_or_nothing_helps() {
        let student = grey(0.4, 0.25);
        let right = check(&student, &student, &student);
        assert_eq!((right.as_given, right.suspicion()), (100.0, None));
        let own = grey(0.1307, 0.3081);
        let right = check(&own, &own, &student);
        assert!(right.as_given > 99.0, "{right:?}");
        assert_eq!(right.suspicion(), None);
        let strange = check(&grey(-40.0, 0.01), &student, &student);
        assert_eq!(strange.suspicion(), None, "{strange:?}");
    }

    #[test]
    fn knows_colour_constants_and_a_blue_channel_first() {
        let student = Normalisation { mean: vec![0.3, 0.5, 0.6], std: vec![0.2, 0.25, 0.3] };
        let (name, mean, std) = COLOUR[0];
        let imagenet = Normalisation { mean: mean.to_vec(), std: std.to_vec() };
        let found = check(&imagenet, &student, &student);
        assert_eq!(found.better().unwrap().name, name);

        // A teacher that reads the class from the last channel of what the data gives.
        struct Blue(Ruler);
        impl TeacherSource for Blue {
            fn classes(&self) -> usize {
                self.0.classes()
            }
            fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
                self.0.tap_shape(tap)
            }
            fn classifier(&self) -> Option<FrozenClassifier> {
                None
            }
            fn outputs(
                &mut self,
                batch: &TeacherBatch<'_>,
                taps: &[Tap],
            ) -> Result<TeacherOutputs> {
                let given = batch.inputs.images().unwrap();
                let turned: Vec<f32> = given
                    .chunks_exact(12)
                    .flat_map(|image| image.rchunks_exact(4).flatten().copied())
                    .collect();
                let ids: &[SampleId] = batch.ids;
                let inputs = (&turned).into();
                self.0.outputs(&TeacherBatch { ids, view: batch.view, inputs }, taps)
            }
        }
        let trained = Normalisation { mean: vec![0.3; 3], std: vec![0.2; 3] };
        let own = trained.clone();
        let mut teacher = Blue(Ruler { trained, renormalise: None });
        let found = check_normalisation(&mut teacher, &part(3), &own, &own).unwrap();
        let better = found.better().unwrap();
        assert!(better.blue_first, "{found:?}");
        assert_eq!(better.top1, 100.0);
        let message = found.suspicion().unwrap();
        assert!(message.what.contains("blue channel first"), "{message}");
    }
}
