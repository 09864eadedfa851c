//! Where the student's steps are computed.

use burn::tensor::Device;
use faculty_nets::{BurnRun, Run, TrainingRun};

use faculty_recipe as recipe;

use crate::error::{LearnerError, Result};

/// Where student and projectors run. Teachers, losses and the optimiser are always on the CPU.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Compute {
    /// Our kernels on the CPU.
    Kernels,
    /// Plain burn operations on a burn device.
    Burn(Device),
}

impl Compute {
    /// What a recipe asks for.
    ///
    /// # Errors
    /// When this program was built without that device.
    pub fn of(device: recipe::Device) -> Result<Self> {
        match device {
            recipe::Device::Cpu => Ok(Self::Kernels),
            recipe::Device::CpuBurn => Ok(Self::Burn(Device::flex())),
            #[cfg(feature = "vulkan")]
            recipe::Device::Vulkan => {
                Ok(Self::Burn(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)))
            }
            #[cfg(not(feature = "vulkan"))]
            recipe::Device::Vulkan => Err(LearnerError::DeviceNotBuilt { device: "vulkan" }),
        }
    }

    pub(crate) fn run(&self) -> Run {
        match self {
            Self::Kernels => Run::Kernels(TrainingRun::new()),
            Self::Burn(device) => Run::Burn(BurnRun::new(device)),
        }
    }
}
