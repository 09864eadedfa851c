//! Keys of a recipe that say nothing about its kind of samples: of images where they are texts, and the
//! reverse. Those of how data are read (`resize`, `text_column`) the readers refuse themselves.

use faculty_nets::EncoderFamily;
use faculty_recipe::{Data, Recipe};

use crate::error::{Result, TeacherError};

/// Refuses them where they have another value than the default.
///
/// # Errors
/// [`TeacherError::NoEffect`] that names the first.
pub(crate) fn refuse(recipe: &Recipe, texts: bool) -> Result<()> {
    let (own, plain) = (&recipe.data, Data::default());
    let of_images = [
        ("crop_padding", own.crop_padding != plain.crop_padding),
        ("flip", own.flip != plain.flip),
        ("random_resized_crop", own.random_resized_crop.is_some()),
        ("rand_augment", own.rand_augment.is_some()),
        ("trivial_augment", own.trivial_augment),
        ("color_jitter", own.color_jitter.is_some()),
        ("random_erasing", own.random_erasing != plain.random_erasing),
        ("mixup", own.mixup.is_some()),
        ("cutmix", own.cutmix.is_some()),
        ("mean", own.mean.is_some()),
        ("std", own.std.is_some()),
    ];
    let of_texts =
        [("word_deletion", own.word_deletion.is_some()), ("word_swap", own.word_swap.is_some())];
    let data = if texts { "texts" } else { "images" };
    let no_effect = |key: String| Err(TeacherError::NoEffect { key, data });
    let others = if texts { &of_images[..] } else { &of_texts };
    if let Some((key, _)) = others.iter().find(|(_, given)| *given) {
        return no_effect(format!("data.{key}"));
    }
    for teacher in &recipe.teachers {
        let network = teacher.network.as_deref();
        // A network of the other kind is the larger mistake, and told where it is opened.
        if network.is_some_and(|name| EncoderFamily::of(name).is_some() != texts) {
            continue;
        }
        let of_images = [
            ("input_size", teacher.input_size.is_some()),
            ("mean", teacher.mean.is_some()),
            ("std", teacher.std.is_some()),
        ];
        let of_texts = [
            ("tokenizer", teacher.tokenizer.is_some()),
            ("max_tokens", teacher.max_tokens.is_some()),
        ];
        let others = if texts { &of_images[..] } else { &of_texts };
        if let Some((key, _)) = others.iter().find(|(_, given)| *given) {
            return no_effect(format!("teachers.{}.{key}", teacher.name));
        }
    }
    Ok(())
}
