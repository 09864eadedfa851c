//! Texts as samples, and batches of them.

use std::sync::Arc;

use faculty_inputs::{Inputs, Text};

use super::{Collate, Samples, TextViews, ViewSettings};
use crate::text::set::TextSet;
use crate::text::words::WordChanges;
use crate::view::View;
use crate::{DataError, SampleId};

impl Samples for TextSet {
    fn ids(&self) -> &[SampleId] {
        self.ids()
    }

    fn labels(&self) -> &[u32] {
        self.labels()
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.origin(index)
    }

    fn collator(self: Arc<Self>, settings: &ViewSettings) -> Result<Arc<dyn Collate>, DataError> {
        // What was asked for are images.
        let Ok(TextViews { tokenizer, words }) = settings.texts() else {
            return Err(DataError::NotImages);
        };
        words.check()?;
        let tokenizer = Arc::clone(tokenizer);
        Ok(Arc::new(TextCollator { set: self, tokenizer, words: *words, seed: settings.seed }))
    }

    fn texts(&self) -> Option<&TextSet> {
        Some(self)
    }
}

/// Makes views of the texts of one set, and the student's tokens of them.
struct TextCollator {
    set: Arc<TextSet>,
    tokenizer: Arc<dyn faculty_inputs::Tokenize>,
    words: WordChanges,
    seed: u64,
}

impl TextCollator {
    fn view(&self, index: usize, view: View) -> Text {
        let text = &self.set.texts()[index];
        match view {
            View::Train(number) => self.words.view(text, self.seed, self.set.ids()[index], number),
            View::Plain | View::Probe => text.clone(),
        }
    }
}

impl Collate for TextCollator {
    fn collate(&self, indices: &[usize], view: View, into: &mut Inputs) {
        let batch = into.texts_mut();
        batch.texts.clear();
        batch.tokens.clear();
        for &index in indices {
            let text = self.view(index, view);
            self.tokenizer.tokenize(&text, &mut batch.tokens);
            batch.texts.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::set::tests::numbered;
    use crate::{
        Augmentation, Batch, BatchLoader, LoaderConfig, Normalisation, Split, Tokenize, Tokens,
    };

    /// A token for each word: its length.
    #[derive(Debug)]
    struct Lengths;

    impl Tokenize for Lengths {
        fn tokenize(&self, text: &Text, into: &mut Tokens) {
            let ids: Vec<u32> = text.first.split(' ').map(|word| word.len() as u32).collect();
            into.push(&ids, &vec![0; ids.len()]);
        }

        fn vocabulary(&self) -> usize {
            100
        }

        fn identity(&self) -> &str {
            "lengths"
        }
    }

    const CHANGES: WordChanges = WordChanges { deletion: 0.2, swap: 0.1 };

    fn views(words: WordChanges, seed: u64) -> ViewSettings {
        ViewSettings::of_texts(Arc::new(Lengths), words, seed)
    }

    fn batches(part: &Split, config: LoaderConfig) -> Vec<Batch> {
        let loader = BatchLoader::new(part, part.epoch_order(1, 0), config).unwrap();
        loader.map(Result::unwrap).collect()
    }

    #[test]
    fn a_batch_has_the_views_of_its_ids_and_their_tokens() {
        let set = numbered(50);
        let part = Split::whole(Arc::new(set.clone()));
        for (view, words) in
            [(View::Plain, CHANGES), (View::Train(3), CHANGES), (View::Train(3), WordChanges::NONE)]
        {
            let config = LoaderConfig { view, ..LoaderConfig::new(8, views(words, 5)) };
            let mut seen = 0;
            for batch in batches(&part, config) {
                let texts = batch.inputs.view().texts().unwrap();
                assert_eq!((texts.len(), texts.tokens.len()), (batch.len(), batch.len()));
                for (i, &position) in batch.positions.iter().enumerate() {
                    let own = &set.texts()[position];
                    let expected = match view {
                        View::Train(number) => words.view(own, 5, batch.ids[i], number),
                        View::Plain | View::Probe => own.clone(),
                    };
                    assert_eq!(texts.texts[i], expected);
                    let mut tokens = Tokens::default();
                    Lengths.tokenize(&expected, &mut tokens);
                    assert_eq!(texts.tokens.ids_of(i), tokens.ids());
                    seen += 1;
                }
            }
            assert_eq!(seen, 50);
        }
    }

    #[test]
    fn batches_depend_neither_on_threads_nor_on_the_order_of_the_files() {
        let set = numbered(200);
        let reversed = set.select(&(0..200).rev().collect::<Vec<_>>());
        let config = || LoaderConfig::training(16, views(CHANGES, 1), 2);
        let of = |set: &TextSet, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let part = Split::whole(Arc::new(set.clone()));
            pool.install(|| batches(&part, config()))
        };
        let one = of(&set, 1);
        assert_eq!(of(&set, 4), one);
        let other = of(&reversed, 2);
        for (a, b) in one.iter().zip(&other) {
            assert_eq!((&a.ids, &a.labels, &a.inputs), (&b.ids, &b.labels, &b.inputs));
        }
    }

    #[test]
    fn settings_of_the_other_kind_are_refused_not_misread() {
        let part = Split::whole(Arc::new(numbered(3)));
        let images = ViewSettings::of_images(Augmentation::CIFAR, Normalisation::cifar100(), 1);
        assert!(matches!(part.collator(&images).err(), Some(DataError::NotImages)));
        assert!(matches!(part.shape(), Err(DataError::NotImages)));
        assert!(matches!(part.image(0), Err(DataError::NotImages)));
        assert!(matches!(part.normalisation(), Err(DataError::NotImages)));
        assert!(part.images().is_none() && part.texts().is_some());
        let images_part = Split::whole(Arc::new(crate::split::tests::numbered(3)));
        let texts = views(CHANGES, 1);
        assert!(matches!(images_part.collator(&texts).err(), Some(DataError::NotTexts)));
        let wrong = views(WordChanges { deletion: 2.0, swap: 0.0 }, 1);
        assert!(matches!(part.collator(&wrong).err(), Some(DataError::OutOfRange { .. })));
    }

    #[test]
    fn settings_are_equal_when_tokenizer_seed_and_changes_are() {
        assert_eq!(views(CHANGES, 1), views(CHANGES, 1));
        assert_ne!(views(CHANGES, 1), views(CHANGES, 2));
        assert_ne!(views(CHANGES, 1), views(WordChanges::NONE, 1));
        assert_ne!(views(CHANGES, 1), ViewSettings::plain(Normalisation::identity(1)));
        let identity = views(CHANGES, 1).texts().unwrap().identity();
        assert_eq!(identity, "lengths deletion 0.2 swap 0.1");
    }
}
