//! Who writes the texts of a step, and which of their tokens count.

use faculty_language::{
    End, Example, Generated, GenerationConfig, LanguageError, Models, PolicyConfig, PolicyKind,
    Prompt, SpeculativeConfig, WrittenBatch, generate,
};
use faculty_nets::{Decoder, DecoderConfig, Network};
use faculty_random::splitmix64;

use crate::small;

const ENDS: [u32; 8] = [0, 1, 7, 19, 40, 77, 100, 200];

fn teacher() -> Decoder {
    let config = DecoderConfig { layers: 1, ..small::config() };
    Decoder::new(&Network::from_graph("teacher", config.graph().unwrap(), 11))
}

fn student(seed: u64) -> Network {
    Network::from_graph("student", small::config().graph().unwrap(), seed)
}

fn examples() -> Vec<Example> {
    let ids = |text: u64, length: u64| -> Vec<u32> {
        let of = |i| splitmix64(text, i) % small::config().vocabulary as u64;
        (0..length).map(|i| of(i) as u32).collect()
    };
    let example = |(text, length): (u64, u64)| Example {
        prompt: Prompt { ids: ids(text, length), sample: text },
        response: ids(text + 100, 4 + text),
    };
    (0..).zip([3, 9, 1, 5]).map(example).collect()
}

fn config(kind: PolicyKind) -> PolicyConfig {
    PolicyConfig { max_tokens: 10, ends: ENDS.to_vec(), seed: 5, ..PolicyConfig::new(kind) }
}

fn batch(config: &PolicyConfig, step: u64, student: &Network) -> WrittenBatch {
    let mut policy = config.build().unwrap();
    let models = &mut Models { student, teacher: &mut teacher() };
    policy.batch(step, &examples(), models).unwrap()
}

const KINDS: [PolicyKind; 6] = [
    PolicyKind::GroundTruth,
    PolicyKind::SequenceLevel,
    PolicyKind::OnPolicy,
    PolicyKind::ImitKd(0.5),
    PolicyKind::Gkd(0.5),
    PolicyKind::Speculative { drafts: 3, top_k: 60 },
];

/// The response of each text, as the marks say.
fn responses(batch: &WrittenBatch) -> Vec<Vec<u32>> {
    let of = |text: usize| {
        let range = batch.tokens.range(text);
        let predicted = range.clone().filter(|&at| batch.counted[at]).map(|at| {
            assert!(at + 1 < range.end, "a token behind the text is counted");
            batch.tokens.ids()[at + 1]
        });
        predicted.collect()
    };
    (0..batch.tokens.len()).map(of).collect()
}

fn with_end(text: &Generated) -> Vec<u32> {
    let end = match text.end {
        End::Token(id) => Some(id),
        _ => None,
    };
    text.ids.iter().copied().chain(end).collect()
}

#[test]
fn prompts_stand_first_and_only_responses_count() {
    for kind in KINDS {
        let own = batch(&config(kind), 3, &student(5));
        assert_eq!(own.tokens.len(), 4);
        for ((text, example), response) in (0..).zip(&examples()).zip(responses(&own)) {
            let all = [example.prompt.ids.as_slice(), &response].concat();
            assert_eq!(own.tokens.ids_of(text), all, "{kind:?}");
        }
    }
}

#[test]
fn each_policy_has_its_writer() {
    let (network, examples) = (student(5), examples());
    let prompts: Vec<Prompt> = examples.iter().map(|own| own.prompt.clone()).collect();
    let truth: Vec<Vec<u32>> = examples.iter().map(|own| own.response.clone()).collect();
    let of = |kind, step| batch(&config(kind), step, &network);
    assert_eq!(responses(&of(PolicyKind::GroundTruth, 3)), truth);
    let own = config(PolicyKind::SequenceLevel);
    let alone = GenerationConfig { max_tokens: 10, sampling: own.teacher, seed: 5, batch: 16 };
    let texts = generate(&mut teacher(), &prompts, &ENDS, &alone, |_, _| {}).unwrap();
    let by_teacher = of(PolicyKind::SequenceLevel, 3);
    assert_eq!(responses(&by_teacher), texts.iter().map(with_end).collect::<Vec<_>>());
    assert_eq!(by_teacher.written.by_teacher, 4);
    // On-policy, ImitKD and GKD at 1 are the student's own texts.
    let on_policy = of(PolicyKind::OnPolicy, 3);
    assert_eq!(on_policy.written.by_student, 4);
    for kind in [PolicyKind::ImitKd(1.0), PolicyKind::Gkd(1.0)] {
        assert_eq!(of(kind, 3), on_policy, "{kind:?}");
    }
    for kind in [PolicyKind::ImitKd(0.0), PolicyKind::Gkd(0.0)] {
        assert_eq!(responses(&of(kind, 3)), truth, "{kind:?}");
    }
    // Speculative with the whole vocabulary is on-policy, with the same sampling.
    let all = PolicyKind::Speculative { drafts: 3, top_k: small::config().vocabulary };
    let plain = PolicyConfig { student: config(PolicyKind::OnPolicy).student, ..config(all) };
    let own = batch(&plain, 3, &network);
    assert_eq!(responses(&own), responses(&on_policy));
    assert_eq!((own.written.by_both, own.written.counts.rejected), (4, 0));
    let some = of(PolicyKind::Speculative { drafts: 3, top_k: 60 }, 3);
    let counts = some.written.counts;
    assert!(counts.accepted > 0 && counts.rejected > 0, "{counts:?}");
    assert_eq!(counts.written, responses(&some).iter().map(Vec::len).sum::<usize>());
    let turns = SpeculativeConfig::default();
    let own = config(PolicyKind::Speculative { drafts: 5, top_k: 25 });
    assert_eq!((own.student, own.teacher), (turns.student, turns.teacher));
}

