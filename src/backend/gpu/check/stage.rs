//! Where one case of a check takes place: its tensors on the device, its comparisons.

use half::bf16;
use rand::RngExt;

use super::Comparison;
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Allocation, Driver, DriverError, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::rng::{Philox, SequentialPhilox, Stream};

/// Values behind each tensor that nothing may touch.
const GUARD: usize = 64;

/// Bytes of memory that nothing has written, and of guards: a NaN.
const POISON: u8 = 0xff;

/// The tensors of one case. Each lies in an allocation of its own, so that the emulator finds every
/// access beyond it; elsewhere a guard behind it is looked at in the end.
pub struct Stage<'a, D: Driver> {
    pub launcher: &'a mut Launcher<D>,
    pub random: SequentialPhilox,
    tensors: Vec<(String, Allocation)>,
    comparisons: Vec<Comparison>,
    digest: blake3::Hasher,
}

/// What a case wrote.
pub(super) struct Written {
    pub comparisons: Vec<Comparison>,
    pub digest: blake3::Hash,
}

impl<'a, D: Driver> Stage<'a, D> {
    pub(super) fn new(launcher: &'a mut Launcher<D>, random: SequentialPhilox) -> Self {
        Self {
            launcher,
            random,
            tensors: Vec::new(),
            comparisons: Vec::new(),
            digest: blake3::Hasher::new(),
        }
    }

    /// `len` numbers of N(0, 1).
    pub fn normals(&mut self, len: usize) -> Vec<f32> {
        let mut values = vec![0.0; len];
        Philox::new(self.random.random(), Stream::Benchmark, 0).fill_normal(&mut values);
        values
    }

    /// A tensor that the operation reads (and may write).
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn input<T: bytemuck::Pod>(
        &mut self,
        name: &str,
        values: &[T],
    ) -> Result<Pointer, DriverError> {
        self.input_at(name, values, 0)
    }

    /// `len` numbers of N(0, 1), rounded to bf16.
    pub fn half_normals(&mut self, len: usize) -> Vec<bf16> {
        self.normals(len).into_iter().map(bf16::from_f32).collect()
    }

