//! The rounds: texts at work, in the order of the rows of both caches.

use faculty_inputs::Tokens;
use faculty_nets::{Decoder, KvCache};
use faculty_random::{Purpose, draw, unit};
use rayon::prelude::*;

use super::acceptance::{Acceptance, Draft, judge};
use super::config::{Speculated, SpeculativeConfig, SpeculativeCounts, teacher_seed};
use crate::generation::{End, Generated, Prompt, key};

/// A text at work.
struct Row {
    /// Number of its prompt.
    prompt: usize,
    /// Of its tokens' draws.
    key: u64,
    /// Prompt and what stays.
    text: Vec<u32>,
    /// Tokens of the prompt.
    begin: usize,
    /// Most tokens of `text`.
    limit: usize,
    drafts: Vec<Draft>,
    counts: SpeculativeCounts,
}

impl Row {
    /// The tokens from a place on, of the text and behind it the drafts.
    fn from(&self, start: usize) -> Vec<u32> {
        let drafts = self.drafts.iter().map(|draft| draft.token);
        self.text.iter().copied().chain(drafts).skip(start).collect()
    }

    fn len(&self) -> usize {
        self.text.len() + self.drafts.len()
    }

    /// Whether one more draft is to come in a round of so many.
    fn goes_on(&self, drafts: usize, ends: &[u32]) -> bool {
        let is_ended = self.drafts.last().is_some_and(|draft| ends.contains(&draft.token));
        self.drafts.len() < drafts && self.len() < self.limit && !is_ended
    }
}

/// A model with its cache.
struct Model<'a> {
    decoder: &'a mut Decoder,
    cache: KvCache,
    logits: Vec<f32>,
}

impl Model<'_> {
    /// Reads the next tokens of all rows and makes logits of the last so many of each.
    fn read(&mut self, next: &Tokens, counts: &[usize]) {
        let width = self.decoder.config().width;
        let hidden = self.decoder.next(next, &mut self.cache);
        let mut last = Vec::new();
        for (row, count) in counts.iter().enumerate() {
            let end = next.range(row).end;
            last.extend_from_slice(&hidden[(end - count) * width..end * width]);
        }
        self.decoder.logits(&last, &mut self.logits);
    }
}

/// What becomes of a row's drafts: how many stay, and the teacher's token behind them.
struct Verdict {
    kept: usize,
    other: Option<u32>,
}

