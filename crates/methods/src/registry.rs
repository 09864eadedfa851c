//! The table of methods: one row each, and those that a library's user adds.

use std::sync::{PoisonError, RwLock};

use faculty_recipe::{MethodSpec, nearest};

use crate::error::{MethodError, Result};
use crate::info::MethodInfo;
use crate::method::{
    aekd, aekd_f, amtml_kd, at, aver, best_teacher, ca_mkd, calibrated_confidence, ce, ckd,
    class_reliability, crd, dih, dist, dkd, dpk, ebkd, fitnet, fitnet_mkd, ikd, kd,
    max_probability, mean_of_logits, mean_of_probabilities, mmkd, mt_bert, ot, pkt, random_teacher,
    reviewkd, rkd, semckd, simkd, sp, vid,
};

/// Every built-in method, in the order of tables.
pub const METHODS: &[MethodInfo] = &[
    ce::ROW,
    kd::ROW,
    ca_mkd::ROW,
    aver::ROW,
    ebkd::ROW,
    aekd::ROW,
    aekd_f::ROW,
    fitnet_mkd::ROW,
    amtml_kd::ROW,
    mmkd::ROW,
    ikd::ROW,
    mt_bert::ROW,
    max_probability::ROW,
    calibrated_confidence::ROW,
    class_reliability::ROW,
    best_teacher::ROW,
    random_teacher::ROW,
    mean_of_probabilities::ROW,
    mean_of_logits::ROW,
    dih::ROW,
    dkd::ROW,
    dist::ROW,
    fitnet::ROW,
    at::ROW,
    sp::ROW,
    rkd::ROW,
    pkt::ROW,
    crd::ROW,
    vid::ROW,
    semckd::ROW,
    reviewkd::ROW,
    simkd::ROW,
    dpk::ROW,
    ckd::ROW,
    ot::ROW,
];

/// Those that [`register`] added.
static REGISTERED: RwLock<Vec<&'static MethodInfo>> = RwLock::new(Vec::new());

/// Adds a method of one's own, for the whole process: from then on recipes name it like a built-in
/// one, with its options, and everything made from recipes knows it. Call it before recipes are
/// read.
///
/// # Errors
/// [`MethodError::Name`] when the name is taken, or is not lower-case letters, digits and hyphens.
pub fn register(info: MethodInfo) -> Result<()> {
    let name = info.spec.name;
    let refuse = |why: &'static str| Err(MethodError::Name { name: name.to_owned(), why });
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return refuse("it must be of lower-case letters, digits and hyphens");
    }
    // Looked up and added under one lock, so that of two equal names one is refused.
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if METHODS.iter().chain(registered.iter().copied()).any(|info| info.spec.name == name) {
        return refuse("there is a method of this name");
    }
    // Methods live as long as the process: there are few, and everything refers to them.
    registered.push(Box::leak(Box::new(info)));
    Ok(())
}

/// Every method: the built-in ones in the order of tables, then those that were registered.
#[must_use]
pub fn all() -> Vec<&'static MethodInfo> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    METHODS.iter().chain(registered.iter().copied()).collect()
}

/// The specifications alone, as recipes are read with them.
#[must_use]
pub fn specs() -> Vec<MethodSpec> {
    all().into_iter().map(|info| info.spec).collect()
}

/// The row of a method, if there is one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static MethodInfo> {
    all().into_iter().find(|info| info.spec.name == name)
}

/// The row of a method that is said to exist.
///
/// # Errors
/// [`MethodError::Unknown`].
pub fn known(name: &str) -> Result<&'static MethodInfo> {
    find(name).ok_or_else(|| {
        let near = nearest(name, all().into_iter().map(|info| info.spec.name));
        MethodError::Unknown { name: name.to_owned(), near: near.map(str::to_owned) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;
    use crate::{
        Aekd, AekdF, AmtmlKd, At, Aver, CaMkd, Ce, Ckd, Crd, Dih, Dist, Dkd, Dpk, Ebkd, Fitnet,
        FitnetMkd, Ikd, Kd, MaxProbability, MeanOfLogits, MeanOfProbabilities, Mmkd, MtBert, Ot,
        Pkt, RandomTeacher, ReviewKd, Rkd, SemCkd, SimKd, Sp, Vid,
    };
    use crate::{BestTeacher, CalibratedConfidence, ClassReliability};

    /// What the documentation of each method must have.
    const HEADINGS: [&str; 4] = ["# Shapes", "# Gradient", "# Paper and code", "# Limits"];

    fn source(name: &str) -> String {
        let file = format!("src/method/{}.rs", name.replace('-', "_"));
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
            let method = info.with_defaults();
            assert!(!method.objective(3).is_empty(), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METHODS.len(), "names are unique");
    }

    #[test]
    fn defaults_of_recipes_are_those_of_the_library() {
        let of_library: &[(&str, Box<dyn Method>)] = &[
            ("ce", Box::new(Ce)),
            ("kd", Box::<Kd>::default()),
            ("aver", Box::<Aver>::default()),
            ("ca-mkd", Box::<CaMkd>::default()),
            ("ebkd", Box::<Ebkd>::default()),
            ("aekd", Box::<Aekd>::default()),
            ("max-probability", Box::<MaxProbability>::default()),
            ("random-teacher", Box::<RandomTeacher>::default()),
            ("mean-of-probabilities", Box::<MeanOfProbabilities>::default()),
            ("mean-of-logits", Box::<MeanOfLogits>::default()),
            ("aekd-f", Box::<AekdF>::default()),
            ("fitnet-mkd", Box::<FitnetMkd>::default()),
            ("dih", Box::<Dih>::default()),
            ("ot", Box::<Ot>::default()),
            ("dkd", Box::<Dkd>::default()),
            ("dist", Box::<Dist>::default()),
            ("fitnet", Box::<Fitnet>::default()),
            ("at", Box::<At>::default()),
            ("sp", Box::<Sp>::default()),
            ("rkd", Box::<Rkd>::default()),
            ("pkt", Box::<Pkt>::default()),
            ("vid", Box::<Vid>::default()),
            ("amtml-kd", Box::<AmtmlKd>::default()),
            ("ikd", Box::<Ikd>::default()),
            ("mmkd", Box::<Mmkd>::default()),
            ("mt-bert", Box::<MtBert>::default()),
            ("reviewkd", Box::<ReviewKd>::default()),
            ("simkd", Box::<SimKd>::default()),
            ("crd", Box::<Crd>::default()),
            ("dpk", Box::<Dpk>::default()),
            ("ckd", Box::<Ckd>::default()),
            ("semckd", Box::<SemCkd>::default()),
            ("best-teacher", Box::<BestTeacher>::default()),
            ("calibrated-confidence", Box::<CalibratedConfidence>::default()),
            ("class-reliability", Box::<ClassReliability>::default()),
        ];
        for info in METHODS {
            let name = info.spec.name;
            let found = of_library.iter().find(|(listed, _)| *listed == name);
            let (_, method) =
                found.unwrap_or_else(|| panic!("`{name}` is not in this test's list"));
            assert_eq!(format!("{:?}", info.with_defaults()), format!("{method:?}"), "{name}");
        }
    }
}
