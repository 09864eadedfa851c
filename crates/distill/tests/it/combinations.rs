//! `[[method.terms]]`: terms of other methods beside a method.

use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch, StepRecord};
use faculty_distill::methods::{build, find, specs};
use faculty_distill::recipe::{Method, MethodTerm, OptionValue, Recipe};

use crate::data::network;
use crate::finite_differences::{BATCH, Setup, check};

fn base(name: &str, options: &[(&str, OptionValue)]) -> Method {
    let mut method = Method::with_defaults(&find(name).unwrap().spec);
    for (key, value) in options {
        assert!(method.options.insert((*key).to_owned(), *value).is_some(), "{key}");
    }
    method
}

fn term(name: &str, beta: f64, teacher_weights: &'static str) -> MethodTerm {
    let mut term = MethodTerm::with_defaults(&find(name).unwrap().spec);
    assert!(term.method.options.insert("beta".to_owned(), OptionValue::Number(beta)).is_some());
    term.teacher_weights = teacher_weights;
    term
}

fn combined(base: Method, terms: &[MethodTerm]) -> Method {
    Method { terms: terms.to_vec(), ..base }
}

#[test]
fn combinations_match_finite_differences() {
    let terms = [
        term("fitnet", 2.0, "confidence"),
        term("sp", 10.0, "entropy"),
        term("vid", 1.0, "max-probability"),
        term("at", 10.0, "uniform"),
    ];
    let method = combined(base("aver", &[]), &terms);
    check(|| build(&method).unwrap(), 2);
    // Without a method of teachers, and beside one whose maps are read off the tape.
    let method = combined(base("ce", &[]), &terms);
    check(|| build(&method).unwrap(), 2);
    let ca_mkd = base("ca-mkd", &[("beta", OptionValue::Number(2.0))]);
    let method = combined(ca_mkd, &terms);
    check(|| build(&method).unwrap(), 1);
}

/// Loss and the student's gradient at epoch 2.
fn gradient(method: &Method) -> (StepRecord, Vec<f32>) {
    let built = build(method).unwrap();
    let setup = Setup::new(3, &built.needs(2).teacher_taps);
    let mut learner = Learner::new(network(5), built, &setup.traits, BATCH, 5, &Compute::Kernels);
    let record = learner.gradients(&LearnerBatch { epoch: 2, ..setup.batch() });
    (record, learner.student.gradients().concat())
}

#[test]
fn losses_and_gradients_of_a_combination_add_up() {
    let ce = base("ce", &[]);
    let beta = ("beta", OptionValue::Number(3.0));
    let terms = [term("at", 30.0, "uniform"), term("pkt", 50.0, "uniform")];
    let parts = [base("ca-mkd", &[beta]), base("mean-of-logits", &[])];
    for part in parts {
        let at = base("at", &[("beta", OptionValue::Number(30.0))]);
        let pkt = base("pkt", &[("beta", OptionValue::Number(50.0))]);
        let (whole, together) = gradient(&combined(part.clone(), &terms));
        let [(own, a), (at, b), (pkt, c), (ce, d)] = [&part, &at, &pkt, &ce].map(gradient);
        let want = own.loss + at.loss + pkt.loss - 2.0 * ce.loss;
        assert!((whole.loss - want).abs() < 1e-4 * want.abs(), "{} and {want}", whole.loss);
        assert_eq!(whole.terms.len(), own.terms.len() + 2);
        let norm = |v: &mut dyn Iterator<Item = f32>| v.map(f64::from).map(|v| v * v).sum::<f64>();
        let length = norm(&mut together.iter().copied()).sqrt();
        let sums = (0..together.len()).map(|i| together[i] - (a[i] + b[i] + c[i] - 2.0 * d[i]));
        let difference = norm(&mut sums.collect::<Vec<f32>>().into_iter()).sqrt();
        assert!(difference < 1e-4 * length, "{difference} of {length}");
    }
}

