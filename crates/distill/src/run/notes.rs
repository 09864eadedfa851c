//! What a reader of a run should know of the way it is trained, where that is not the usual one.

use faculty_contract::Needs;
use faculty_data::{ViewKind, ViewSettings};
use faculty_nets::Precision;
use faculty_recipe::{BestBy, Sampling};

use crate::settings::Settings;

/// Of the student itself, in a plan not of its peers.
pub(super) fn student_note(settings: &Settings) -> Option<String> {
    let factor = settings.rules.classifier_rate_factor;
    (factor != 1.0).then(|| format!("the classifier's learning rate is {factor} times the others'"))
}

/// Of a method with these needs on these views.
pub(super) fn training_notes(
    settings: &Settings,
    needs: &Needs,
    views: &ViewSettings,
) -> Vec<String> {
    let Settings { batch_size, accumulate, .. } = settings;
    let mut notes = Vec::new();
    if let ViewKind::Images(views) = &views.kind
        && let Some(augmentation) = views.words()
    {
        notes.push(format!("each training view: {augmentation}"));
    }
    if *accumulate > 1 {
        let mut note = format!(
            "one update from {accumulate} batches of {batch_size}: batch norm normalises by each batch"
        );
        if needs.min_batch > 1 || needs.full_batches {
            note += ", and the method compares the samples within each, not within all of them";
        }
        notes.push(note);
    }
    if settings.precision != Precision::F32 {
        notes.push(format!(
            "steps round the factors of convolutions and matrix products to {}; measured and delivered \
             is the network in f32",
            settings.precision.name()
        ));
    }
    if let Some(decay) = settings.ema {
        notes.push(format!(
            "measured and delivered is the moving average of the student's weights and running \
             statistics, decay {decay}"
        ));
    }
    if settings.sampling == Sampling::Balanced {
        notes.push(
            "an epoch has as many samples of each class: some of rare classes several times, not all \
             of frequent ones"
                .to_owned(),
        );
    }
    if settings.rules.exempt_norms_and_biases {
        notes.push("norms and biases have no weight decay".to_owned());
    }
    if settings.best_by != BestBy::Top1 {
        notes.push(format!("the best epoch is chosen by `{}`", settings.best_by.name()));
    }
    if let Some(patience) = settings.patience {
        notes.push(format!(
            "it stops when `{}` has not improved for {patience} epochs",
            settings.best_by.name()
        ));
    }
    notes
}
