//! The table of methods: one row each.

use super::{Aver, AverConfig, CaMkd, CaMkdConfig, Ce, Kd, KdConfig, Method, Scale};
use super::{best_teacher, calibrated_confidence, class_reliability};
use crate::recipe::{self, Exception, MethodSpec, OptionSpec, OptionValue, Range};

/// How close a method is to its paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// From the authors' code or the paper's own formulas.
    Exact,
    /// Made from what is known of the paper; its documentation names the choices.
    Reimplementation,
}

impl Status {
    /// As it stands in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Reimplementation => "re-implementation",
        }
    }
}

/// A method's row.
#[derive(Clone, Copy, Debug)]
pub struct MethodInfo {
    /// What recipes may say of it.
    pub spec: MethodSpec,
    /// Authors, year and address of the paper.
    pub paper: &'static str,
    /// How close it is to the paper.
    pub status: Status,
    /// Builds it from the recipe's options, which have been checked against `spec`.
    pub build: fn(&recipe::Method) -> Box<dyn Method>,
}

const PAPER: &str = "CA-MKD paper";
const CODE: &str = "CA-MKD released code";

pub(super) const fn option(
    key: &'static str,
    default: OptionValue,
    range: Range,
    source: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { key, default, range, source, help, exceptions: &[] }
}

pub(super) const TEMPERATURE: OptionSpec = option(
    "temperature",
    OptionValue::Number(4.0),
    Range::above(0.0),
    PAPER,
    "softening τ of teacher and student outputs in the distillation term",
);

pub(super) const ALPHA: OptionSpec = option(
    "alpha",
    OptionValue::Number(1.0),
    Range::at_least(0.0),
    PAPER,
    "weight of the distillation term at the output",
);

/// Every method, in the order of tables.
pub const METHODS: &[MethodInfo] = &[
    MethodInfo {
        spec: MethodSpec {
            name: "ce",
            help: "plain training on the labels; teachers are not used",
            options: &[],
            min_teachers: 0,
            max_teachers: Some(0),
        },
        paper: "-",
        status: Status::Exact,
        build: |_| Box::new(Ce),
    },
    MethodInfo {
        spec: MethodSpec {
            name: "kd",
            help: "one teacher's softened outputs",
            options: &[
                TEMPERATURE,
                option(
                    "alpha",
                    OptionValue::Number(0.9),
                    Range::between(0.0, 1.0),
                    "distillation benchmarks",
                    "weight of the distillation term; the task term gets 1 - alpha",
                ),
            ],
            min_teachers: 1,
            max_teachers: Some(1),
        },
        paper: "Hinton, Vinyals, Dean 2015, arXiv 1503.02531",
        status: Status::Exact,
        build: |options| {
            Box::new(Kd::new(KdConfig {
                temperature: number(options, "temperature") as f32,
                alpha: number(options, "alpha"),
            }))
        },
    },
    MethodInfo {
        spec: MethodSpec {
            name: "aver",
            help: "several teachers that all count the same",
            options: &[TEMPERATURE, ALPHA],
            min_teachers: 1,
            max_teachers: None,
        },
        paper: "You, Xu, Xu, Tao, KDD 2017",
        status: Status::Exact,
        build: |options| {
            Box::new(Aver::new(AverConfig {
                temperature: number(options, "temperature") as f32,
                alpha: number(options, "alpha"),
            }))
        },
    },
    MethodInfo {
        spec: MethodSpec {
            name: "ca-mkd",
            help: "each teacher weighted per sample by how well it does on the true label",
            options: &[
                TEMPERATURE,
                ALPHA,
                option(
                    "beta",
                    OptionValue::Number(50.0),
                    Range::at_least(0.0),
                    CODE,
                    "weight of the intermediate term",
                ),
                option(
                    "intermediate",
                    OptionValue::Flag(true),
                    Range::Any,
                    PAPER,
                    "also match each teacher's last feature map through a trained connector",
                ),
                option(
                    "scale",
                    OptionValue::Word("unit"),
                    Range::Words(&["unit", "official"]),
                    "faculty's choice",
                    "unit: weights sum to 1; official: the released code's factor 1/K on both terms",
                ),
                OptionSpec {
                    exceptions: &[Exception {
                        option: "scale",
                        is: OptionValue::Word("official"),
                        default: OptionValue::Flag(false),
                        source: CODE,
                    }],
                    ..option(
                        "detach_inter_weight",
                        OptionValue::Flag(true),
                        Range::Any,
                        PAPER,
                        "treat the intermediate weights as constants (the released code does not)",
                    )
                },
                option(
                    "warmup_epochs",
                    OptionValue::Integer(1),
                    Range::at_least(0.0),
                    CODE,
                    "first epochs without the intermediate term",
                ),
            ],
            min_teachers: 1,
            max_teachers: None,
        },
        paper: "Zhang, Chen, Wang, ICASSP 2022, arXiv 2201.00007",
        status: Status::Exact,
        build: |options| {
            Box::new(CaMkd::new(CaMkdConfig {
                temperature: number(options, "temperature") as f32,
                alpha: number(options, "alpha"),
                beta: number(options, "beta"),
                intermediate: flag(options, "intermediate"),
                detach_inter_weight: flag(options, "detach_inter_weight"),
                warmup_epochs: usize::try_from(integer(options, "warmup_epochs"))
                    .unwrap_or(usize::MAX),
                scale: match options.word("scale") {
                    Some("official") => Scale::Official,
                    _ => Scale::Unit,
                },
            }))
        },
    },
    best_teacher::ROW,
    calibrated_confidence::ROW,
    class_reliability::ROW,
];

