//! Networks with squeeze-and-excitation as descriptions.

use super::text::Text;
use crate::family::efficientnet;
use crate::family::mobilenet_v3::{self, Variant};

pub(super) fn mobilenet_v3(text: &mut Text, variant: &Variant) {
    let norm = format!(
        "epsilon = {}, momentum = {}",
        mobilenet_v3::NORM.epsilon,
        mobilenet_v3::NORM.momentum
    );
    let tap = |is_tapped: bool| if is_tapped { ", tap = true" } else { "" };
    text.layer(&format!(
        "conv = \"features.0.0\", channels = {}, kernel = 3, stride = 2",
        mobilenet_v3::STEM
    ));
    text.layer(&format!("batch_norm = \"features.0.1\", {norm}"));
    text.layer(&format!("activation = \"hard-swish\"{}", tap(variant.stem_is_tapped())));
    let mut before = mobilenet_v3::STEM;
    for (index, row) in variant.rows.iter().enumerate() {
        let kind = if row.hard_swish { "hard-swish" } else { "relu" };
        let kind = if row.squeezes { format!("{kind}-gated") } else { kind.to_owned() };
        // The place of the second convolution: the first is left out where nothing is widened.
        let second = usize::from(row.hidden != before);
        let mut more = format!(
            "kernel = {}, hidden = {}, second = {second}, width = {}",
            row.kernel, row.hidden, row.channels
        );
        if row.squeezes {
            more += &format!(", squeeze = {}", mobilenet_v3::squeezed(row.hidden));
        }
        if row.stride != 1 {
            more += &format!(", stride = {}", row.stride);
        }
        more += tap(variant.is_tapped(index));
        text.stage(&kind, &format!("features.{}.block", index + 1), 1, &more);
        before = row.channels;
    }
    let last = variant.rows.len() + 1;
    let [channels, hidden] = variant.last;
    text.layer(&format!("conv = \"features.{last}.0\", channels = {channels}, kernel = 1"));
    text.layer(&format!("batch_norm = \"features.{last}.1\", {norm}"));
    text.layer("activation = \"hard-swish\", tap = true");
    text.layer("global_pool = \"average\"");
    text.layer(&format!("linear = \"classifier.0\", outputs = {hidden}, start = \"normal\""));
    text.layer("activation = \"hard-swish\"");
    text.layer(&format!("dropout = {}", mobilenet_v3::DROPOUT));
    text.layer("classifier = \"classifier.3\", start = \"normal\", pooled = true");
    for hard_swish in [false, true] {
        for squeezes in [false, true] {
            if variant.rows.iter().any(|r| (r.hard_swish, r.squeezes) == (hard_swish, squeezes)) {
                mobilenet_v3_block(text, &norm, hard_swish, squeezes);
            }
        }
    }
}

