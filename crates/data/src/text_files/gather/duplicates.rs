//! Texts that are there more than once.
//!
//! ```text
//! in training, same label      one sample counts twice; held out, its copy is in training
//! in training, other labels    one of the labels is wrong, or the task is not clear
//! in another split too         the network is tested on what it has learnt: results are too good
//! ```
//!
//! All three are told in notes. They are kept by default, since published results have them in; with
//! [`OnDuplicateText::Drop`] training loses the texts that other splits have, whatever their label,
//! and all but one of those with the same label. Texts with several labels stay: which one is right is
//! not known here. What other splits hold is never changed.

use std::collections::{HashMap, HashSet};

use faculty_inputs::Text;

use super::sample::Sample;
use crate::splits::Splits;
use crate::{OnDuplicateText, ReadOptions};

/// Makes notes of duplicates.
pub(super) fn tell(splits: &Splits<Vec<Sample>>, options: &ReadOptions, notes: &mut Vec<String>) {
    let mut seen: HashMap<&Text, &Sample> = HashMap::with_capacity(splits.train.len());
    let (mut copies, mut disputed) = (Vec::new(), Vec::new());
    let mut known: HashSet<(&Text, u32)> = HashSet::with_capacity(splits.train.len());
    for sample in &splits.train {
        let first = *seen.entry(&sample.text).or_insert(sample);
        if !known.insert((&sample.text, sample.label)) {
            copies.push((first, sample));
        } else if first.label != sample.label {
            disputed.push((first, sample));
        }
    }
    let drops = options.on_duplicate_text == OnDuplicateText::Drop;
    if let Some((first, other)) = copies.first() {
        let (count, at, again) = (copies.len(), first.at(), other.at());
        let what = match drops {
            true => "are left out",
            false => "are kept; `on_duplicate_text = \"drop\"` leaves them out",
        };
        notes.push(format!(
            "{count} training texts are copies of others with the same label and {what}: the first \
             is {again}, as {at}"
        ));
    }
    if let Some((first, other)) = disputed.first() {
        let (count, at, again) = (disputed.len(), first.at(), other.at());
        notes.push(format!(
            "{count} training texts are copies of others with another label: the first is {again}, \
             as {at}"
        ));
    }
    for (name, split) in [("validation", &splits.validation), ("test", &splits.test)] {
        let shared = || {
            let samples = split.iter().flatten();
            samples.filter_map(|sample| Some((*seen.get(&sample.text)?, sample)))
        };
        if let Some((first, other)) = shared().next() {
            let (count, at, again) = (shared().count(), first.at(), other.at());
            let what = match drops {
                true => "left out of training",
                false => {
                    "so results on them are too good; `on_duplicate_text = \"drop\"` leaves them out \
                     of training"
                }
            };
            notes.push(format!(
                "{count} {name} texts are among the training texts, {what}: the first is {again}, \
                 as {at}"
            ));
        }
    }
}

/// Leaves duplicates out of training, if the options say so.
pub(super) fn leave_out(splits: &mut Splits<Vec<Sample>>, options: &ReadOptions) {
    if options.on_duplicate_text == OnDuplicateText::Keep {
        return;
    }
    let others = splits.validation.iter().chain(&splits.test).flatten();
    let shared: HashSet<Text> = others.map(|sample| sample.text.clone()).collect();
    let mut seen = HashSet::new();
    splits.train.retain(|sample| {
        !shared.contains(&sample.text) && seen.insert((sample.text.clone(), sample.label))
    });
}
