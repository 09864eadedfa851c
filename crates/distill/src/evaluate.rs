//! Quality of networks on a split of a data set.

use faculty_comm::{Group, Share};
use faculty_data::{BatchLoader, LoaderConfig, Split, ViewSettings};
use faculty_nets::{Inference, Network};
use faculty_records::quality::{Quality, QualityMeter};
use faculty_teachers::for_each_batch;

use crate::error::Result;

/// Images of the batch on which outputs are looked at.
const BATCH: usize = 128;

/// Quality of a network in inference mode on plain images; `None` for an empty part.
///
/// # Errors
/// When the images do not fit the normalisation, or a batch cannot be prepared.
pub fn network_quality(
    network: &Network,
    part: &Split,
    views: &ViewSettings,
) -> Result<Option<Quality>> {
    let mut plan = Inference::new(network, &[]);
    let mut meter = QualityMeter::default();
    for_each_batch(part, views, |batch| {
        meter.add(plan.run(&batch.inputs, batch.len()), &batch.labels);
        Ok(())
    })?;
    Ok(meter.quality())
}

/// [`network_quality`], of which each process of a group measures its part of the samples.
///
/// # Errors
/// As there, and when a process is gone.
pub(crate) fn quality_among(
    group: &Group,
    network: &Network,
    part: &Split,
    views: &ViewSettings,
) -> Result<Option<Quality>> {
    let Some(share) = Share::new(group.rank(), group.size()).filter(|share| !share.is_whole())
    else {
        return network_quality(network, part, views);
    };
    let order = part.plain_order();
    let own = order[share.of(order.len())].to_vec();
    let mut plan = Inference::new(network, &[]);
    let mut meter = QualityMeter::default();
    let mut loader = BatchLoader::new(part, own, LoaderConfig::new(BATCH, views.clone()))?;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        meter.add(plan.run(&batch.inputs, batch.len()), &batch.labels);
        loader.recycle(batch);
    }
    let mut sums = meter.sums(network.classes());
    group.sum(&mut sums);
    group.check()?;
    Ok(QualityMeter::of_sums(&sums).quality())
}

/// Mean of a network's logits in inference mode over these batches, `[classes]`.
///
/// # Errors
/// When a batch cannot be prepared.
pub(crate) fn mean_logits(network: &Network, mut batches: BatchLoader) -> Result<Vec<f64>> {
    let mut plan = Inference::new(network, &[]);
    let (mut sums, mut count) = (vec![0.0; network.classes()], 0.0);
    while let Some(batch) = batches.next() {
        let batch = batch?;
        for row in plan.run(&batch.inputs, batch.len()).chunks_exact(sums.len()) {
            sums.iter_mut().zip(row).for_each(|(sum, &z)| *sum += f64::from(z));
            count += 1.0;
        }
        batches.recycle(batch);
    }
    Ok(sums.into_iter().map(|sum| sum / count).collect())
}

/// The first logit of a network that is no number, on the first batch of a part.
pub(crate) fn broken_output(
    network: &Network,
    part: &Split,
    views: &ViewSettings,
) -> Result<Option<f64>> {
    let config = LoaderConfig::new(BATCH, views.clone());
    let Some(batch) = BatchLoader::new(part, part.plain_order(), config)?.next() else {
        return Ok(None);
    };
    let batch = batch?;
    let mut plan = Inference::new(network, &[]);
    let mut logits = plan.run(&batch.inputs, batch.len()).iter();
    Ok(logits.find(|logit| !logit.is_finite()).map(|&logit| f64::from(logit)))
}
