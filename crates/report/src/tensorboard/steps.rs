//! Scalars of single training steps, and which of them are still true when a run goes on.

use super::record::{event_of, framed};

/// The tag by which events of steps are known, and which says how far the run is, in epochs.
const EPOCHS: &str = "step/epochs";

/// Numbers of one training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// The epoch in work, from 1.
    pub epoch: usize,
    /// Batches of it that are done, this one too.
    pub batch: usize,
    /// Batches of every epoch.
    pub batches: usize,
    /// Loss of this batch.
    pub loss: f64,
    /// Speed of the epoch so far.
    pub images_per_second: f64,
}

impl StepRecord {
    /// Steps since the run began, this one too.
    #[must_use]
    pub fn step(&self) -> usize {
        (self.epoch - 1) * self.batches + self.batch
    }

    /// Every number with its tag.
    #[must_use]
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let epochs = (self.epoch - 1) as f64 + self.batch as f64 / self.batches.max(1) as f64;
        vec![
            (EPOCHS.to_owned(), epochs),
            ("step/loss".to_owned(), self.loss),
            ("step/images_per_second".to_owned(), self.images_per_second),
        ]
    }

    pub(super) fn event(&self, time: f64) -> Vec<u8> {
        event_of(self.step(), &self.scalars(), time)
    }
}

/// The events of steps in a file, whole records, that a run which goes on after `batch` batches of
/// `epoch` will not make again. A file that is damaged gives those before the damage.
pub(super) fn kept(file: &[u8], epoch: usize, batch: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    for event in events(file) {
        let Some((step, epochs)) = step_of(event) else { continue };
        // Steps of an epoch follow from how far the run was after how many of them.
        let batches = (step as f64 / epochs).round().max(1.0);
        let own_epoch = (step as f64 / batches).ceil();
        let own_batch = step as f64 - (own_epoch - 1.0) * batches;
        if own_epoch < epoch as f64 || own_epoch == epoch as f64 && own_batch <= batch as f64 {
            kept.extend(framed(event));
        }
    }
    kept
}

/// The events of a file that have a step up to this one, whole records; those of no step, as the first,
/// are left out.
pub(super) fn events_until(file: &[u8], last: u64) -> Vec<u8> {
    let step = |event: &[u8]| {
        fields(event).find_map(|(number, content)| match (number, content) {
            (2, Content::Number(step)) => Some(step),
            _ => None,
        })
    };
    let kept = events(file).filter(|event| step(event).is_some_and(|own| own <= last));
    kept.flat_map(framed).collect()
}

/// The events of a file, as far as their lengths are those of records.
fn events(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = file;
    std::iter::from_fn(move || {
        let length = u64::from_le_bytes(*rest.first_chunk()?);
        let event = rest.get(12..)?.get(..usize::try_from(length).ok()?)?;
        // Whatever the checksum says: it must be the record that would be written again.
        let record = rest.get(..16 + event.len())?;
        if record != framed(event) {
            return None;
        }
        rest = &rest[record.len()..];
        Some(event)
    })
}

/// The step and the epochs of an event of a step; none of others.
fn step_of(event: &[u8]) -> Option<(u64, f64)> {
    let mut step = None;
    let mut epochs = None;
    for (number, content) in fields(event) {
        match (number, content) {
            (2, Content::Number(own)) => step = Some(own),
            (5, Content::Bytes(summary)) => {
                for (_, value) in fields(summary) {
                    let Content::Bytes(value) = value else { continue };
                    let mut own = fields(value);
                    if let (Some((1, Content::Bytes(tag))), Some((2, Content::Float(number)))) =
                        (own.next(), own.next())
                        && tag == EPOCHS.as_bytes()
                    {
                        epochs = Some(f64::from(number));
                    }
                }
            }
            _ => {}
        }
    }
    step.zip(epochs.filter(|epochs| *epochs > 0.0))
}

enum Content<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message of protocol buffers, until something is none.
fn fields(message: &[u8]) -> impl Iterator<Item = (u64, Content<'_>)> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let key = varint(&mut rest)?;
        let content = match key & 7 {
            0 => Content::Number(varint(&mut rest)?),
            1 => take(&mut rest, 8).map(|_| Content::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Content::Bytes(take(&mut rest, length)?)
            }
            5 => Content::Float(f32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, content))
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: usize, batch: usize) -> StepRecord {
        StepRecord { epoch, batch, batches: 7, loss: 0.5, images_per_second: 100.0 }
    }

    #[test]
    fn a_run_that_goes_on_keeps_the_steps_that_it_will_not_make_again() {
        let mut file = framed(&event_of(1, &[("loss/total".to_owned(), 1.0)], 1.0));
        for (epoch, batch) in (1..=3).flat_map(|epoch| [2, 4, 7].map(|batch| (epoch, batch))) {
            file.extend(framed(&record(epoch, batch).event(2.0)));
        }
        let steps =
            |kept: &[u8]| events(kept).map(|event| step_of(event).unwrap().0).collect::<Vec<u64>>();
        assert_eq!(steps(&kept(&file, 4, 0)), [2, 4, 7, 9, 11, 14, 16, 18, 21]);
        assert_eq!(steps(&kept(&file, 3, 2)), [2, 4, 7, 9, 11, 14, 16]);
        assert_eq!(steps(&kept(&file, 3, 0)), [2, 4, 7, 9, 11, 14]);
        assert_eq!(steps(&kept(&file, 1, 0)), [0; 0]);
        // Damaged or cut short: what is before it.
        for end in 0..file.len() {
            assert!(kept(&file[..end], 9, 0).len() <= end);
        }
        let at = file.len() - 30;
        file[at] ^= 1;
        assert_eq!(steps(&kept(&file, 4, 0)).len(), 8);
        assert_eq!(kept(&[255; 64], 9, 0), [0; 0]);
    }
}