/// All texts.
pub(super) struct Session<'a> {
    student: Model<'a>,
    teacher: Model<'a>,
    prompts: &'a [Prompt],
    ends: &'a [u32],
    config: &'a SpeculativeConfig,
    /// Tokens that both models read at most.
    longest: usize,
    /// Prompts that are at work or done.
    started: usize,
    rows: Vec<Row>,
    results: Vec<Speculated>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        [student, teacher]: [&'a mut Decoder; 2],
        prompts: &'a [Prompt],
        ends: &'a [u32],
        config: &'a SpeculativeConfig,
        [slots, capacity, longest]: [usize; 3],
    ) -> Self {
        let model = |decoder: &'a mut Decoder| Model {
            cache: decoder.cache(slots, capacity),
            decoder,
            logits: Vec::new(),
        };
        let none = Speculated {
            text: Generated { ids: Vec::new(), end: End::MaxTokens },
            counts: SpeculativeCounts::default(),
        };
        Self {
            student: model(student),
            teacher: model(teacher),
            prompts,
            ends,
            config,
            longest,
            started: 0,
            rows: Vec::new(),
            results: vec![none; prompts.len()],
        }
    }

    pub(super) fn into_results(self) -> Vec<Speculated> {
        self.results
    }

    /// The next tokens of every text at work; whether there was one.
    pub(super) fn round(&mut self, each: &mut impl FnMut(usize, u32)) -> bool {
        self.admit();
        if self.rows.is_empty() {
            return false;
        }
        while self.draft() {}
        let verdicts = self.verdicts();
        self.keep(&verdicts, each);
        true
    }

    /// Begins prompts for which there is room.
    fn admit(&mut self) {
        while self.student.cache.free() > 0 && self.started < self.prompts.len() {
            let prompt = &self.prompts[self.started];
            self.student.cache.begin();
            self.teacher.cache.begin();
            let begin = prompt.ids.len();
            self.rows.push(Row {
                prompt: self.started,
                key: key(prompt),
                text: prompt.ids.clone(),
                begin,
                // The last token needs no room: nothing is read behind it.
                limit: begin.saturating_add(self.config.max_tokens).min(self.longest + 1),
                drafts: Vec::new(),
                counts: SpeculativeCounts::default(),
            });
            self.started += 1;
        }
    }

    /// One more draft of every text that is to have one; whether there was one.
    fn draft(&mut self) -> bool {
        let SpeculativeConfig { drafts, acceptance, student: sampling, seed, .. } = *self.config;
        let goes_on: Vec<bool> =
            self.rows.iter().map(|row| row.goes_on(drafts, self.ends)).collect();
        if !goes_on.contains(&true) {
            return false;
        }
        let mut next = Tokens::default();
        for (number, (row, &goes_on)) in self.rows.iter().zip(&goes_on).enumerate() {
            let cache = &mut self.student.cache;
            if !goes_on {
                // A cache takes at least a token of every row: the last one is read once more.
                cache.roll_back(number, cache.len(number) - 1);
            }
            let mut new = row.from(cache.len(number));
            if !goes_on {
                new.truncate(1);
            }
            next.push(&new, &vec![0; new.len()]);
        }
        let counts: Vec<usize> = goes_on.iter().map(|&own| usize::from(own)).collect();
        self.student.read(&next, &counts);
        let vocabulary = self.student.decoder.config().vocabulary;
        let going = self.rows.par_iter_mut().zip(goes_on).filter(|(_, goes_on)| *goes_on);
        let going: Vec<&mut Row> = going.map(|(row, _)| row).collect();
        let logits = self.student.logits.par_chunks_exact(vocabulary);
        going.into_par_iter().zip(logits).for_each(|(row, logits)| {
            let place = (row.len() - row.begin) as u64;
            let token =
                sampling.choose(logits, unit(draw(Purpose::Tokens, seed, row.key, place, 0)));
            let mut probabilities = Vec::new();
            if acceptance == Acceptance::Lossless {
                probabilities.resize(logits.len(), 0.0);
                for (id, own) in sampling.distribution(logits) {
                    probabilities[id as usize] = own;
                }
            }
            row.drafts.push(Draft { token, probabilities });
        });
        true
    }

    /// The teacher reads all drafts at once.
    fn verdicts(&mut self) -> Vec<Verdict> {
        let SpeculativeConfig { acceptance, teacher: sampling, seed, .. } = *self.config;
        let (mut next, mut counts) = (Tokens::default(), Vec::new());
        for (number, row) in self.rows.iter().enumerate() {
            // The last draft is read where a token behind it may be asked for.
            let is_read = acceptance == Acceptance::Lossless && row.len() < row.limit;
            let mut new = row.from(self.teacher.cache.len(number));
            new.truncate(new.len() - usize::from(!is_read));
            counts.push(row.drafts.len() + usize::from(is_read));
            next.push(&new, &vec![0; new.len()]);
        }
        self.teacher.read(&next, &counts);
        let vocabulary = self.teacher.decoder.config().vocabulary;
        let starts = counts.iter().scan(0, |sum, count| Some(std::mem::replace(sum, *sum + count)));
        let starts: Vec<usize> = starts.collect();
        let (seed_of_teacher, logits) = (teacher_seed(seed), &self.teacher.logits);
        let verdict = |(row, (start, &count)): (&Row, (usize, &usize))| {
            let at = |i: usize| &logits[(start + i) * vocabulary..][..vocabulary];
            let chooses = |i: usize| {
                let place = (row.text.len() - row.begin + i) as u64;
                unit(draw(Purpose::Tokens, seed_of_teacher, row.key, place, 0))
            };
            for (i, draft) in row.drafts.iter().enumerate() {
                let place = (row.text.len() - row.begin + i) as u64;
                let decides = unit(draw(Purpose::Tokens, seed, row.key, place, 2));
                let numbers = [decides, chooses(i)];
                if let Some(other) = judge(draft, at(i), acceptance, &sampling, numbers) {
                    return Verdict { kept: i, other: Some(other) };
                }
            }
            let kept = row.drafts.len();
            let is_ended = row.drafts.last().is_some_and(|draft| self.ends.contains(&draft.token));
            let other =
                (count > kept && !is_ended).then(|| sampling.choose(at(kept), chooses(kept)));
            Verdict { kept, other }
        };
        self.rows.par_iter().zip(starts.into_par_iter().zip(&counts)).map(verdict).collect()
    }

    /// Keeps what stays, takes back the rest, and lets finished texts go.
    fn keep(&mut self, verdicts: &[Verdict], each: &mut impl FnMut(usize, u32)) {
        let mut finished = vec![None; self.rows.len()];
        for (number, (row, verdict)) in self.rows.iter_mut().zip(verdicts).enumerate() {
            let Verdict { kept, other } = *verdict;
            let read = row.text.len() + kept;
            for cache in [&mut self.student.cache, &mut self.teacher.cache] {
                cache.roll_back(number, cache.len(number).min(read));
            }
            let counts = &mut row.counts;
            counts.calls += 1;
            counts.drafted += row.drafts.len();
            counts.accepted += kept;
            counts.rejected += usize::from(kept < row.drafts.len());
            let tokens = row.drafts.drain(..).map(|draft| draft.token).take(kept).chain(other);
            for token in tokens.collect::<Vec<_>>() {
                row.counts.written += 1;
                if self.ends.contains(&token) {
                    finished[number] = Some(End::Token(token));
                } else {
                    row.text.push(token);
                    each(row.prompt, token);
                }
            }
            if finished[number].is_none() && row.text.len() == row.limit {
                let is_full = row.text.len() - row.begin == self.config.max_tokens;
                finished[number] = Some(if is_full { End::MaxTokens } else { End::Context });
            }
        }
        self.student.cache.retain(|row| finished[row].is_none());
        self.teacher.cache.retain(|row| finished[row].is_none());
        let mut finished = finished.into_iter();
        self.rows.retain_mut(|row| {
            let Some(end) = finished.next().flatten() else { return true };
            let text = Generated { ids: row.text.split_off(row.begin), end };
            self.results[row.prompt] = Speculated { text, counts: row.counts };
            false
        });
    }
}
