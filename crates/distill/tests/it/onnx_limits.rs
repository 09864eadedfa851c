//! ONNX files that would exhaust stack, memory or patience end in an error.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use faculty_data::SampleId;
use faculty_data::View;
use faculty_nets::MapShape;
use faculty_teachers::{OnnxChoice, OnnxTeacher, TeacherBatch, TeacherInput, TeacherSource as _};
use rten_onnx::onnx::{
    DataLocation, DataType, Dimension, GraphProto, ModelProto, NodeProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

const IMAGE: MapShape = MapShape::new(1, 2, 2);

fn value(name: &str, sizes: &[i64]) -> ValueInfoProto {
    let dim = sizes.iter().map(|&size| Dimension { dim_value: Some(size), dim_param: None });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape };
    let r#type = Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() });
    ValueInfoProto { name: Some(name.to_owned()), r#type }
}

fn node(kind: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(kind.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn constant(name: &str, dims: &[i64], kind: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: Some(kind),
        raw_data: Some(RefCell::new(bytes)),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    }
}

fn sizes(name: &str, values: &[i64]) -> TensorProto {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    constant(name, &[values.len() as i64], DataType::INT64, bytes)
}

/// `x`, an image, to `y`.
fn write(path: &Path, nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> PathBuf {
    write_with(path, nodes, initializer, &["y"])
}

fn write_with(
    path: &Path,
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    outputs: &[&str],
) -> PathBuf {
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![value("x", &[1, 1, 2, 2])],
        output: outputs.iter().map(|name| value(name, &[1, 4])).collect(),
        ..GraphProto::default()
    };
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), ..ModelProto::default() };
    std::fs::write(path, model.write_buf().unwrap()).unwrap();
    path.to_owned()
}

fn chain(path: &Path, kind: &str, length: usize) -> PathBuf {
    let name = |step: usize| if step == 0 { "x".to_owned() } else { format!("t{step}") };
    let mut nodes: Vec<NodeProto> =
        (0..length).map(|step| node(kind, &[&name(step)], &name(step + 1))).collect();
    nodes.push(node("Flatten", &[&name(length)], "y"));
    write(path, nodes, Vec::new())
}

fn load(path: &Path) -> Result<OnnxTeacher, String> {
    OnnxTeacher::load(path, &OnnxChoice::default(), TeacherInput::new(IMAGE, None, None)).map_err(
        |error| {
            assert!(error.hint().is_some());
            error.to_string()
        },
    )
}

fn refused(path: &Path) -> String {
    load(path).err().expect("must be refused")
}

#[test]
fn a_chain_as_long_as_allowed_runs_and_longer_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.onnx");
    let mut teacher = load(&chain(&path, "Relu", 9_999)).unwrap();
    // From a thread with little stack, as a trainer may be.
    let outputs = std::thread::scope(|scope| {
        let run = || {
            let image = [-1.0, 2.0, 3.0, -4.0];
            let batch =
                TeacherBatch { ids: &[SampleId(0)], view: View::Train(0), inputs: (&image).into() };
            teacher.outputs(&batch, &[]).unwrap().logits
        };
        scope.spawn(run).join().unwrap()
    });
    assert_eq!(outputs, [0.0, 2.0, 3.0, 0.0]);
    for (kind, length) in [("Relu", 10_000), ("Relu", 20_000), ("Identity", 30_000)] {
        let text = refused(&chain(&path, kind, length));
        assert!(text.contains("more than 10000 of its operators follow one another"), "{text}");
    }
    let text = refused(&chain(&path, "Identity", 100_000));
    assert!(text.contains("100001 operators"), "{text}");
}

