use super::*;

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn named(text: &str) -> Declared {
    Declared { names: Some(names(text)), ..Declared::default() }
}

fn map(pairs: &[(&str, &str)], own: Option<&str>) -> Declared {
    let map = pairs.iter().map(|(own, data)| ((*own).to_owned(), names(data))).collect();
    Declared { names: own.map(names), map: Some(map), list: None }
}

fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e: Vec<f32> = logits.iter().map(|z| ((z - largest) / temperature).exp()).collect();
    let sum: f32 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

fn assert_near(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
    }
}

#[test]
fn equal_classes_need_no_map_and_another_order_is_put_right() {
    let data = names("cat dog owl");
    assert_eq!(ClassMap::between(3, &Declared::default(), &data), Ok(None));
    assert_eq!(ClassMap::between(3, &named("cat dog owl"), &data), Ok(None));
    let permuted = ClassMap::between(3, &named("owl cat dog"), &data).unwrap().unwrap();
    assert_eq!(permuted.logits(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), [2.0, 3.0, 1.0, 5.0, 6.0, 4.0]);
    assert_eq!(permuted.summary(), "3 of 3 classes, in another order");
    let own =
        FrozenClassifier { weight: vec![1.0, 1.5, 2.0, 2.5, 3.0, 3.5], bias: vec![7.0, 8.0, 9.0] };
    let mapped = permuted.classifier(&own).unwrap();
    assert_eq!(mapped.weight, [2.0, 2.5, 3.0, 3.5, 1.0, 1.5]);
    assert_eq!(mapped.bias, [8.0, 9.0, 7.0]);
}

#[test]
fn a_superset_is_renormalised_over_what_is_shared() {
    let data = names("cat dog");
    let map = ClassMap::between(3, &map(&[], Some("dog tram cat")), &data).unwrap().unwrap();
    let own = [0.3, 5.0, 1.1];
    for temperature in [1.0, 4.0] {
        let all = softmax(&own, temperature);
        let shared = all[0] + all[2];
        let want = [all[2] / shared, all[0] / shared];
        assert_near(&softmax(&map.logits(&own), temperature), &want);
    }
    assert_eq!(map.summary(), "2 of 2 classes, 1 of its own left out");
}

#[test]
fn a_list_of_all_names_is_enough_for_data_of_some_of_its_classes() {
    let mut own: Vec<String> = (0..1000).map(|n| format!("x{n}")).collect();
    own[1] = "n01443537".to_owned();
    own[999] = "n01440764".to_owned();
    let data = names("n01440764 n01443537");
    let list =
        Declared { list: Some(own.iter().cloned().map(Some).collect()), ..Declared::default() };
    let in_its_file = Declared { names: Some(own), ..Declared::default() };
    let logits: Vec<f32> = (0..1000).map(|n| n as f32).collect();
    for declared in [list, in_its_file] {
        let map = ClassMap::between(1000, &declared, &data).unwrap().unwrap();
        assert_eq!(map.logits(&logits), [999.0, 1.0]);
        assert_eq!(map.summary(), "2 of 2 classes, 998 of its own left out");
    }
}

#[test]
fn merged_classes_add_their_probabilities() {
    let data = names("animal car");
    let declared = map(&[("0", "animal"), ("1", "car"), ("2", "animal")], None);
    let map = ClassMap::between(3, &declared, &data).unwrap().unwrap();
    let own = [0.3, 1.0, 700.0];
    let all = softmax(&own, 1.0);
    assert_near(&softmax(&map.logits(&own), 1.0), &[all[0] + all[2], all[1]]);
    let own = [0.3, 1.0, -0.4];
    let all = softmax(&own, 1.0);
    assert_near(&softmax(&map.logits(&own), 1.0), &[all[0] + all[2], all[1]]);
    let head = FrozenClassifier { weight: vec![0.0; 3], bias: vec![0.0; 3] };
    assert_eq!(map.classifier(&head), None);
    assert_eq!(map.summary(), "2 of 2 classes, 1 merged");
}

