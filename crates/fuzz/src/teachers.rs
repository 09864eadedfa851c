//! Files of teachers and students: weights, ONNX, descriptions, tables of logits, names of classes.

use std::path::Path;
use std::sync::OnceLock;

use faculty_data::{Dataset, LogitTable};
use faculty_distill::class_cost::ClassCost;
use faculty_distill::recipe::{Classes, Recipe};
use faculty_distill::run::inspect_teachers;
use faculty_nets::weights::{self, WeightFile};
use faculty_nets::{
    Architecture as _, DescribedNetwork, MapShape, Network, OnnxNetwork, described,
};
use faculty_teachers::Head;
use faculty_teachers::{OnnxChoice, OnnxTeacher, TeacherInput};

use crate::input::{Scratch, files};
use crate::runs::Project;

/// A network's description, and the network for small images.
pub(crate) fn student(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let path = Path::new("student.toml");
    let network = DescribedNetwork::of_text(text, "student".to_owned(), path);
    network.is_ok_and(|network| network.graph(MapShape::new(3, 32, 32), 10).is_ok())
}

/// Descriptions that use every kind of layer.
pub(crate) fn students() -> Vec<Vec<u8>> {
    let names = ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"];
    let of = |name| described(name).expect("a built-in network").expect("it has a description");
    names.map(|name| of(name).into_bytes()).to_vec()
}

/// `torch.save` in each of its containers.
pub(crate) fn pytorch(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    accepts_weights(&folder.write("weights.pth", bytes))
}

fn accepts_weights(path: &Path) -> bool {
    let read = weights::read(path);
    let image = MapShape::new(1, 8, 8);
    if let Ok(mut file) = WeightFile::open(path, None)
        && let Ok((network, _)) = Network::from_file("resnet8x0.5", image, None, &mut file)
    {
        assert!(network.classes() > 0);
    }
    for array in read.iter().flat_map(|state| state.values()) {
        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
        assert!(array.values.iter().all(|value| value.is_finite()));
    }
    read.is_ok()
}

/// Weights, a classifier head, class costs or a table of logits.
pub(crate) fn safetensors(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write("file.safetensors", bytes);
    let read = weights::parse_safetensors(&path, bytes).is_ok();
    accepts_weights(&path);
    let _ = (Head::read(&path).is_ok(), LogitTable::read(&path).is_ok());
    let _ = ClassCost::read(&path, 4, 3);
    read
}

/// The first byte says which format; `.npy` has the ids of its rows behind it.
pub(crate) fn logits(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let Some((kind, content)) = bytes.split_first() else { return false };
    let read = match kind {
        b'n' => {
            let [table, ids] = files(content);
            folder.write("table.ids.txt", ids);
            LogitTable::read(&folder.write("table.npy", table))
        }
        b'p' => LogitTable::read(&folder.write("table.parquet", content)),
        _ => LogitTable::read(&folder.write("table.safetensors", content)),
    };
    read.is_ok()
}

/// Images of 3 × 8 × 8: as a network to train, and as a teacher.
pub(crate) fn onnx(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let path = folder.write("model.onnx", bytes);
    let image = MapShape::new(3, 8, 8);
    if let Ok(onnx) = OnnxNetwork::open(&path, None) {
        for classes in [None, Some(5)] {
            if let Ok((network, _)) = onnx.network(image, classes, 1) {
                assert!(classes.is_none_or(|classes| classes == network.classes()));
            }
        }
    }
    let input = TeacherInput::new(image, None, None);
    OnnxTeacher::load(&path, &OnnxChoice::default(), input).is_ok()
}

/// `teachers.classes` of a teacher of four classes, for data of three.
pub(crate) fn classes(bytes: &[u8]) -> bool {
    static PROJECT: OnceLock<(Project, Recipe, Dataset)> = OnceLock::new();
    let (_, recipe, dataset) = PROJECT.get_or_init(|| {
        let project = Project::new();
        let (recipe, dataset) = project.with_a_table();
        (project, recipe, dataset)
    });
    let folder = Scratch::new();
    let mut recipe = recipe.clone();
    recipe.teachers[0].classes = Some(Classes::File(folder.write("classes", bytes)));
    inspect_teachers(&recipe, dataset, None).is_ok()
}