    /// A tensor that begins `shift` f32 values behind a multiple of 256 bytes, as parameters in the
    /// middle of a network's do.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn input_at<T: bytemuck::Pod>(
        &mut self,
        name: &str,
        values: &[T],
        shift: usize,
    ) -> Result<Pointer, DriverError> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let pointer = self.allocate(name, shift, bytes.len())?;
        self.launcher.driver.write(pointer, bytes)?;
        Ok(pointer)
    }

    /// The same for a tensor that an operation may do without.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn optional_at<T: bytemuck::Pod>(
        &mut self,
        name: &str,
        values: Option<&[T]>,
        shift: usize,
    ) -> Result<Option<Pointer>, DriverError> {
        values
            .map(|values| self.input_at(name, values, shift))
            .transpose()
    }

    /// A tensor of `len` f32 values that the operation should write.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn output(&mut self, name: &str, len: usize) -> Result<Pointer, DriverError> {
        self.output_at(name, len, 0)
    }

    /// An output that begins `shift` values behind a multiple of 256 bytes.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn output_at(
        &mut self,
        name: &str,
        len: usize,
        shift: usize,
    ) -> Result<Pointer, DriverError> {
        self.allocate(name, shift, 4 * len)
    }

    /// A gradient that the operation should set, or add to what was there `before`.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn gradient_at(
        &mut self,
        name: &str,
        before: &[f32],
        accumulate: Accumulate,
        shift: usize,
    ) -> Result<Pointer, DriverError> {
        match accumulate {
            Accumulate::First => self.output_at(name, before.len(), shift),
            Accumulate::Later => self.input_at(name, before, shift),
        }
    }

    /// A bf16 tensor of `len` values that the operation should write.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn half_output(&mut self, name: &str, len: usize) -> Result<Pointer, DriverError> {
        self.allocate(name, 0, 2 * len)
    }

    fn allocate(&mut self, name: &str, shift: usize, bytes: usize) -> Result<Pointer, DriverError> {
        let driver = &mut self.launcher.driver;
        // Where unwritten memory and accesses beyond an allocation are found anyway, nothing is
        // written and nothing lies behind the tensor.
        let guard = if driver.finds_faults() { 0 } else { 4 * GUARD };
        let allocation = driver.allocate(name, 4 * shift + bytes.max(4) + guard)?;
        if guard > 0 {
            driver.write(allocation.address, &vec![POISON; allocation.bytes])?;
        }
        self.tensors.push((name.to_owned(), allocation));
        Ok(allocation.address.plus(shift))
    }

    /// The values of a tensor. What the operation wrote must be the same on the second run.
    ///
    /// # Errors
    /// What failed on the device, findings of the emulator among it.
    pub fn read(&mut self, pointer: Pointer, len: usize) -> Result<Vec<f32>, DriverError> {
        let values = self.fetch(pointer, len)?;
        self.digest.update(bytemuck::cast_slice(&values));
        Ok(values)
    }

    fn fetch<T: bytemuck::Pod>(
        &mut self,
        pointer: Pointer,
        len: usize,
    ) -> Result<Vec<T>, DriverError> {
        self.launcher.check()?;
        let mut values = vec![T::zeroed(); len];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        self.launcher.driver.read(pointer, bytes)?;
        Ok(values)
    }

    /// Compares a tensor on the device with the reference; `tolerance` gets an index and the value
    /// expected there.
    ///
    /// # Errors
    /// What failed on the device, findings of the emulator among it.
    pub fn compare(
        &mut self,
        tensor: &str,
        pointer: Pointer,
        expected: &[f64],
        tolerance: impl Fn(usize, f64) -> f64,
    ) -> Result<(), DriverError> {
        let values = self.read(pointer, expected.len())?;
        self.comparisons
            .push(compare(tensor, &values, expected, tolerance));
        Ok(())
    }

    /// The values of a bf16 tensor. What the operation wrote must be the same on the second run.
    ///
    /// # Errors
    /// What failed on the device, findings of the emulator among it.
    pub fn read_half(&mut self, pointer: Pointer, len: usize) -> Result<Vec<f32>, DriverError> {
        let values: Vec<bf16> = self.fetch(pointer, len)?;
        self.digest.update(bytemuck::cast_slice(&values));
        Ok(values.into_iter().map(bf16::to_f32).collect())
    }

    /// Compares a tensor of either type that may have other bits on the second run.
    ///
    /// # Errors
    /// What failed on the device, findings of the emulator among it.
    pub fn compare_once<T: bytemuck::Pod + Into<f32>>(
        &mut self,
        tensor: &str,
        pointer: Pointer,
        expected: &[f64],
        tolerance: impl Fn(usize, f64) -> f64,
    ) -> Result<(), DriverError> {
        let values: Vec<T> = self.fetch(pointer, expected.len())?;
        let values: Vec<f32> = values.into_iter().map(T::into).collect();
        self.comparisons
            .push(compare(tensor, &values, expected, tolerance));
        Ok(())
    }

    /// [`Stage::compare`] for a bf16 tensor.
    ///
    /// # Errors
    /// What failed on the device, findings of the emulator among it.
    pub fn compare_half(
        &mut self,
        tensor: &str,
        pointer: Pointer,
        expected: &[f64],
        tolerance: impl Fn(usize, f64) -> f64,
    ) -> Result<(), DriverError> {
        let values = self.read_half(pointer, expected.len())?;
        self.comparisons
            .push(compare(tensor, &values, expected, tolerance));
        Ok(())
    }

    /// Compares a tensor on the device with f32 values that it must equal to the bit.
    ///
    /// # Errors
    /// What failed on the device, findings of the emulator among it.
    pub fn compare_bits(
        &mut self,
        tensor: &str,
        pointer: Pointer,
        expected: &[f32],
    ) -> Result<(), DriverError> {
        let values = self.read(pointer, expected.len())?;
        let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
        let place = values.iter().zip(expected).position(differs);
        self.comparisons.push(Comparison {
            tensor: tensor.to_owned(),
            worst: if place.is_some() { f64::INFINITY } else { 0.0 },
            place: place.map_or("all bits".to_owned(), |i| {
                format!("value {i} is {:e}, not {:e}", values[i], expected[i])
            }),
        });
        Ok(())
    }

    /// Looks at the guards and gives all memory back.
    pub(super) fn finish(self) -> Result<Written, DriverError> {
        let mut overrun = None;
        let mut result = self.launcher.check();
        for (name, allocation) in self.tensors {
            let driver = &mut self.launcher.driver;
            if result.is_ok() && !driver.finds_faults() {
                let mut guard = [0; 4 * GUARD];
                let end = Pointer(allocation.address.0 + (allocation.bytes - guard.len()) as u64);
                result = driver.read(end, &mut guard);
                if guard.iter().any(|&byte| byte != POISON) {
                    overrun.get_or_insert(name);
                }
            }
            let freed = driver.free(allocation);
            result = result.and(freed);
        }
        result?;
        if let Some(name) = overrun {
            return Err(DriverError::Call {
                action: "the kernel",
                reason: format!("it wrote beyond the end of {name}"),
            });
        }
        Ok(Written {
            comparisons: self.comparisons,
            digest: self.digest.finalize(),
        })
    }
}

/// The one comparator: a value that is not finite is infinitely far from any other.
fn compare(
    tensor: &str,
    values: &[f32],
    expected: &[f64],
    tolerance: impl Fn(usize, f64) -> f64,
) -> Comparison {
    let mut comparison = Comparison {
        tensor: tensor.to_owned(),
        worst: 0.0,
        place: String::new(),
    };
    for (i, (&value, &reference)) in values.iter().zip(expected).enumerate() {
        let tolerated = tolerance(i, reference);
        let deviation = (f64::from(value) - reference).abs();
        // An exact value is right even where nothing is tolerated.
        let share = if deviation == 0.0 {
            0.0
        } else {
            deviation / tolerated
        };
        // Not `share > worst`, which a NaN passes.
        let share = if share.is_nan() { f64::INFINITY } else { share };
        if share > comparison.worst || i == 0 {
            comparison.worst = share;
            comparison.place =
                format!("value {i} is {value:e}, not {reference:e} (within {tolerated:.1e})");
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparator_refuses_what_is_not_finite_or_too_far() {
        let tolerance = |_: usize, _: f64| 1e-6;
        let passes = |values: &[f32]| compare("t", values, &[1.0, 2.0], tolerance).passed();
        assert!(passes(&[1.0, 2.0]));
        assert!(!passes(&[1.0, 2.1]));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!passes(&[1.0, bad]) && !passes(&[bad, 2.0]));
        }
        assert!(!compare("t", &[1.0], &[f64::NAN], tolerance).passed());
        assert!(!compare("t", &[f32::NAN], &[f64::NAN], tolerance).passed());
        assert!(!compare("t", &[f32::INFINITY], &[f64::INFINITY], tolerance).passed());
    }
}