#[test]
fn a_split_class_shares_its_probability_and_keeps_a_linear_head() {
    let data = names("cat dog car");
    let declared = map(&[("animal", "cat dog")], Some("animal car"));
    let map = ClassMap::between(2, &declared, &data).unwrap().unwrap();
    let all = softmax(&[2.0, 1.0], 1.0);
    let got = softmax(&map.logits(&[2.0, 1.0]), 1.0);
    assert_near(&got, &[all[0] / 2.0, all[0] / 2.0, all[1]]);
    let head = FrozenClassifier { weight: vec![1.0, 2.0], bias: vec![0.5, 0.25] };
    let mapped = map.classifier(&head).unwrap();
    assert_near(&mapped.weight, &[1.0, 1.0, 2.0]);
    assert_near(&mapped.bias, &[0.5 - 2.0_f32.ln(), 0.5 - 2.0_f32.ln(), 0.25]);
}

#[test]
fn a_class_that_the_teacher_lacks_gets_no_mass_and_stays_finite() {
    let data = names("cat dog owl");
    let map = ClassMap::between(2, &map(&[], Some("dog cat")), &data).unwrap().unwrap();
    for own in [[1.0, 2.0], [1e4, -1e4]] {
        let logits = map.logits(&own);
        assert!(logits.iter().all(|z| z.is_finite()));
        let [cat, dog, owl] = softmax(&logits, 10.0)[..] else { panic!() };
        let shared = softmax(&[own[1], own[0]], 10.0);
        assert_near(&[cat, dog], &shared);
        assert!(owl < 1e-8, "{owl}");
    }
    // A constant added to the teacher's logits adds to all of them.
    assert_near(
        &map.logits(&[1.0, 2.0]),
        &map.logits(&[3.0, 4.0]).iter().map(|z| z - 2.0).collect::<Vec<_>>(),
    );
    assert_eq!(map.summary(), "2 of 3 classes, 1 missing");
    let head = FrozenClassifier { weight: vec![0.0; 2], bias: vec![0.0; 2] };
    assert_eq!(map.classifier(&head), None);
}

#[test]
fn undeclared_mismatches_are_refused_with_the_differences() {
    let data = names("cat dog");
    let refused = |own, declared: &Declared| ClassMap::between(own, declared, &data).unwrap_err();
    assert_eq!(
        refused(3, &named("cat tram owl")).to_string(),
        "its classes are not those of the data: only the teacher has `owl`, `tram`; only the data \
         has `dog`"
    );
    assert_eq!(refused(3, &Declared::default()), ClassProblem::Count { found: 3, expected: 2 });
    assert_eq!(refused(3, &named("cat dog")), ClassProblem::ListLength { found: 2, expected: 3 });
    assert_eq!(refused(2, &named("cat cat")), ClassProblem::Twice { name: "cat".to_owned() });
    let typo = refused(2, &map(&[("0", "cot")], None));
    assert_eq!(typo.hint(), "did you mean `cat`?");
    let typo = refused(2, &map(&[("kat", "cat")], Some("cat dog")));
    assert_eq!(typo.to_string(), "`classes` names `kat`, which is no class of the teacher");
    assert_eq!(
        refused(2, &map(&[("7", "cat")], None)).hint(),
        "use the teacher's names, or numbers from 0"
    );
    assert_eq!(refused(2, &map(&[("0", "cat")], None)), ClassProblem::NothingShared { shared: 1 });
    let many: Vec<String> = (0..20).map(|i| format!("c{i:02}")).collect();
    let text = refused(20, &Declared { names: Some(many), ..Declared::default() }).to_string();
    assert!(text.contains("`c07` and 12 more"), "{text}");
    // All forms that work.
    for form in ["`-`", "own = ", "\"names\"", "\"map\""] {
        assert!(refused(3, &Declared::default()).hint().contains(form), "{form}");
    }
    assert!(!refused(3, &named("cat dog")).hint().is_empty());
}

#[test]
fn a_list_may_leave_out_and_merge() {
    let data = names("cat dog");
    let list = ["dog", "-", "cat", "cat"].map(|n| (n != "-").then(|| n.to_owned())).to_vec();
    let declared = Declared { list: Some(list), ..Declared::default() };
    let map = ClassMap::between(4, &declared, &data).unwrap().unwrap();
    assert_near(&map.logits(&[1.0, 9.0, 2.0, 2.0]), &[2.0 + 2.0_f32.ln(), 1.0]);
}
