//! The launches of the sample kernels that several tests run: what each kernel gets, and what it
//! must leave, computed by scalar code that shares nothing with the kernel.

#![allow(dead_code)] // Each test binary uses its own part.

mod arithmetic;
mod convolution;
mod integers;
mod math;
mod reductions;
mod shared;
mod warps;

use std::fmt::Write as _;
use std::path::PathBuf;

use bytemuck::Pod;
use cosmogan::emulator::{Argument, Buffer, Device, Launch, Profile, Report};
use cosmogan::rng::{Philox, SequentialPhilox, Stream};
use rand::RngExt;

/// One launch of a sample kernel.
pub struct Case {
    /// The sample, without `.cu`.
    pub file: &'static str,
    pub kernel: &'static str,
    pub launch: Launch,
    pub buffers: Vec<BufferCase>,
    pub arguments: Vec<Value>,
}

/// A buffer of a case.
pub struct BufferCase {
    pub name: &'static str,
    pub bytes: usize,
    /// Offsets and contents before the launch; what they leave out is memory that nothing wrote.
    pub written: Vec<(usize, Vec<u8>)>,
    pub expected: Expected,
}

type Check = Box<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// What a buffer must hold after the launch.
pub enum Expected {
    /// What was written before.
    Unchanged,
    Bytes(Vec<u8>),
    Satisfies(Check),
}

/// An argument that names its buffers.
#[derive(Clone)]
pub enum Value {
    Of(&'static str),
    /// A buffer's address and bytes to add to it.
    At(&'static str, i64),
    Plain(Argument),
    Struct(Vec<Value>),
}

/// What a launch left.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub report: Report,
    pub contents: Vec<Vec<u8>>,
    /// How the contents differ from what is expected.
    pub wrong: Option<String>,
}

impl Case {
    pub fn new(file: &'static str, kernel: &'static str, grid: u32, block: u32) -> Self {
        Self {
            file,
            kernel,
            launch: Launch::new([grid, 1, 1], [block, 1, 1]),
            buffers: Vec::new(),
            arguments: Vec::new(),
        }
    }

    pub fn shape(mut self, grid: [u32; 3], block: [u32; 3]) -> Self {
        self.launch.grid = grid;
        self.launch.block = block;
        self
    }

    pub fn shared(mut self, bytes: usize) -> Self {
        self.launch.shared_bytes = bytes;
        self
    }

    /// A buffer that the kernel must leave as it is.
    pub fn input<T: Pod>(self, name: &'static str, values: &[T]) -> Self {
        self.buffer(name, values, Expected::Unchanged)
    }

    /// A buffer that holds `values` and must hold `expected` afterwards.
    pub fn inout<T: Pod>(self, name: &'static str, values: &[T], expected: &[T]) -> Self {
        assert_eq!(values.len(), expected.len());
        self.buffer(name, values, bytes_of(expected))
    }

