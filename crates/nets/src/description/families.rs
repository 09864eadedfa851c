//! The built-in networks as descriptions.

use self::gated::{efficientnet_b0, mobilenet_v3};
use self::text::Text;
use crate::error::Result;
use crate::family::deep_resnet::{Block, Stem};
use crate::family::{mobilenet_v2, shuffle_v1, shuffle_v2, vgg};
use crate::networks::{Family, find};

mod gated;
mod text;

/// The description of a built-in network; `None` for one that a library's user registered, whose graph is
/// known and not how it was written.
///
/// # Errors
/// When there is no network of that name.
pub fn described(name: &str) -> Result<Option<String>> {
    let info = find(name)?;
    let mut text = Text::default();
    match info.family {
        Family::CifarResnet(depth, widths) => cifar_resnet(&mut text, depth, widths),
        Family::WideResnet(depth, width) => wide_resnet(&mut text, depth, width),
        Family::Vgg(layers) => vgg(&mut text, layers),
        Family::MobileNetV2 => mobilenet_v2(&mut text),
        Family::MobileNetV3(variant) => mobilenet_v3(&mut text, variant),
        Family::EfficientNetB0 => efficientnet_b0(&mut text),
        Family::ShuffleV1 => shuffle_v1(&mut text),
        Family::ShuffleV2 => shuffle_v2(&mut text),
        Family::DeepResnet(block, blocks, stem) => deep_resnet(&mut text, block, blocks, stem),
        Family::Own(_) => return Ok(None),
    }
    Ok(Some(format!("# {name}: {}\n{}", info.summary, text.done())))
}

/// `, stride = 2` behind the first stage.
fn halved(stage: usize) -> &'static str {
    if stage == 0 { "" } else { ", stride = 2" }
}

/// Two 3×3 convolutions and a shortcut of this name.
fn basic(text: &mut Text, shortcut: &str) {
    let when = "when = \"stride != 1 or input != width\"";
    text.block(
        "basic",
        &[
            &format!(
                "conv = \"{shortcut}.0\", from = \"input\", channels = \"width\", kernel = 1, \
                 stride = \"stride\", {when}"
            ),
            &format!("batch_norm = \"{shortcut}.1\", to = \"shortcut\", {when}"),
            "conv = \"conv1\", from = \"input\", channels = \"width\", kernel = 3, stride = \"stride\"",
            "batch_norm = \"bn1\", relu = true",
            "conv = \"conv2\", channels = \"width\", kernel = 3",
            "batch_norm = \"bn2\", add = \"shortcut\", relu = true",
        ],
    );
}

/// 1×1, 3×3, and 1×1 to four times the width.
fn bottleneck(text: &mut Text, shortcut: &str) {
    let when = "when = \"stride != 1 or input != 4 * width\"";
    text.block(
        "bottleneck",
        &[
            &format!(
                "conv = \"{shortcut}.0\", from = \"input\", channels = \"4 * width\", kernel = 1, \
                 stride = \"stride\", {when}"
            ),
            &format!("batch_norm = \"{shortcut}.1\", to = \"shortcut\", {when}"),
            "conv = \"conv1\", from = \"input\", channels = \"width\", kernel = 1",
            "batch_norm = \"bn1\", relu = true",
            "conv = \"conv2\", channels = \"width\", kernel = 3, stride = \"stride\"",
            "batch_norm = \"bn2\", relu = true",
            "conv = \"conv3\", channels = \"4 * width\", kernel = 1",
            "batch_norm = \"bn3\", add = \"shortcut\", relu = true",
        ],
    );
}

fn cifar_resnet(text: &mut Text, depth: usize, [stem, stages @ ..]: [usize; 4]) {
    text.layer(&format!("conv = \"conv1\", channels = {stem}, kernel = 3"));
    text.layer("batch_norm = \"bn1\", relu = true, tap = true");
    for (stage, width) in stages.into_iter().enumerate() {
        let name = format!("layer{}.{{i}}", stage + 1);
        let more = format!("width = {width}{}, tap = true", halved(stage));
        text.stage("basic", &name, (depth - 2) / 6, &more);
    }
    text.layer("classifier = \"fc\"");
    basic(text, "downsample");
}