#[test]
fn weights_of_a_term_are_those_of_the_rule() {
    let ca_mkd = base("ca-mkd", &[("intermediate", OptionValue::Flag(false))]);
    let (record, _) = gradient(&combined(ca_mkd, &[term("sp", 1.0, "confidence")]));
    let level = |name: &str| {
        let found = record.teacher_weights.iter().find(|(level, _)| *level == name);
        found.map(|(_, weights)| weights.clone()).unwrap()
    };
    assert_eq!(level("kd"), level("sp"));
    assert!((level("sp").iter().sum::<f64>() - 1.0).abs() < 1e-5);
    let (weighted, _) = gradient(&combined(base("ce", &[]), &[term("sp", 1.0, "confidence")]));
    let (plain, _) = gradient(&combined(base("ce", &[]), &[term("sp", 1.0, "uniform")]));
    assert!(weighted.loss != plain.loss);
}

#[test]
fn a_combination_prints_its_whole_objective() {
    let fitnet = term("fitnet", 100.0, "confidence");
    let mut rkd = MethodTerm::with_defaults(&find("rkd").unwrap().spec);
    rkd.teacher_weights = "entropy";
    let method = combined(base("aver", &[]), &[fitnet, rkd]);
    assert_eq!(
        build(&method).unwrap().objective(3),
        "CE + 1 τ² mean_k KL, τ = 4, K = 3; + 100 mean_k MSE at f2 (mean_k by confidence); \
         + 25 mean_k distances + 50 mean_k angles (mean_k by entropy)"
    );
}

#[test]
fn terms_are_read_from_recipes_and_refused_with_a_hint() {
    let text = |terms: &str, method: &str, teachers: &str| {
        format!(
            "[data]\npath = \"d\"\n[student]\nnetwork = \"resnet8\"\n{teachers}[method]\n\
             name = \"{method}\"\n{terms}"
        )
    };
    let teacher = "[[teachers]]\nname = \"a\"\nlogits = \"a.npy\"\n";
    let read = |terms: &str, method: &str, teachers: &str| {
        Recipe::from_str(&text(terms, method, teachers), "x.toml", &[], &specs())
    };
    let good = "[[method.terms]]\nname = \"at\"\nbeta = 500\nteacher_weights = \"confidence\"\n\
                [[method.terms]]\nname = \"sp\"\n";
    let loaded = read(good, "ce", teacher).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let method = &loaded.recipe.method;
    assert_eq!(method.terms.len(), 2);
    assert_eq!(method.terms[0].method.number("beta"), Some(500.0));
    assert_eq!(method.terms[1].teacher_weights, "uniform");
    let again = loaded.recipe.to_toml().unwrap();
    let again = Recipe::from_str(&again, "x.toml", &[], &specs()).unwrap();
    assert_eq!(again.recipe.method, *method);
    let keys: Vec<&str> = loaded.explain().iter().map(|own| own.key.as_str()).collect();
    assert!(keys.contains(&"method.terms[0].beta"), "{keys:?}");

    let bad = [
        ("name = \"att\"", "aver", teacher, "unknown term `att`", "did you mean `at`?"),
        ("name = \"kd\"", "aver", teacher, "method `kd` has no term", "did you mean `rkd`?"),
        ("name = \"at\"\nalpha = 1", "aver", teacher, "unknown key `alpha`", ""),
        ("name = \"at\"\nteacher_weights = \"best\"", "aver", teacher, "`best`", "confidence"),
        ("name = \"at\"", "at", teacher, "stands there twice", "once"),
        ("name = \"at\"", "ce", "", "at least 1 teacher", "add `[[teachers]]`"),
    ];
    for (terms, method, teachers, what, hint) in bad {
        let terms = format!("[[method.terms]]\n{terms}\n");
        let problems = read(&terms, method, teachers).unwrap_err().problems;
        let problem = &problems[0];
        assert!(problem.what.contains(what), "{terms}: {problem:?}");
        assert!(problem.hint.contains(hint), "{terms}: {problem:?}");
    }
}
