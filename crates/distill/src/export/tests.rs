use std::path::PathBuf;

use faculty_data::ExifOrientation;
use faculty_nets::{MapShape, Network};

use super::*;

fn student(seed: u64) -> FinishedStudent {
    let network = Network::new("resnet8x0.5", MapShape::new(3, 12, 10), 4, seed).unwrap();
    FinishedStudent {
        network,
        path: PathBuf::from("student.safetensors"),
        tokenizer: None,
        exif_orientation: ExifOrientation::Apply,
        normalisation: Some(Normalisation { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.3, 0.4] }),
        class_names: ["a", "b", "c", "d"].map(str::to_owned).into(),
        data: None,
        unfinished_epoch: None,
        notes: Vec::new(),
    }
}

#[test]
fn exports_agree_with_any_batch_and_with_normalisation_inside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.onnx");
    for batch in [None, Some(1), Some(7), Some(100)] {
        for normalise in [false, true] {
            let parity = export_onnx(&student(1), &path, OnnxExport { batch, normalise }).unwrap();
            assert!(!parity.real && parity.images == IMAGES, "{parity:?}");
            assert!(parity.largest_logit > 0.0 && parity.relative <= TOLERANCE, "{parity:?}");
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn another_network_is_noticed() {
    let own = student(1);
    let other = Inference::new(&student(2).network, &[]);
    let onnx = other.to_onnx("other", &OnnxOptions::default()).unwrap();
    let plan = Inference::new(&own.network, &[]);
    let parity = check(&own, plan, &onnx, OnnxExport::default()).unwrap();
    assert!(parity.relative > 0.01, "{parity:?}");
}

#[test]
fn a_student_that_is_not_finite_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.onnx");
    let mut own = student(1);
    own.network.parameters_mut()[0][0] = f32::NAN;
    let error = export_onnx(&own, &path, OnnxExport::default()).unwrap_err();
    assert!(matches!(error, Error::ExportDiffers { .. }), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn differences_are_a_share_of_the_largest_logit() {
    let parity = compare(&[1.0, -4.0], &[1.0, -4.5], 1);
    assert_eq!((parity.largest_difference, parity.largest_logit), (0.5, 4.5));
    assert!((parity.relative - 0.5 / 4.5).abs() < 1e-12);
    assert!(compare(&[f32::NAN, 1.0], &[1.0, 1.0], 1).relative.is_nan());
    assert_eq!(compare(&[1.0], &[1.0, 1.0], 1).relative, f64::INFINITY);
    assert_eq!(compare(&[0.0], &[0.0], 1).relative, 0.0);
}

#[test]
fn normalisation_inside_needs_one() {
    let own = FinishedStudent { normalisation: None, ..student(1) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.onnx");
    let export = OnnxExport { normalise: true, ..OnnxExport::default() };
    let error = export_onnx(&own, &path, export).unwrap_err();
    assert!(error.hint().unwrap().contains("--normalise"), "{error}");
    export_onnx(&own, &path, OnnxExport::default()).unwrap();
}