fn deep_resnet(text: &mut Text, block: Block, blocks: [usize; 4], stem: Stem) {
    let kernel = match stem {
        Stem::Small => "kernel = 3",
        Stem::ImageNet => "kernel = 7, stride = 2",
    };
    text.layer(&format!("conv = \"conv1\", channels = 64, {kernel}"));
    text.layer("batch_norm = \"bn1\", relu = true, tap = true");
    if stem == Stem::ImageNet {
        text.layer("max_pool = 3, stride = 2, padding = 1");
    }
    let kind = match block {
        Block::Basic => "basic",
        Block::Bottleneck => "bottleneck",
    };
    for (stage, count) in blocks.into_iter().enumerate() {
        let name = format!("layer{}.{{i}}", stage + 1);
        text.stage(
            kind,
            &name,
            count,
            &format!("width = {}{}, tap = true", 64 << stage, halved(stage)),
        );
    }
    text.layer(&format!("classifier = \"{}\"", stem.classifier()));
    match block {
        Block::Basic => basic(text, stem.shortcut()),
        Block::Bottleneck => bottleneck(text, stem.shortcut()),
    }
}

fn wide_resnet(text: &mut Text, depth: usize, times: usize) {
    text.layer("conv = \"conv1\", channels = 16, kernel = 3, tap = true");
    for stage in 0..3 {
        let name = format!("block{}.layer.{{i}}", stage + 1);
        let width = (16 << stage) * times;
        let more = format!("width = {width}{}, tap = true", halved(stage));
        text.stage("pre-activation", &name, (depth - 4) / 6, &more);
    }
    text.layer("batch_norm = \"bn1\", relu = true");
    text.layer("classifier = \"fc\", start = \"zero-bias\"");
    text.block(
        "pre-activation",
        &[
            "batch_norm = \"bn1\", relu = true, to = \"active\"",
            "conv = \"conv1\", channels = \"width\", kernel = 3, stride = \"stride\"",
            "batch_norm = \"bn2\", relu = true, to = \"middle\"",
            "conv = \"convShortcut\", from = \"active\", channels = \"width\", kernel = 1, \
             stride = \"stride\", to = \"shortcut\", when = \"stride != 1 or input != width\"",
            "conv = \"conv2\", from = \"middle\", channels = \"width\", kernel = 3, add = \"shortcut\"",
        ],
    );
}

fn vgg(text: &mut Text, layers: [usize; 5]) {
    for (block, (width, count)) in vgg::WIDTHS.into_iter().zip(layers).enumerate() {
        text.stage(
            "plain",
            &format!("block{block}"),
            count,
            &format!("width = {width}, tap = true"),
        );
        match block {
            0..3 => text.layer("max_pool = 2"),
            3 => text.layer(&format!("max_pool = 2, when = \"side >= {}\"", vgg::FOUR_POOLINGS)),
            _ => {}
        }
    }
    text.layer("classifier = \"classifier\", start = \"normal\"");
    text.block(
        "plain",
        &[
            "conv = \"{3 * i}\", channels = \"width\", kernel = 3, bias = true",
            "batch_norm = \"{3 * i + 1}\", relu = true",
        ],
    );
}

fn mobilenet_v2(text: &mut Text) {
    text.layer("conv = \"conv1.0\", channels = 16, kernel = 3, stride = 2");
    text.layer("batch_norm = \"conv1.1\", relu = true, tap = true");
    for (index, stage) in mobilenet_v2::STAGES.iter().enumerate() {
        let name = format!("blocks.{index}.{{i}}.conv");
        let mut more = format!("expansion = {}, width = {}", stage.expansion, stage.channels / 2);
        if stage.stride != 1 {
            more += &format!(", stride = {}", stage.stride);
        }
        if mobilenet_v2::TAPPED.contains(&index) {
            more += ", tap = true";
        }
        text.stage("inverted", &name, stage.blocks, &more);
    }
    text.layer("conv = \"conv2.0\", channels = 1280, kernel = 1");
    text.layer("batch_norm = \"conv2.1\", relu = true");
    text.layer("classifier = \"classifier.0\", start = \"normal\"");
    text.block(
        "inverted",
        &[
            "conv = \"0\", channels = \"expansion * input\", kernel = 1",
            "batch_norm = \"1\", relu = true",
            "conv = \"3\", channels = \"in\", kernel = 3, stride = \"stride\", groups = \"in\"",
            "batch_norm = \"4\", relu = true",
            "conv = \"6\", channels = \"width\", kernel = 1",
            "batch_norm = \"7\", when = \"stride != 1 or input != width\"",
            "batch_norm = \"7\", add = \"input\", when = \"stride == 1 and input == width\"",
        ],
    );
}