/// The specifications alone, as recipes are read with them.
#[must_use]
pub fn specs() -> Vec<MethodSpec> {
    METHODS.iter().map(|info| info.spec).collect()
}

/// The row of a method.
///
/// # Panics
/// When there is none: a checked recipe names a known method.
#[must_use]
pub fn find(name: &str) -> &'static MethodInfo {
    METHODS
        .iter()
        .find(|info| info.spec.name == name)
        .expect("the recipe check refuses unknown methods")
}

const CHECKED: &str = "the recipe check fills in every option of the method";

pub(super) fn number(options: &recipe::Method, key: &str) -> f64 {
    options.number(key).expect(CHECKED)
}

pub(super) fn flag(options: &recipe::Method, key: &str) -> bool {
    options.flag(key).expect(CHECKED)
}

fn integer(options: &recipe::Method, key: &str) -> i64 {
    options.integer(key).expect(CHECKED)
}

#[cfg(test)]
mod tests {
    use super::super::{BestTeacher, CalibratedConfidence, ClassReliability};
    use super::*;

    /// What the documentation of each method must have.
    const HEADINGS: [&str; 4] = ["# Shapes", "# Gradient", "# Paper and code", "# Limits"];

    fn source(name: &str) -> String {
        let file = format!("src/methods/{}.rs", name.replace('-', "_"));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    #[test]
    fn every_method_is_documented_and_builds_with_its_defaults() {
        let mut names: Vec<&str> = METHODS.iter().map(|info| info.spec.name).collect();
        for info in METHODS {
            let name = info.spec.name;
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            let text = source(name);
            for heading in HEADINGS {
                assert!(text.contains(&format!("//! {heading}")), "{name} has no `{heading}`");
            }
            let method = (info.build)(&recipe::Method::with_defaults(&info.spec));
            assert!(!method.objective(3).is_empty(), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METHODS.len(), "names are unique");
    }

    #[test]
    fn defaults_of_recipes_are_those_of_the_library() {
        let built = |name: &str| {
            let info = find(name);
            format!("{:?}", (info.build)(&recipe::Method::with_defaults(&info.spec)))
        };
        assert_eq!(built("kd"), format!("{:?}", Kd::default()));
        assert_eq!(built("aver"), format!("{:?}", Aver::default()));
        assert_eq!(built("ca-mkd"), format!("{:?}", CaMkd::default()));
        assert_eq!(built("best-teacher"), format!("{:?}", BestTeacher::default()));
        let calibrated = format!("{:?}", CalibratedConfidence::default());
        assert_eq!(built("calibrated-confidence"), calibrated);
        assert_eq!(built("class-reliability"), format!("{:?}", ClassReliability::default()));
    }
}
