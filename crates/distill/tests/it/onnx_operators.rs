//! ONNX operators one by one, against what onnxruntime says (`bench/onnx_operators.py`).

use std::collections::BTreeMap;
use std::path::Path;

use faculty_data::SampleId;
use faculty_data::View;
use faculty_distill::Error;
use faculty_nets::MapShape;
use faculty_teachers::{OnnxChoice, OnnxTeacher, TeacherBatch, TeacherInput, TeacherSource as _};
use safetensors::SafeTensors;

const IMAGE: MapShape = MapShape::new(2, 5, 6);
const IMAGES: usize = 2;

struct Cases {
    bytes: Vec<u8>,
}

impl Cases {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/operators.safetensors");
        Self { bytes: std::fs::read(path).unwrap() }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let file = self.file();
        let mut names: Vec<String> = file
            .names()
            .iter()
            .filter_map(|n| n.strip_suffix(".model"))
            .map(str::to_owned)
            .collect();
        names.sort();
        assert!(names.len() > 150, "{}", names.len());
        names
    }

    fn metadata<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let file = self.file();
        let bytes = file.tensor(name).unwrap().data().to_vec();
        bytes.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
    }

    /// Logits for the images that are named, and what is said of them.
    fn run(&self, name: &str, images: &str, folder: &Path) -> Result<(Vec<f32>, String), Error> {
        let path = folder.join("model.onnx");
        let model = self.file().tensor(&format!("{name}.model")).unwrap().data().to_vec();
        std::fs::write(&path, model).unwrap();
        let input = TeacherInput::new(IMAGE, None, None);
        let mut teacher = OnnxTeacher::load(&path, &OnnxChoice::default(), input)?;
        let images = self.floats(images);
        let ids: Vec<SampleId> = (0..IMAGES as u64).map(SampleId).collect();
        let outputs = teacher.outputs(
            &TeacherBatch { ids: &ids, view: View::Train(0), inputs: (&images).into() },
            &[],
        )?;
        Ok((outputs.logits, teacher.notes().join("; ")))
    }
}

#[test]
fn every_operator_gives_what_onnxruntime_gives_or_is_refused() {
    let cases = Cases::open();
    let refused: Vec<String> = cases.metadata("refused");
    let of_bytes: Vec<String> = cases.metadata("of_bytes");
    let notes: BTreeMap<String, String> = cases.metadata("notes");
    let folder = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for name in cases.names() {
        let images = if of_bytes.contains(&name) { "bytes" } else { "images" };
        let got = cases.run(&name, images, folder.path());
        match (got, refused.contains(&name)) {
            (Err(error), true) => assert!(error.hint().is_some(), "{name}: {error}"),
            (Ok(_), true) => faults.push(format!("{name}: runs, but must be refused")),
            (Err(error), false) => faults.push(format!("{name}: {error}")),
            (Ok((got, said)), false) => {
                let note = notes.get(&name).map_or("", String::as_str);
                let reads = ["softmax", "sigmoid", "logarithm", "channels last", "bytes"];
                if !said.contains(note)
                    || (note.is_empty() && reads.iter().any(|r| said.contains(r)))
                {
                    faults.push(format!("{name}: says `{said}`, expected `{note}`"));
                }
                let want = cases.floats(&format!("{name}.outputs"));
                let largest = want.iter().fold(0.0_f32, |all, x| all.max(x.abs()));
                let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Rounding of float32 sums; a quantum of any of the 8-bit scales is far above it.
                if got.len() != want.len() || worst > 2e-6 * largest.max(1.0) {
                    let start = |v: &[f32]| v[..v.len().min(6)].to_vec();
                    faults.push(format!(
                        "{name}: off by {worst} of {largest}: {:?} instead of {:?}",
                        start(&got),
                        start(&want)
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of the cases:\n{}", faults.len(), faults.join("\n"));
}
