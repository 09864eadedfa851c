//! A teacher whose values no loss can use, told from a training that breaks down by itself.

use crate::error::Result;
use crate::tap::Tap;
use faculty_comm::Group;
use faculty_teachers::Teacher;
use faculty_teachers::TeacherOutputs;
use faculty_teachers::unusable;

/// The first one in a batch.
pub(super) struct TeacherFault {
    pub(super) teacher: String,
    /// `logits` or the tap.
    pub(super) what: String,
    pub(super) value: f32,
}

impl TeacherFault {
    /// Logits must be such as the preflight asks for, maps at `taps` finite.
    pub(super) fn find(
        teachers: &[Teacher],
        outputs: &[TeacherOutputs],
        taps: &[Tap],
    ) -> Option<Self> {
        teachers.iter().zip(outputs).find_map(|(teacher, TeacherOutputs { logits, maps })| {
            let fault = |what: String, value| Self { teacher: teacher.name.clone(), what, value };
            let broken = |map: &Vec<f32>| map.iter().copied().find(|value| !value.is_finite());
            let map = || maps.iter().zip(taps).find_map(|(map, tap)| Some((broken(map)?, tap)));
            unusable(logits)
                .map(|value| fault("logits".to_owned(), value))
                .or_else(|| map().map(|(value, tap)| fault(tap.to_string(), value)))
        })
    }

    /// The fault of the first process that found one, for all processes.
    pub(super) fn agreed(own: Option<Self>, group: &Group) -> Result<Option<Self>> {
        if group.is_alone() {
            return Ok(own);
        }
        // The name last, since it may hold anything.
        let text = |own: Self| format!("{}\n{}\n{}", own.value.to_bits(), own.what, own.teacher);
        let first = group.first_text(own.map(text).as_deref())?;
        Ok(first.map(|text| {
            let mut parts = text.splitn(3, '\n').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            let value = next().parse().map_or(f32::NAN, f32::from_bits);
            let what = next();
            Self { teacher: next(), what, value }
        }))
    }

    /// What broke, and its value.
    pub(super) fn described(&self) -> (String, f64) {
        (format!("{} of teacher `{}`", self.what, self.teacher), f64::from(self.value))
    }
}
