//! How an update treats each parameter of a network.

use crate::graph::Graph;

/// How an update treats one parameter; by default as all others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterRule {
    /// Whether it is updated at all.
    pub trained: bool,
    /// Its learning rate as a factor of the run's.
    pub rate_factor: f32,
    /// Whether weight decay acts on it.
    pub decays: bool,
}

impl Default for ParameterRule {
    fn default() -> Self {
        Self { trained: true, rate_factor: 1.0, decays: true }
    }
}

/// What makes some parameters of a network other than the rest; by default only [`Graph::frozen`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RuleConfig {
    /// Whether parameters of one axis have no weight decay: the scales and shifts of norms, and
    /// biases (He and others, CVPR 2019, <https://arxiv.org/abs/1812.01187>, section 3.1).
    pub exempt_norms_and_biases: bool,
    /// Learning rate of the output layer as a factor of the run's.
    pub classifier_rate_factor: f32,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self { exempt_norms_and_biases: false, classifier_rate_factor: 1.0 }
    }
}

impl RuleConfig {
    /// The rule of each of the graph's parameters.
    #[must_use]
    pub fn rules(&self, graph: &Graph) -> Vec<ParameterRule> {
        let of_output = graph.output_layer();
        let specs = graph.parameters().iter().enumerate();
        specs
            .map(|(index, spec)| ParameterRule {
                trained: !graph.frozen().iter().any(|id| id.index() == index),
                rate_factor: match of_output.iter().any(|id| id.index() == index) {
                    true => self.classifier_rate_factor,
                    false => 1.0,
                },
                decays: !self.exempt_norms_and_biases || spec.shape.len() > 1,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapShape, Network};

    #[test]
    fn norms_biases_and_the_classifier_are_told_apart() {
        let network = Network::new("resnet8", MapShape::new(3, 8, 8), 5, 1).unwrap();
        let graph = network.graph();
        let plain = RuleConfig::default().rules(graph);
        assert!(plain.iter().all(|rule| *rule == ParameterRule::default()));
        let config = RuleConfig { exempt_norms_and_biases: true, classifier_rate_factor: 10.0 };
        let rules = config.rules(graph);
        let named = |matches: &dyn Fn(&ParameterRule) -> bool| -> Vec<&str> {
            let all = graph.parameters().iter().zip(&rules);
            all.filter(|(_, rule)| matches(rule)).map(|(spec, _)| spec.name.as_str()).collect()
        };
        assert_eq!(named(&|rule| rule.rate_factor == 10.0), ["fc.weight", "fc.bias"]);
        for name in named(&|rule| rule.decays) {
            assert!(
                name.starts_with("fc.weight")
                    || name.contains("conv")
                    || name.contains("downsample.0"),
                "{name}"
            );
        }
        for name in named(&|rule| !rule.decays) {
            assert!(
                name == "fc.bias" || name.contains("bn") || name.contains("downsample.1"),
                "{name}"
            );
        }
    }
}
