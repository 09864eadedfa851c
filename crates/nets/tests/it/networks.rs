//! Published weight files must load unchanged and give the reference logits and features.

use std::path::Path;

use faculty_nets::{Inference, MapShape, Network};
use faculty_testkit::{Case, Tolerance, files, reference_folder};

/// Relative to the largest value of each tensor: the references are float64, the networks run in
/// float32 with folded batch norm.
const TOLERANCE: Tolerance = Tolerance { relative: 0.0, of_largest: 1e-3, absolute: 0.0 };

#[test]
fn networks_give_the_reference_outputs() {
    let own = Path::new("crates/nets/tests/networks");
    let folder = reference_folder("FACULTY_NETWORKS", Path::new("../shared/networks"))
        .or_else(|| reference_folder("FACULTY_NETWORKS", own))
        .expect("the project's own reference networks are part of the repository");
    let mut passed = 0;
    let mut failures = Vec::new();
    for path in files(&folder, "safetensors") {
        let case = Case::read(&path);
        let name = case.metadata["network"].clone();
        match check(&name, &case, &path.with_extension("pth")) {
            Ok(()) => passed += 1,
            Err(problem) => failures.push(problem),
        }
    }
    println!("networks: {passed} cases passed");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(passed > 0, "{}: no case", folder.display());
}

fn check(name: &str, case: &Case, weights: &Path) -> Result<(), String> {
    let classes: usize = case.metadata["classes"].parse().map_err(|e| format!("{name}: {e}"))?;
    let input = case.tensor("in.x");
    let [batch, channels, height, width] = input.shape[..] else {
        return Err(format!("{name}: `in.x` has shape {:?}", input.shape));
    };
    let network = Network::load(name, MapShape::new(channels, height, width), classes, weights)
        .map_err(|e| e.to_string())?;
    let features = network.graph().features().to_vec();
    let mut plan = Inference::new(&network, &features);
    let logits = plan.run(&input.values, batch).to_vec();
    case.compare("out.logits", &logits, TOLERANCE)?;
    for (index, &feature) in features.iter().enumerate() {
        let expected = format!("out.feat.{index}");
        // Very large features are left out of the reference files.
        if case.tensors.contains_key(&expected) {
            case.compare(&expected, plan.value(feature), TOLERANCE)?;
        }
    }
    Ok(())
}