#[test]
fn mixtures_mix_texts_or_steps() {
    let (network, truth) = (student(5), batch(&config(PolicyKind::GroundTruth), 0, &student(5)));
    let mixed = |kind, step| {
        let own = batch(&config(kind), step, &network);
        let pairs = responses(&own).into_iter().zip(responses(&truth));
        let students = pairs.filter(|(own, truth)| own != truth).count();
        assert_eq!(own.written.by_student, students, "{kind:?} {step}");
        students
    };
    let by_steps: Vec<usize> = (0..24).map(|step| mixed(PolicyKind::Gkd(0.5), step)).collect();
    assert!(by_steps.iter().all(|&count| count == 0 || count == 4), "{by_steps:?}");
    assert!((6..=18).contains(&by_steps.iter().filter(|&&count| count == 4).count()));
    let by_texts: Vec<usize> = (0..24).map(|step| mixed(PolicyKind::ImitKd(0.5), step)).collect();
    assert!(by_texts.iter().any(|&count| count != 0 && count != 4), "{by_texts:?}");
    // 96 coins: standard deviation 4.9.
    assert!((29..=67).contains(&by_texts.iter().sum::<usize>()), "{by_texts:?}");
}

#[test]
fn a_step_is_a_function_of_seed_number_and_student() {
    for kind in KINDS {
        let own = config(kind);
        let want = batch(&own, 3, &student(5));
        // A policy that has been at work before gives the same: nothing is left from earlier steps.
        let mut policy = own.build().unwrap();
        let (network, mut teacher) = (student(5), teacher());
        let models = &mut Models { student: &network, teacher: &mut teacher };
        for step in [0, 1, 3] {
            let batch = policy.batch(step, &examples(), models).unwrap();
            assert!(step != 3 || batch == want, "{kind:?}");
        }
        // Texts do not depend on those beside them.
        let last = policy.batch(3, &examples()[3..], models).unwrap();
        assert_eq!(last.tokens.ids_of(0), want.tokens.ids_of(3), "{kind:?}");
        for batch_size in [1, 2] {
            assert_eq!(
                batch(&PolicyConfig { batch: batch_size, ..own.clone() }, 3, &network),
                want
            );
        }
    }
    let on_policy = config(PolicyKind::OnPolicy);
    let want = batch(&on_policy, 3, &student(5));
    assert_ne!(batch(&on_policy, 4, &student(5)), want);
    assert_ne!(batch(&on_policy, 3, &student(6)), want);
    assert_ne!(batch(&PolicyConfig { seed: 6, ..on_policy }, 3, &student(5)), want);
}

#[test]
fn long_texts_are_cut_and_empty_responses_count_nothing() {
    let long =
        Example { prompt: Prompt { ids: vec![3; 60], sample: 0 }, response: (0..20).collect() };
    let empty = Example { prompt: Prompt { ids: vec![3, 4], sample: 0 }, response: Vec::new() };
    let network = student(5);
    let models = &mut Models { student: &network, teacher: &mut teacher() };
    let mut policy = config(PolicyKind::GroundTruth).build().unwrap();
    let own = policy.batch(0, &[long, empty], models).unwrap();
    assert_eq!(own.tokens.ids_of(0).len(), small::config().longest);
    assert_eq!(responses(&own), [vec![0, 1, 2, 3], vec![]]);
}

#[test]
fn settings_out_of_range_and_examples_that_do_not_fit_are_refused() {
    for (kind, want) in [
        (PolicyKind::Gkd(1.5), "`share` is 1.5"),
        (PolicyKind::ImitKd(f64::NAN), "`share` is NaN"),
        (PolicyKind::Speculative { drafts: 0, top_k: 1 }, "`drafts` is 0"),
    ] {
        let error = config(kind).build().unwrap_err().to_string();
        assert!(error.contains(want), "{error}, {want} expected");
    }
    let none = PolicyConfig { max_tokens: 0, ..config(PolicyKind::OnPolicy) };
    assert!(none.build().unwrap_err().to_string().contains("`max-tokens` is 0"));
    let network = student(5);
    for kind in KINDS {
        let mut policy = config(kind).build().unwrap();
        let mut refused = |prompt: Vec<u32>, response: Vec<u32>, teacher: &mut Decoder| {
            let example = Example { prompt: Prompt { ids: prompt, sample: 0 }, response };
            let models = &mut Models { student: &network, teacher };
            policy.batch(0, &[example], models).unwrap_err()
        };
        let empty = refused(vec![], vec![1], &mut teacher());
        assert!(matches!(empty, LanguageError::EmptyPrompt { prompt: 1 }), "{empty}");
        let unknown = refused(vec![1], vec![5000], &mut teacher());
        assert!(matches!(unknown, LanguageError::Vocabulary { id: 5000, .. }), "{unknown}");
        let other = DecoderConfig { vocabulary: 50, ..small::config() };
        let mut other = Decoder::new(&Network::from_graph("other", other.graph().unwrap(), 1));
        let other = refused(vec![1], vec![1], &mut other);
        assert!(matches!(other, LanguageError::Vocabularies { teacher: 50, .. }), "{other}");
    }
}
