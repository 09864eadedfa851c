//! Batches, prepared ahead by a thread.

use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::panic_message;
use crate::{DataError, Inputs, MixedLabels, SampleId, Split, View, ViewSettings};
use faculty_comm::Share;

/// Batches that wait ready; with the one in work, one more is in memory.
const AHEAD: usize = 3;

/// How [`BatchLoader`] makes batches.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Samples of a batch, at least 1.
    pub batch_size: usize,
    /// Whether to leave out a last batch that is not full; default no.
    pub drop_last: bool,
    /// Which view of every sample; default [`View::Plain`].
    pub view: View,
    /// How samples become views.
    pub views: ViewSettings,
    /// Which neighbouring samples of each batch are made; default all.
    pub share: Share,
}

impl LoaderConfig {
    /// For evaluation: every sample as it is.
    #[must_use]
    pub fn new(batch_size: usize, views: ViewSettings) -> Self {
        Self { batch_size, drop_last: false, view: View::Plain, views, share: Share::WHOLE }
    }

    /// For training: the view of this number.
    #[must_use]
    pub fn training(batch_size: usize, views: ViewSettings, number: u32) -> Self {
        Self { batch_size, drop_last: false, view: View::Train(number), views, share: Share::WHOLE }
    }

    /// With a last batch that is not full left out, or not.
    #[must_use]
    pub fn with_drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// With a part of each batch alone. Where that has no samples, as in a last batch of fewer samples than
    /// there are parts, it has one that belongs to another part: [`Batch::absent`].
    #[must_use]
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }
}

/// Some samples, ready for the network.
///
/// # Shapes
/// ids, labels, positions `[batch]`
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which samples.
    pub ids: Vec<SampleId>,
    /// Their labels in the part.
    pub labels: Vec<u32>,
    /// Their second labels, if the view of one of them is mixed.
    pub mixed: Option<MixedLabels>,
    /// Their positions in the part.
    pub positions: Vec<usize>,
    /// Which view of them.
    pub view: View,
    /// What a network gets.
    pub inputs: Inputs,
    /// Samples of the batch that this is a part of, or the whole of.
    pub whole: usize,
    /// Whether this part is empty: what is here then stands in and does not count.
    pub absent: bool,
}

impl Batch {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no samples; the loader gives no such batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Gives the batches of one pass over a part, prepared ahead by a thread.
///
/// The batches are the same on every run and machine. Up to four batches beyond the one in use are
/// in memory. Dropping the loader early stops the thread within one batch.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use faculty_data::{BatchLoader, ImageSet, LoaderConfig, Normalisation, Split, ViewSettings};
///
/// let set = ImageSet::new(1, 2, 2, vec![0; 40], vec![0; 10])?;
/// let part = Split::whole(Arc::new(set));
/// let views = ViewSettings::plain(Normalisation::identity(1));
/// let config = LoaderConfig::new(4, views);
/// let mut loader = BatchLoader::new(&part, part.epoch_order(1, 0), config)?;
/// let mut sizes = Vec::new();
/// while let Some(batch) = loader.next() {
///     let batch = batch?;
///     sizes.push(batch.len());
///     loader.recycle(batch);
/// }
/// assert_eq!(sizes, [4, 4, 2]);
/// # Ok::<(), faculty_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct BatchLoader {
    batches: Option<Receiver<Batch>>,
    buffers: Sender<Inputs>,
    worker: Option<JoinHandle<()>>,
    left: usize,
    data_wait: Duration,
}

impl BatchLoader {
    /// Starts to prepare the samples at the positions `order` of `part`, in that order.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] if the batch size is 0 or a position is not in the part; what
    /// [`Split::collator`] refuses; [`DataError::LoaderThread`] if no thread can be started.
    pub fn new(part: &Split, order: Vec<usize>, config: LoaderConfig) -> Result<Self, DataError> {
        let LoaderConfig { batch_size, drop_last, view, views, share } = config;
        if batch_size == 0 {
            return Err(DataError::OutOfRange {
                name: "the batch size",
                found: "0".to_owned(),
                range: "at least 1".to_owned(),
            });
        }
        part.check_positions(&order)?;
        let collator = part.collator(&views)?;
        let count =
            if drop_last { order.len() / batch_size } else { order.len().div_ceil(batch_size) };
        let part = part.clone();
        let mixing = views.mixing().cloned();
        Self::start(count, move |index, mut inputs| {
            let end = order.len().min((index + 1) * batch_size);
            let all = &order[index * batch_size..end];
            let (whole, own) = (all.len(), share.of(all.len()));
            let absent = own.is_empty();
            let positions = all[if absent { 0..1 } else { own }].to_vec();
            let indices: Vec<usize> = positions.iter().map(|&at| part.indices()[at]).collect();
            collator.collate(&indices, view, &mut inputs);
            let ids: Vec<SampleId> = positions.iter().map(|&at| part.id(at)).collect();
            let labels: Vec<u32> = positions.iter().map(|&at| part.label(at)).collect();
            let mixed = match (view, &mixing) {
                (View::Train(number), Some(mixing)) => {
                    mixing.labels(views.seed, &ids, &labels, number)
                }
                _ => None,
            };
            Batch { ids, labels, mixed, positions, view, inputs, whole, absent }
        })
    }