#[test]
fn of_label_and_probabilities_the_chosen_one_is_read_as_logits_and_the_other_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.onnx");
    // The runtime has no Hardmax.
    let nodes = vec![
        node("Flatten", &["x"], "z"),
        node("Softmax", &["z"], "probabilities"),
        node("Hardmax", &["z"], "label"),
    ];
    write_with(&path, nodes, Vec::new(), &["label", "probabilities"]);
    assert!(refused(&path).contains("2 outputs `label`, `probabilities`"));
    let choice = OnnxChoice { output: Some("probabilities".to_owned()), map: None };
    let input = TeacherInput::new(IMAGE, None, None);
    let mut teacher = OnnxTeacher::load(&path, &choice, input).unwrap();
    assert!(teacher.notes()[0].contains("softmax"), "{:?}", teacher.notes());
    let image = [-1.0, 2.0, 3.0, -4.0];
    let batch = TeacherBatch { ids: &[SampleId(0)], view: View::Train(0), inputs: (&image).into() };
    assert_eq!(teacher.outputs(&batch, &[]).unwrap().logits, image);
}

#[test]
fn a_graph_that_bites_its_tail_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("circle.onnx");
    let nodes = vec![
        node("Add", &["x", "b"], "a"),
        node("Relu", &["a"], "b"),
        node("Flatten", &["b"], "y"),
    ];
    let text = refused(&write(&path, nodes, Vec::new()));
    assert!(text.contains("waits for its own output"), "{text}");
}

#[test]
fn sizes_in_the_file_that_no_memory_holds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.onnx");
    const HUGE: i64 = 1 << 40;
    let flat = || node("Flatten", &["t"], "y");
    let cases: [(&str, &[&str], &[i64]); 6] = [
        ("ConstantOfShape", &["s"], &[HUGE]),
        ("ConstantOfShape", &["s"], &[1 << 20, 1 << 20, 1 << 20, 1 << 20]),
        ("Expand", &["x", "s"], &[1 << 20, 1, 1 << 20, 2]),
        ("Tile", &["x", "s"], &[1, HUGE, 1, 1]),
        ("Resize", &["x", "", "", "s"], &[1, 1, 1 << 20, 1 << 20]),
        ("Pad", &["x", "s"], &[0, 0, HUGE, 0, 0, 0, 0, 0]),
    ];
    for (kind, inputs, numbers) in cases {
        let text = refused(&write(
            &path,
            vec![node(kind, inputs, "t"), flat()],
            vec![sizes("s", numbers)],
        ));
        assert!(text.contains("at most are held") || text.contains("pads by"), "{kind}: {text}");
    }
    // A constant that says to be larger than it is.
    for dims in [&[HUGE][..], &[i64::MAX, i64::MAX], &[3], &[-1]] {
        let huge = constant("c", dims, DataType::FLOAT, vec![0; 4]);
        refused(&write(&path, vec![node("Add", &["x", "c"], "t"), flat()], vec![huge]));
    }
}

#[cfg(unix)]
#[test]
fn external_data_that_is_a_device_or_a_pipe_is_refused_and_a_link_to_a_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let mut outside = constant("c", &[4], DataType::FLOAT, Vec::new());
    outside.raw_data = None;
    outside.data_location = Some(DataLocation::EXTERNAL);
    outside.external_data = vec![StringStringEntryProto {
        key: Some("location".to_owned()),
        value: Some("data.bin".to_owned()),
    }];
    write(&path, vec![node("Flatten", &["x"], "t"), node("Add", &["t", "c"], "y")], vec![outside]);
    let data = folder.path().join("data.bin");
    std::os::unix::fs::symlink("/dev/zero", &data).unwrap();
    assert!(refused(&path).contains("no regular file"));
    std::fs::remove_file(&data).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&data).status().unwrap().success());
    assert!(refused(&path).contains("no regular file"));
    std::fs::remove_file(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    assert!(refused(&path).contains("no regular file"));
    std::fs::remove_dir(&data).unwrap();
    let blob = folder.path().join("blob");
    std::fs::write(&blob, [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat()).unwrap();
    std::os::unix::fs::symlink(&blob, &data).unwrap();
    assert_eq!(load(&path).unwrap().files(), [path.clone(), data]);
    // The model itself likewise.
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.onnx")).unwrap();
    assert!(refused(&folder.path().join("zero.onnx")).contains("no regular file"));
}
