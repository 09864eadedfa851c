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

/// The student with data whose labels are what it says itself, so that as floats it is always right.
fn with_data(mut own: FinishedStudent) -> FinishedStudent {
    let shape = own.shape();
    let [channels, height, width] = shape;
    let image = |at: usize| {
        (0..channels * height * width).map(move |i| {
            let row = i / width % height;
            let noise = (at * 7919 + i * 104_729) % 60;
            let bright = (row < height / 2) == at.is_multiple_of(2);
            (if bright { 150 } else { 40 } + noise) as u8
        })
    };
    let set = |from: usize, count: usize| {
        let pixels = (from..from + count).flat_map(image).collect();
        ImageSet::new(channels, height, width, pixels, vec![0; count]).unwrap()
    };
    // Not one class for all: what the logits have in common is taken off.
    let normalisation = own.normalisation.clone().unwrap();
    let images = rendered(&Split::whole(set(0, 40).into()), &normalisation).unwrap();
    let logits = Inference::new(&own.network, &[]).run(&images, 40).to_vec();
    for (class, bias) in own.network.output_bias_mut().unwrap().iter_mut().enumerate() {
        *bias -= logits.iter().skip(class).step_by(4).sum::<f32>() / 40.0;
    }
    let labelled = |set: ImageSet| {
        let images = rendered(&Split::whole(set.clone().into()), &normalisation).unwrap();
        let logits = Inference::new(&own.network, &[]).run(&images, set.len()).to_vec();
        let labels = logits.chunks(4).map(|row| {
            (0..4_u32).max_by(|&a, &b| row[a as usize].total_cmp(&row[b as usize])).unwrap()
        });
        let pixels = set.pixels().to_vec();
        ImageSet::new(channels, height, width, pixels, labels.collect()).unwrap()
    };
    let names = own.class_names.clone();
    let (train, test) = (labelled(set(0, 40)), labelled(set(40, 60)));
    let of_first = test.labels().iter().filter(|&&label| label == test.labels()[0]).count();
    assert!((10..=50).contains(&of_first), "{of_first} of one class");
    let data =
        faculty_data::Dataset::new("made", faculty_data::Format::Folder, names, train, Some(test));
    FinishedStudent { data: Some(Ok(data.unwrap())), ..own }
}

#[test]
fn eight_bits_keep_the_accuracy_and_are_smaller() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.onnx");
    let own = with_data(student(1));
    for (batch, normalise) in [(None, false), (Some(7), true)] {
        let int8 = Int8Export { most_loss: 10.0, ..Int8Export::default() };
        let export = OnnxExport { batch, normalise };
        let accuracy = export_int8(&own, &path, export, int8).unwrap();
        assert!(accuracy.tested && accuracy.images == 60, "{accuracy:?}");
        assert_eq!((accuracy.calibration_images, accuracy.float), (40, 1.0), "{accuracy:?}");
        assert!(accuracy.int8 >= 0.9 && accuracy.agreement == accuracy.int8, "{accuracy:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), accuracy.bytes[1] as u64);
        // Its logits are near the float ones, and not the same: it does compute in 8 bits.
        let identity = Normalisation::identity(3);
        let pixels = if normalise { &identity } else { own.normalisation.as_ref().unwrap() };
        let images = rendered(&own.images(20).unwrap(), pixels).unwrap();
        let options = onnx_options(&own, export).unwrap();
        let plan = Inference::new(&own.network, &[]);
        let float = plan.to_onnx("float", &options).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let run = |onnx: &[u8]| runtime::logits(onnx, &images, own.shape(), batch).unwrap();
        let relative = compare(&run(&bytes), &run(&float), 20).relative;
        assert!(relative > 1e-4 && relative < 0.2, "{relative}");
        // The same bytes again.
        export_int8(&own, &path, export, int8).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_loss_beyond_the_limit_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.onnx");
    // A channel of enormous values that nothing reads: its range swallows those of the others.
    let mut spoiled = student(1);
    let graph = spoiled.network.graph().clone();
    let readers =
        ["layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer2.0.downsample.0.weight"];
    for (spec, values) in graph.parameters().iter().zip(spoiled.network.parameters_mut()) {
        if spec.name == "bn1.weight" {
            values[0] = 1e6;
        }
        if readers.contains(&spec.name.as_str()) {
            let (inputs, window) = (spec.shape[1], spec.shape[2] * spec.shape[3]);
            let first = |at: usize| (at / window).is_multiple_of(inputs);
            let of_first = values.iter_mut().enumerate().filter(|(at, _)| first(*at));
            of_first.for_each(|(_, value)| *value = 0.0);
        }
    }
    let spoiled = with_data(spoiled);
    let int8 = Int8Export { most_loss: 0.0, ..Int8Export::default() };
    let error = export_int8(&spoiled, &path, OnnxExport::default(), int8);
    match error {
        Err(Error::Int8LosesTooMuch { float, int8, .. }) => assert!(float > int8),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn eight_bits_need_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.onnx");
    let error = export_int8(&student(1), &path, OnnxExport::default(), Int8Export::default());
    let error = error.unwrap_err();
    assert!(error.to_string().contains("calibrate"), "{error}");
    assert!(error.hint().unwrap().contains("run folder"));
}
