//! The students of a plan: their names, their images, and what they give together.

use std::path::Path;

use faculty_data::Split;
use faculty_nets::{MapShape, Network};
use faculty_records::plan::Ensemble;
use faculty_records::quality::Quality;
use faculty_teachers::{NetworkTeacher, RunData, TeacherSource, teachers_quality};

use crate::error::Result;

/// What the students give together.
pub(super) fn ensemble(networks: &[Network], data: &RunData) -> Result<Ensemble> {
    let of = |part: &Option<Split>| -> Result<Option<Quality>> {
        let Some(part) = part else { return Ok(None) };
        let mut teachers: Vec<NetworkTeacher> =
            networks.iter().map(|network| NetworkTeacher::new(network, None, &[])).collect();
        let mut sources: Vec<&mut dyn TeacherSource> =
            teachers.iter_mut().map(|teacher| teacher as _).collect();
        let measured = teachers_quality(&mut sources, part, &data.views)?;
        Ok(measured.map(|(_, ensemble)| ensemble))
    };
    Ok(Ensemble { validation: of(&data.validation)?, test: of(&data.test)? })
}

/// Images as the networks get them.
pub(super) fn input(data: &RunData) -> Result<MapShape> {
    let [channels, height, width] = data.train.shape()?;
    Ok(MapShape::new(channels, height, width))
}

/// `1-resnet14`: names of files, each another one.
pub(super) fn numbered(at: usize, network: &str) -> String {
    // Of a network that is named by its file the file's name alone.
    let path = Path::new(network);
    let name = path
        .file_stem()
        .filter(|_| path.extension().is_some_and(|end| end == "onnx" || end == "toml"));
    let name = name.map_or(network.into(), |name| name.to_string_lossy());
    format!("{}-{name}", at + 1)
}