    /// Starts a thread that makes `count` batches with `make(index, buffer)`.
    fn start(
        count: usize,
        make: impl Fn(usize, Inputs) -> Batch + Send + 'static,
    ) -> Result<Self, DataError> {
        // One batch waits in the thread's hand when the channel is full.
        let (send, batches): (SyncSender<Batch>, _) = sync_channel(AHEAD);
        let (buffers, free) = channel::<Inputs>();
        let worker = std::thread::Builder::new()
            .name("faculty-batches".to_owned())
            .spawn(move || {
                for index in 0..count {
                    let batch = make(index, free.try_recv().unwrap_or_default());
                    if send.send(batch).is_err() {
                        return; // the loader was dropped
                    }
                }
            })
            .map_err(|source| DataError::LoaderThread { source })?;
        Ok(Self {
            batches: Some(batches),
            buffers,
            worker: Some(worker),
            left: count,
            data_wait: Duration::ZERO,
        })
    }

    /// Batches still to come.
    #[must_use]
    pub fn batches_left(&self) -> usize {
        self.left
    }

    /// How long the caller of `next` was blocked because no batch was ready, in total, the first
    /// batch included.
    #[must_use]
    pub fn data_wait(&self) -> Duration {
        self.data_wait
    }

    /// Gives the inputs of a batch back for later batches; not needed, but it saves
    /// allocations.
    pub fn recycle(&self, batch: Batch) {
        // An error means that the thread is done and needs no buffers.
        drop(self.buffers.send(batch.inputs));
    }

    /// Why the channel closed although batches are missing.
    fn failure(&mut self) -> DataError {
        let message = match self.worker.take().map(JoinHandle::join) {
            Some(Err(payload)) => panic_message(payload.as_ref()),
            _ => "it ended early".to_owned(),
        };
        DataError::LoaderPanicked { message }
    }
}