    /// A buffer that holds `values` and must satisfy `check` afterwards.
    pub fn checked<T: Pod>(
        self,
        name: &'static str,
        values: &[T],
        check: impl Fn(&[T]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.buffer(name, values, satisfies(check))
    }

    /// A buffer that nothing wrote before the launch and that must hold `expected` afterwards.
    pub fn output<T: Pod>(mut self, name: &'static str, expected: &[T]) -> Self {
        self.buffers.push(BufferCase {
            name,
            bytes: size_of_val(expected),
            written: Vec::new(),
            expected: bytes_of(expected),
        });
        self
    }

    /// An output within `tolerance[i]` of `expected[i]`.
    pub fn close(self, name: &'static str, expected: Vec<f64>, tolerance: Vec<f64>) -> Self {
        self.output_checked(name, expected.len(), move |values: &[f32]| {
            near(values, &expected, &tolerance)
        })
    }

    /// An output of `len` values that must satisfy `check`.
    pub fn output_checked<T: Pod>(
        mut self,
        name: &'static str,
        len: usize,
        check: impl Fn(&[T]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.buffers.push(BufferCase {
            name,
            bytes: len * size_of::<T>(),
            written: Vec::new(),
            expected: satisfies(check),
        });
        self
    }

    /// An input whose rows of `len` values are `pitch` apart; nothing wrote what lies between.
    pub fn pitched<T: Pod>(
        mut self,
        name: &'static str,
        values: &[T],
        len: usize,
        pitch: usize,
    ) -> Self {
        let size = size_of::<T>();
        let rows = values.chunks(len).enumerate();
        self.buffers.push(BufferCase {
            name,
            bytes: values.len() / len * pitch * size,
            written: rows
                .map(|(row, values)| (row * pitch * size, bytemuck::cast_slice(values).to_vec()))
                .collect(),
            expected: Expected::Unchanged,
        });
        self
    }

    fn buffer<T: Pod>(mut self, name: &'static str, values: &[T], expected: Expected) -> Self {
        self.buffers.push(BufferCase {
            name,
            bytes: size_of_val(values),
            written: vec![(0, bytemuck::cast_slice(values).to_vec())],
            expected,
        });
        self
    }

    pub fn arguments(mut self, arguments: impl IntoIterator<Item = Value>) -> Self {
        self.arguments = arguments.into_iter().collect();
        self
    }

    /// The arguments of a kernel with one thread an element: their number, then all buffers in the
    /// order of the case.
    pub fn elements(mut self, n: usize) -> Self {
        let buffers = self.buffers.iter().map(|buffer| Value::Of(buffer.name));
        self.arguments = std::iter::once(int(n as i32)).chain(buffers).collect();
        self
    }

    /// Kernel and launch, for messages.
    pub fn title(&self) -> String {
        let mut title = format!(
            "{} of {}.cu, grid {:?}, block {:?}",
            self.kernel, self.file, self.launch.grid, self.launch.block
        );
        for argument in &self.arguments {
            if let Value::Plain(plain) = argument {
                let _ = write!(title, ", {plain:?}");
            }
        }
        title
    }

    /// Runs the case with the PTX `text` under `launch`, which is the case's own but for options.
    pub fn run(&self, text: &str, launch: &Launch) -> Result<Outcome, String> {
        let mut device = Device::new(profile(text));
        let module = device
            .load(&format!("{}.ptx", self.file), text)
            .map_err(|error| error.to_string())?;
        let mut handles = Vec::new();
        for buffer in &self.buffers {
            let handle = device
                .allocate(buffer.name, buffer.bytes)
                .map_err(|error| error.to_string())?;
            for (offset, bytes) in &buffer.written {
                device
                    .upload(handle, *offset, bytes)
                    .map_err(|error| error.to_string())?;
            }
            handles.push((buffer.name, handle));
        }
        let arguments: Vec<Argument> = self
            .arguments
            .iter()
            .map(|value| value.resolved(&handles))
            .collect();
        let report = device
            .launch(module, self.kernel, launch, &arguments)
            .map_err(|error| error.to_string())?;
        let mut contents = Vec::new();
        let mut wrong = None;
        for (buffer, (_, handle)) in self.buffers.iter().zip(&handles) {
            let mut bytes = vec![0; buffer.bytes];
            device
                .download(*handle, 0, &mut bytes)
                .map_err(|error| error.to_string())?;
            wrong = wrong.or_else(|| buffer.wrong(&bytes));
            contents.push(bytes);
        }
        Ok(Outcome {
            report,
            contents,
            wrong,
        })
    }
}

impl BufferCase {
    /// How `bytes` differ from what the buffer must hold after the launch.
    pub fn wrong(&self, bytes: &[u8]) -> Option<String> {
        let told = |offset: usize, what: &str| {
            Some(format!(
                "{}: byte {offset} is not what was {what}",
                self.name
            ))
        };
        match &self.expected {
            Expected::Unchanged => self.written.iter().find_map(|(offset, before)| {
                let after = &bytes[*offset..*offset + before.len()];
                let at = after.iter().zip(before).position(|(a, b)| a != b)?;
                told(offset + at, "uploaded")
            }),
            Expected::Bytes(expected) => {
                let at = bytes.iter().zip(expected).position(|(a, b)| a != b)?;
                told(at, "expected")
            }
            Expected::Satisfies(check) => check(bytes)
                .err()
                .map(|message| format!("{}: {message}", self.name)),
        }
    }
}

impl Value {
    fn resolved(&self, handles: &[(&'static str, Buffer)]) -> Argument {
        let handle = |name: &str| {
            let found = handles.iter().find(|(known, _)| *known == name);
            found
                .unwrap_or_else(|| panic!("the case has no buffer '{name}'"))
                .1
        };
        match self {
            Self::Of(name) => Argument::Buffer(handle(name)),
            Self::At(name, bytes) => Argument::Offset(handle(name), *bytes),
            Self::Plain(argument) => argument.clone(),
            Self::Struct(members) => {
                Argument::Struct(members.iter().map(|m| m.resolved(handles)).collect())
            }
        }
    }
}

pub fn int(value: i32) -> Value {
    Value::Plain(Argument::I32(value))
}

pub fn float(value: f32) -> Value {
    Value::Plain(Argument::F32(value))
}

fn bytes_of<T: Pod>(values: &[T]) -> Expected {
    Expected::Bytes(bytemuck::cast_slice(values).to_vec())
}

fn satisfies<T: Pod>(
    check: impl Fn(&[T]) -> Result<(), String> + Send + Sync + 'static,
) -> Expected {
    Expected::Satisfies(Box::new(move |bytes| {
        let mut values = vec![T::zeroed(); bytes.len() / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
        check(&values)
    }))
}

/// Refuses what is not a number.
fn near(values: &[f32], expected: &[f64], tolerance: &[f64]) -> Result<(), String> {
    for (i, ((&value, &expected), &tolerance)) in
        values.iter().zip(expected).zip(tolerance).enumerate()
    {
        let difference = (f64::from(value) - expected).abs();
        if difference.is_nan() || difference > tolerance {
            return Err(format!(
                "value {i} is {value}, not {expected} within {tolerance:e}"
            ));
        }
    }
    Ok(())
}

/// The profile of the device that `text`'s `.target` names.
pub fn profile(text: &str) -> Profile {
    let target = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(".target "))
        .expect("a .target line");
    Profile::for_target(target.trim()).expect("a profile that runs the target")
}

pub fn folder() -> PathBuf {
    // Elsewhere than where it was built, a test is told where the repository lies.
    let root = std::env::var_os("CARGO_MANIFEST_DIR");
    let root = root.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(root).join("tests/emulator")
}

/// The targets that a sample's source names.
pub fn targets(file: &str) -> Vec<String> {
    let path = folder().join(format!("{file}.cu"));
    let source =
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let line = source
        .lines()
        .find_map(|line| line.strip_prefix("// targets: "))
        .unwrap_or_else(|| panic!("{} names no targets", path.display()));
    line.split(' ').map(str::to_owned).collect()
}

/// The committed PTX of a sample, or what another compiler made of it, in the folder named by
/// `COSMOGAN_SAMPLE_PTX`.
pub fn ptx(file: &str, target: &str) -> String {
    let folder =
        std::env::var_os("COSMOGAN_SAMPLE_PTX").map_or_else(|| folder().join("ptx"), PathBuf::from);
    let path = folder.join(format!("{file}.{target}.ptx"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every launch, with sizes and values drawn from `seed`.
pub fn all(seed: u64) -> Vec<Case> {
    let mut random = Philox::new(seed, Stream::Benchmark, 0).sequential();
    let mut cases = Vec::new();
    cases.extend(arithmetic::cases(&mut random));
    cases.extend(integers::cases(&mut random));
    cases.extend(math::cases(&mut random));
    cases.extend(reductions::cases(&mut random));
    cases.extend(shared::cases(&mut random));
    cases.extend(warps::cases(&mut random));
    cases.extend(convolution::cases(&mut random));
    cases
}

type Random = SequentialPhilox;

/// `len` numbers of N(0, 1).
fn normals(random: &mut Random, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Philox::new(random.random(), Stream::Benchmark, 0).fill_normal(&mut values);
    values
}

fn words(random: &mut Random, len: usize) -> Vec<u32> {
    (0..len).map(|_| random.random()).collect()
}

/// `len` integers of `-bound..=bound`.
fn signed(random: &mut Random, len: usize, bound: i32) -> Vec<i32> {
    (0..len)
        .map(|_| random.random_range(-bound..=bound))
        .collect()
}
