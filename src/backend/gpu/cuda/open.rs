//! Which CUDA devices there are, and taking one.

use cudarc::driver::result;
use cudarc::driver::sys::{CUcontext, CUdevice, CUdevice_attribute};

use super::calls::failed;
use super::library::start_driver;
use crate::backend::gpu::driver::{DeviceInfo, DriverError};

/// The lowest compute capability that the kernels are built for.
const LOWEST: (u32, u32) = (7, 5);

/// A device and its primary context, which is current in this thread.
pub struct OpenDevice {
    pub device: CUdevice,
    pub context: CUcontext,
    pub info: DeviceInfo,
}

/// Takes device `index`.
///
/// # Errors
/// No driver, no such device, or one that is too old.
pub fn open(index: usize) -> Result<OpenDevice, DriverError> {
    start_driver()?;
    let count = result::device::get_count().map_err(failed("counting the CUDA devices"))?;
    let ordinal = i32::try_from(index).ok().filter(|index| *index < count);
    let Some(ordinal) = ordinal else {
        return Err(DriverError::NoDevice {
            index,
            found: found(count)?,
        });
    };
    let device = result::device::get(ordinal).map_err(failed("opening a CUDA device"))?;
    let info = describe(device)?;
    if info.capability < LOWEST {
        let (major, minor) = info.capability;
        return Err(DriverError::Unsupported {
            name: info.name,
            major,
            minor,
        });
    }
    // SAFETY: the driver gave the device.
    let context = unsafe { result::primary_ctx::retain(device) };
    let context = context.map_err(failed("making a CUDA context"))?;
    let open = OpenDevice {
        device,
        context,
        info,
    };
    match open.make_current() {
        Ok(()) => Ok(open),
        Err(error) => {
            // SAFETY: the context was retained above, once.
            let _ = unsafe { result::primary_ctx::release(device) };
            Err(error)
        }
    }
}

impl OpenDevice {
    /// Makes the device's context that of the calling thread.
    ///
    /// # Errors
    /// A failing device.
    pub fn make_current(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained until the driver is dropped.
        unsafe { result::ctx::set_current(self.context) }
            .map_err(failed("making a CUDA context current"))
    }
}

/// The devices that there are, in words.
fn found(count: i32) -> Result<String, DriverError> {
    let names = (0..count).map(|ordinal| {
        let device = result::device::get(ordinal).map_err(failed("opening a CUDA device"))?;
        let name = result::device::get_name(device).map_err(failed("asking a device's name"))?;
        Ok(format!("cuda:{ordinal} ({name})"))
    });
    let names = names.collect::<Result<Vec<_>, DriverError>>()?;
    Ok(match names.as_slice() {
        [] => "the driver finds no device at all".to_owned(),
        [only] => format!("there is one, {only}"),
        several => format!("there are {}", several.join(", ")),
    })
}

fn describe(device: CUdevice) -> Result<DeviceInfo, DriverError> {
    let attribute = |which| {
        // SAFETY: the driver gave the device.
        let value = unsafe { result::device::get_attribute(device, which) };
        let value = value.map_err(failed("asking for a device's properties"))?;
        Ok::<u32, DriverError>(value.unsigned_abs())
    };
    use CUdevice_attribute as Attribute;
    // SAFETY: the driver gave the device.
    let memory = unsafe { result::device::total_mem(device) };
    Ok(DeviceInfo {
        name: result::device::get_name(device).map_err(failed("asking a device's name"))?,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        memory: memory.map_err(failed("asking for a device's memory"))? as u64,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        cache: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
    })
}