fn mobilenet_v3_block(text: &mut Text, norm: &str, hard_swish: bool, squeezes: bool) {
    const WIDENS: &str = ", when = \"hidden != input\"";
    let mut layers = vec![format!("conv = \"0.0\", channels = \"hidden\", kernel = 1{WIDENS}")];
    let active = |layers: &mut Vec<String>, name: &str, when: &str| {
        if hard_swish {
            layers.push(format!("batch_norm = \"{name}\", {norm}{when}"));
            layers.push(format!("activation = \"hard-swish\"{when}"));
        } else {
            layers.push(format!("batch_norm = \"{name}\", {norm}, relu = true{when}"));
        }
    };
    active(&mut layers, "0.1", WIDENS);
    layers.push(
        "conv = \"{second}.0\", channels = \"in\", kernel = \"kernel\", stride = \"stride\", \
         groups = \"in\""
            .to_owned(),
    );
    active(&mut layers, "{second}.1", "");
    let last = if squeezes { "second + 2" } else { "second + 1" };
    if squeezes {
        name_last(&mut layers);
        layers.extend(gate("{second + 1}", "squeeze", "relu", "hard-sigmoid"));
    }
    layers.push(format!("conv = \"{{{last}}}.0\", channels = \"width\", kernel = 1"));
    let norm = format!("batch_norm = \"{{{last}}}.1\", {norm}");
    layers.push(format!("{norm}, when = \"stride != 1 or input != width\""));
    layers.push(format!("{norm}, add = \"input\", when = \"stride == 1 and input == width\""));
    let name = if hard_swish { "hard-swish" } else { "relu" };
    let name = if squeezes { format!("{name}-gated") } else { name.to_owned() };
    text.block(&name, &layers.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Gives the result of the last layer the name that [`gate`] reads.
fn name_last(layers: &mut [String]) {
    if let Some(last) = layers.last_mut() {
        *last += ", to = \"map\"";
    }
}

/// Squeeze-and-excitation of the value `map`.
fn gate(name: &str, squeeze: &str, activation: &str, gate: &str) -> [String; 6] {
    [
        "global_pool = \"average\"".to_owned(),
        format!("conv = \"{name}.fc1\", channels = \"{squeeze}\", kernel = 1, bias = true"),
        format!("activation = \"{activation}\""),
        format!("conv = \"{name}.fc2\", channels = \"hidden\", kernel = 1, bias = true"),
        format!("activation = \"{gate}\""),
        "product = \"map\"".to_owned(),
    ]
}

pub(super) fn efficientnet_b0(text: &mut Text) {
    text.layer(&format!(
        "conv = \"features.0.0\", channels = {}, kernel = 3, stride = 2",
        efficientnet::STEM
    ));
    text.layer("batch_norm = \"features.0.1\"");
    text.layer("activation = \"silu\"");
    let all = efficientnet::blocks_before(efficientnet::STAGES.len());
    for (index, stage) in efficientnet::STAGES.iter().enumerate() {
        let name = format!("features.{}.{{i}}.block", index + 1);
        let mut more = format!(
            "kernel = {}, expansion = {}, width = {}, done = {}, all = {all}",
            stage.kernel,
            stage.expansion,
            stage.channels,
            efficientnet::blocks_before(index)
        );
        if stage.stride != 1 {
            more += &format!(", stride = {}", stage.stride);
        }
        if efficientnet::TAPPED.contains(&index) {
            more += ", tap = true";
        }
        let block = if stage.expansion == 1 { "plain" } else { "widening" };
        text.stage(block, &name, stage.blocks, &more);
    }
    text.layer(&format!("conv = \"features.8.0\", channels = {}, kernel = 1", efficientnet::LAST));
    text.layer("batch_norm = \"features.8.1\"");
    text.layer("activation = \"silu\", tap = true");
    text.layer("global_pool = \"average\"");
    text.layer(&format!("dropout = {}", efficientnet::DROPOUT));
    text.layer("classifier = \"classifier.1\", start = \"fan-out\", pooled = true");
    mb_conv(text, "plain", 0);
    mb_conv(text, "widening", 1);
}

/// A block whose second convolution is number `second`.
fn mb_conv(text: &mut Text, block: &str, second: usize) {
    let mut layers = Vec::new();
    if second > 0 {
        layers.push("conv = \"0.0\", channels = \"expansion * input\", kernel = 1".to_owned());
        layers.push("batch_norm = \"0.1\"".to_owned());
        layers.push("activation = \"silu\"".to_owned());
    }
    layers.push(format!(
        "conv = \"{second}.0\", channels = \"in\", kernel = \"kernel\", stride = \"stride\", groups = \"in\""
    ));
    layers.push(format!("batch_norm = \"{second}.1\""));
    layers.push("activation = \"silu\"".to_owned());
    name_last(&mut layers);
    let own = gate(&(second + 1).to_string(), "input / 4", "silu", "sigmoid");
    layers.extend(own.map(|layer| layer.replace("\"hidden\"", "\"expansion * input\"")));
    layers.push(format!("conv = \"{}.0\", channels = \"width\", kernel = 1", second + 2));
    layers.push(format!("batch_norm = \"{}.1\"", second + 2));
    let adds = "when = \"stride == 1 and input == width\"";
    layers.push(format!(
        "stochastic_depth = {}, part = \"done + i\", of = \"all\", {adds}",
        efficientnet::STOCHASTIC_DEPTH
    ));
    layers.push(format!("sum = \"input\", {adds}"));
    text.block(block, &layers.iter().map(String::as_str).collect::<Vec<_>>());
}