impl Iterator for BatchLoader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let batches = self.batches.as_ref()?;
        let received = match batches.try_recv() {
            Ok(batch) => Some(batch),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let start = Instant::now();
                let received = batches.recv().ok();
                self.data_wait += start.elapsed();
                received
            }
        };
        match received {
            Some(batch) => {
                self.left -= 1;
                Some(Ok(batch))
            }
            None => {
                self.left = 0;
                Some(Err(self.failure()))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl Drop for BatchLoader {
    fn drop(&mut self) {
        // Close the channel first: the thread may be blocked on it.
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            // Its panic, if any, was about batches that nobody wants any more.
            drop(worker.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::split::tests::numbered;
    use crate::{Augmentation, ImageViews, Normalisation, Renderer};

    fn part(len: usize) -> Split {
        Split::whole(Arc::new(numbered(len)))
    }

    fn config(batch_size: usize) -> LoaderConfig {
        let augmentation = Augmentation::crop_and_flip(2, true);
        let views = ViewSettings::of_images(augmentation, Normalisation::identity(1), 3);
        LoaderConfig::training(batch_size, views, 5)
    }

    fn collect(part: &Split, order: Vec<usize>, config: LoaderConfig) -> Vec<Batch> {
        BatchLoader::new(part, order, config).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn yields_every_sample_exactly_once_in_the_order_given() {
        for len in [1, 7, 8, 9, 100] {
            for batch_size in [1, 3, 8, 1000] {
                let part = part(len);
                let order = part.epoch_order(1, 2);
                let batches = collect(&part, order.clone(), config(batch_size));
                let got: Vec<usize> = batches.iter().flat_map(|b| b.positions.clone()).collect();
                assert_eq!(got, order, "{len} samples in batches of {batch_size}");
                assert_eq!(batches.len(), len.div_ceil(batch_size));
                assert!(batches.iter().all(|b| pixels(b).len() == b.len() * 12));
            }
        }
    }

    #[test]
    fn drop_last_leaves_out_only_a_batch_that_is_not_full() {
        let sizes = |len| {
            let part = part(len);
            let batches = collect(&part, part.plain_order(), config(4).with_drop_last(true));
            batches.iter().map(Batch::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(9), [4, 4]);
        assert_eq!(sizes(8), [4, 4]);
        assert!(sizes(3).is_empty());
        assert!(sizes(0).is_empty());
    }

    #[test]
    fn shares_of_batches_are_whole_together_and_an_empty_one_has_a_stand_in() {
        let part = part(11);
        let order = part.epoch_order(1, 2);
        let whole = collect(&part, order.clone(), config(4).with_drop_last(false));
        for count in 1..=5 {
            let shares: Vec<Vec<Batch>> = (0..count)
                .map(|index| Share::new(index, count).unwrap())
                .map(|share| collect(&part, order.clone(), config(4).with_share(share)))
                .collect();
            for (index, batch) in whole.iter().enumerate() {
                let own = || shares.iter().map(|share| &share[index]);
                assert!(own().all(|own| own.whole == batch.len()));
                let counted = own().filter(|own| !own.absent);
                let ids: Vec<SampleId> = counted.flat_map(|own| own.ids.clone()).collect();
                assert_eq!(ids, batch.ids, "{count} shares");
                let stand_ins = own().filter(|own| own.absent);
                assert!(stand_ins.clone().all(|own| own.ids == batch.ids[..1]));
                assert_eq!(stand_ins.count(), count.saturating_sub(batch.len()));
            }
        }
    }

    #[test]
    fn images_are_the_views_of_the_ids() {
        let part = part(30).with_labels((100..130).collect()).unwrap();
        let config = config(7);
        let ImageViews { augmentation, normalisation, .. } = config.views.images().unwrap();
        let renderer = Renderer::new([1, 3, 4], *augmentation, normalisation, 3).unwrap();
        for batch in collect(&part, part.epoch_order(1, 0), config) {
            assert_eq!(batch.view, View::Train(5));
            for (i, &position) in batch.positions.iter().enumerate() {
                assert_eq!(batch.ids[i], part.id(position));
                assert_eq!(batch.labels[i], 100 + position as u32);
                let mut expected = vec![0.0; 12];
                renderer.render_into(part.image(position).unwrap(), batch.ids[i], 5, &mut expected);
                assert_eq!(pixels(&batch)[i * 12..(i + 1) * 12], expected);
            }
        }
    }

    #[test]
    fn recycled_buffers_change_nothing() {
        let part = part(50);
        let plain = collect(&part, part.plain_order(), config(8));
        let mut loader = BatchLoader::new(&part, part.plain_order(), config(8)).unwrap();
        for expected in plain {
            let batch = loader.next().unwrap().unwrap();
            assert_eq!(batch, expected);
            loader.recycle(batch);
        }
        assert!(loader.next().is_none());
    }

    #[test]
    fn dropping_early_stops_the_thread() {
        let set = Arc::new(numbered(10_000));
        let part = Split::whole(Arc::clone(&set));
        for taken in [0, 1, 5] {
            let mut loader = BatchLoader::new(&part, part.plain_order(), config(2)).unwrap();
            for _ in 0..taken {
                loader.next().unwrap().unwrap();
            }
            drop(loader);
            // The part of the thread is gone: the set is shared by `part` and `set` alone.
            assert_eq!(Arc::strong_count(&set), 2);
        }
    }

    #[test]
    fn prepares_ahead_but_not_without_bound() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let mut loader = BatchLoader::start(100, move |_, inputs| {
            counter.fetch_add(1, Ordering::SeqCst);
            empty_batch(inputs)
        })
        .unwrap();
        loader.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let ahead = made.load(Ordering::SeqCst) - 1;
        assert!(ahead <= AHEAD + 1, "{ahead} batches ahead");
    }

    #[test]
    fn a_panic_of_the_thread_is_an_error_and_then_the_end() {
        let mut loader = BatchLoader::start(5, |index, inputs| {
            assert!(index < 2, "no batch {index}");
            empty_batch(inputs)
        })
        .unwrap();
        assert!(loader.next().unwrap().is_ok());
        assert!(loader.next().unwrap().is_ok());
        let error = loader.next().unwrap().unwrap_err();
        assert!(matches!(&error, DataError::LoaderPanicked { message } if message == "no batch 2"));
        assert!(loader.next().is_none());
    }

    #[test]
    fn data_wait_counts_the_blocked_time_alone() {
        let slow = Duration::from_millis(20);
        let mut loader = BatchLoader::start(3, move |_, inputs| {
            std::thread::sleep(slow);
            empty_batch(inputs)
        })
        .unwrap();
        while loader.next().is_some() {}
        assert!(loader.data_wait() >= 2 * slow, "{:?}", loader.data_wait());

        let mut loader = BatchLoader::start(3, |_, inputs| empty_batch(inputs)).unwrap();
        while !loader.worker.as_ref().unwrap().is_finished() {
            std::thread::yield_now();
        }
        // All batches are ready: nobody waits.
        while loader.next().is_some() {}
        assert_eq!(loader.data_wait(), Duration::ZERO);
    }

    #[test]
    fn refuses_an_empty_batch_size_and_foreign_positions() {
        let part = part(5);
        assert!(matches!(
            BatchLoader::new(&part, vec![0], config(0)),
            Err(DataError::OutOfRange { name: "the batch size", .. })
        ));
        assert!(matches!(
            BatchLoader::new(&part, vec![5], config(1)),
            Err(DataError::OutOfRange { .. })
        ));
    }

    fn pixels(batch: &Batch) -> &[f32] {
        batch.inputs.view().images().unwrap()
    }

    fn empty_batch(inputs: Inputs) -> Batch {
        let view = View::Plain;
        Batch {
            ids: vec![],
            labels: vec![],
            mixed: None,
            positions: vec![],
            view,
            inputs,
            whole: 0,
            absent: false,
        }
    }
}