fn shuffle_v1(text: &mut Text) {
    text.is_pytorch = true;
    let groups = shuffle_v1::GROUPS;
    text.layer(&format!("conv = \"conv1\", channels = {}, kernel = 1", shuffle_v1::STEM));
    text.layer("batch_norm = \"bn1\", relu = true, tap = true");
    for (stage, (width, count)) in shuffle_v1::STAGES.into_iter().enumerate() {
        let layer = format!("layer{}", stage + 1);
        // The stem is too narrow to be cut into groups.
        let own = if stage == 0 { 1 } else { groups };
        text.stage(
            "halving",
            &format!("{layer}.0"),
            1,
            &format!("width = {width}, groups = {own}"),
        );
        let more = format!("first = 1, width = {width}, groups = {groups}, tap = true");
        text.stage("keeping", &format!("{layer}.{{i}}"), count - 1, &more);
    }
    text.layer("classifier = \"linear\"");
    let last = format!("kernel = 1, groups = {groups}");
    text.block(
        "halving",
        &[
            "conv = \"conv1\", channels = \"(width - input) / 4\", kernel = 1, groups = \"groups\"",
            "batch_norm = \"bn1\", relu = true",
            "shuffle = \"groups\"",
            "conv = \"conv2\", channels = \"in\", kernel = 3, stride = 2, groups = \"in\"",
            "batch_norm = \"bn2\", relu = true",
            &format!("conv = \"conv3\", channels = \"width - input\", {last}"),
            "batch_norm = \"bn3\", relu = true, to = \"made\"",
            "avg_pool = 3, from = \"input\", stride = 2, padding = 1, to = \"pooled\"",
            "concat = [\"made\", \"pooled\"]",
        ],
    );
    text.block(
        "keeping",
        &[
            "conv = \"conv1\", channels = \"width / 4\", kernel = 1, groups = \"groups\"",
            "batch_norm = \"bn1\", relu = true",
            "shuffle = \"groups\"",
            "conv = \"conv2\", channels = \"in\", kernel = 3, groups = \"in\"",
            "batch_norm = \"bn2\", relu = true",
            "conv = \"conv3\", channels = \"width\", kernel = 1, groups = \"groups\"",
            "batch_norm = \"bn3\", add = \"input\", relu = true",
        ],
    );
}

fn shuffle_v2(text: &mut Text) {
    text.is_pytorch = true;
    text.layer("conv = \"conv1\", channels = 24, kernel = 1");
    text.layer("batch_norm = \"bn1\", relu = true, tap = true");
    for (stage, (channels, count)) in shuffle_v2::STAGES.into_iter().enumerate() {
        let (layer, half) = (format!("layer{}", stage + 1), channels / 2);
        text.stage("halving", &format!("{layer}.0"), 1, &format!("half = {half}"));
        let more = format!("first = 1, half = {half}");
        text.stage("keeping", &format!("{layer}.{{i}}"), count, &more);
        text.layer("concat = [\"left\", \"right\"], groups = 2, tap = true");
    }
    text.layer("conv = \"conv2\", channels = 1024, kernel = 1");
    text.layer("batch_norm = \"bn2\", relu = true");
    text.layer("classifier = \"linear\"");
    text.block(
        "halving",
        &[
            "conv = \"conv1\", channels = \"in\", kernel = 3, stride = 2, groups = \"in\"",
            "batch_norm = \"bn1\"",
            "conv = \"conv2\", channels = \"half\", kernel = 1",
            "batch_norm = \"bn2\", relu = true, to = \"left\"",
            "conv = \"conv3\", from = \"input\", channels = \"half\", kernel = 1",
            "batch_norm = \"bn3\", relu = true",
            "conv = \"conv4\", channels = \"in\", kernel = 3, stride = 2, groups = \"in\"",
            "batch_norm = \"bn4\"",
            "conv = \"conv5\", channels = \"half\", kernel = 1",
            "batch_norm = \"bn5\", relu = true, to = \"right\"",
        ],
    );
    text.block(
        "keeping",
        &[
            "concat = [\"left\", \"right\"], groups = 2, last = \"half\", to = \"kept\"",
            "concat = [\"left\", \"right\"], groups = 2, first = \"half\"",
            "conv = \"conv1\", channels = \"half\", kernel = 1",
            "batch_norm = \"bn1\", relu = true",
            "conv = \"conv2\", channels = \"in\", kernel = 3, groups = \"in\"",
            "batch_norm = \"bn2\"",
            "conv = \"conv3\", channels = \"half\", kernel = 1",
            "batch_norm = \"bn3\", relu = true, to = \"right\"",
            "value = \"kept\", to = \"left\"",
        ],
    );
}
