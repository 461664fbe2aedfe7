//! What the emulated driver keeps: one device, one context, work in order.

use std::collections::HashMap;
use std::io::Write;

use cosmogan::emulator::{Argument, Buffer, Device, Launch, Module, Profile};
use half::bf16;

use super::blas::{Product, Settings};
use super::dnn::{Convolution, Descriptors};

/// CUDA's results, by number.
pub type Status = u32;
pub const INVALID_VALUE: Status = 1;
pub const OUT_OF_MEMORY: Status = 2;
pub const NO_DEVICE: Status = 100;
pub const INVALID_DEVICE: Status = 101;
pub const INVALID_CONTEXT: Status = 201;
pub const INVALID_PTX: Status = 218;
pub const UNSUPPORTED_PTX_VERSION: Status = 222;
pub const INVALID_HANDLE: Status = 400;
pub const NOT_FOUND: Status = 500;
pub const ILLEGAL_ADDRESS: Status = 700;
pub const CAPTURE_UNSUPPORTED: Status = 900;
pub const CAPTURE_INVALIDATED: Status = 901;

/// Type of the values that the libraries read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    Bf16,
}

/// How the driver pretends to be, from `COSMOGAN_EMULATED_CUDA`: `no-device`, or any of
/// `capability=7.5`, `version=12080`, `memory=BYTES`, `cudnn-version=91002`, and of fprop, dgrad and
/// wgrad one that cuDNN does wrongly (`cudnn-wrong=fprop`) or not at all (`cudnn-refuses=dgrad`), with
/// commas between them.
pub struct Pretence {
    pub devices: i32,
    pub capability: (i32, i32),
    pub version: i32,
    pub memory: usize,
    pub cudnn_version: usize,
    pub cudnn_wrong: String,
    pub cudnn_refuses: String,
}

impl Pretence {
    pub fn from_environment() -> Self {
        let mut pretence = Self {
            devices: 1,
            capability: (9, 0),
            version: 12080,
            memory: 8 << 30,
            cudnn_version: 91_002,
            cudnn_wrong: String::new(),
            cudnn_refuses: String::new(),
        };
        let words = std::env::var("COSMOGAN_EMULATED_CUDA").unwrap_or_default();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None if word == "no-device" => pretence.devices = 0,
                Some(("capability", value)) => {
                    let (major, minor) = value.split_once('.').unwrap();
                    pretence.capability = (major.parse().unwrap(), minor.parse().unwrap());
                }
                Some(("version", value)) => pretence.version = value.parse().unwrap(),
                Some(("memory", value)) => pretence.memory = value.parse().unwrap(),
                Some(("cudnn-version", value)) => pretence.cudnn_version = value.parse().unwrap(),
                Some(("cudnn-wrong", value)) => value.clone_into(&mut pretence.cudnn_wrong),
                Some(("cudnn-refuses", value)) => value.clone_into(&mut pretence.cudnn_refuses),
                _ => panic!("COSMOGAN_EMULATED_CUDA: {word}?"),
            }
        }
        pretence
    }
}

/// A kernel that was looked up.
#[derive(Clone)]
pub struct Function {
    pub module: Module,
    pub name: String,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
}

/// Work in the stream.
#[derive(Clone)]
pub enum Work {
    Launch {
        function: usize,
        launch: Launch,
        parameters: Vec<Vec<u8>>,
    },
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    /// From page-locked memory at this address.
    Upload {
        to: u64,
        from: usize,
        bytes: usize,
    },
    /// To page-locked memory at this address.
    Download {
        to: usize,
        from: u64,
        bytes: usize,
    },
    Graph(usize),
    Product(Product),
    Convolution(Convolution),
}

pub struct State {
    pub pretence: Pretence,
    pub device: Device,
    pub retained: usize,
    pub modules: Vec<(Module, String)>,
    pub functions: Vec<Function>,
    /// Address, length, buffer.
    pub allocations: Vec<(u64, usize, Buffer)>,
    pub pinned: HashMap<usize, Vec<u8>>,
    pub graphs: Vec<Vec<Work>>,
    pub capture: Option<Vec<Work>>,
    pub capture_is_broken: bool,
    pub pending: Vec<Work>,
    pub done: usize,
    /// How much work came before each event.
    pub events: HashMap<usize, usize>,
    pub next: usize,
    pub blas: Settings,
    pub dnn: Descriptors,
    /// What a kernel did wrong: the context is lost.
    pub lost: Option<Status>,
}

impl State {
    pub fn new() -> Self {
        let pretence = Pretence::from_environment();
        let (major, minor) = pretence.capability;
        let capability = (10 * major + minor) as u32;
        Self {
            device: Device::new(Profile {
                capability,
                ..Profile::SM_90
            }),
            pretence,
            retained: 0,
            modules: Vec::new(),
            functions: Vec::new(),
            allocations: Vec::new(),
            pinned: HashMap::new(),
            graphs: Vec::new(),
            capture: None,
            capture_is_broken: false,
            pending: Vec::new(),
            done: 0,
            events: HashMap::new(),
            next: 0,
            blas: Settings::default(),
            dnn: Descriptors::new(),
            lost: None,
        }
    }

    /// A number for a new handle; not 0.
    pub fn handle(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    pub fn free(&self) -> usize {
        let used: usize = self.allocations.iter().map(|(_, bytes, _)| bytes).sum();
        self.pretence.memory.saturating_sub(used)
    }

    /// Refuses what may not be called while work is captured, as CUDA does: the capture is lost, too.
    pub fn outside_of_capture(&mut self) -> Result<(), Status> {
        match self.capture {
            None => Ok(()),
            Some(_) => {
                self.capture_is_broken = true;
                Err(CAPTURE_UNSUPPORTED)
            }
        }
    }

    pub fn add(&mut self, work: Work) {
        match &mut self.capture {
            Some(captured) => captured.push(work),
            None => self.pending.push(work),
        }
    }

    /// Does the first `upto` pieces of all work that was ever asked for.
    pub fn flush(&mut self, upto: usize) -> Result<(), Status> {
        while self.done < upto && !self.pending.is_empty() {
            let work = self.pending.remove(0);
            self.done += 1;
            if let Err(status) = self.execute(&work) {
                self.lost.get_or_insert(status);
            }
        }
        self.lost.map_or(Ok(()), Err)
    }

    pub fn flush_all(&mut self) -> Result<(), Status> {
        self.flush(usize::MAX)
    }

    /// The buffer that holds an address, and how far into it that is.
    pub fn locate(&self, address: u64, bytes: usize) -> Result<(Buffer, usize), Status> {
        let holds = |&&(start, len, _): &&(u64, usize, Buffer)| {
            address >= start && address + bytes as u64 <= start + len as u64
        };
        let found = self.allocations.iter().find(holds);
        let (start, _, buffer) = found.ok_or(INVALID_VALUE)?;
        Ok((*buffer, (address - start) as usize))
    }

    pub fn upload(&mut self, to: u64, bytes: &[u8]) -> Result<(), Status> {
        let (buffer, offset) = self.locate(to, bytes.len())?;
        let uploaded = self.device.upload(buffer, offset, bytes);
        uploaded.map_err(|_| INVALID_VALUE)
    }

    pub fn download(&mut self, from: u64, bytes: &mut [u8]) -> Result<(), Status> {
        let (buffer, offset) = self.locate(from, bytes.len())?;
        let downloaded = self.device.download(buffer, offset, bytes);
        downloaded.map_err(|_| INVALID_VALUE)
    }

    /// A tensor's values, of either type.
    pub fn values(&mut self, from: u64, len: usize, element: Element) -> Result<Vec<f64>, Status> {
        match element {
            Element::F32 => {
                let mut values = vec![0f32; len];
                self.download(from, bytemuck::cast_slice_mut(&mut values))?;
                Ok(values.into_iter().map(f64::from).collect())
            }
            Element::Bf16 => {
                let mut values = vec![bf16::ZERO; len];
                self.download(from, bytemuck::cast_slice_mut(&mut values))?;
                Ok(values.into_iter().map(f64::from).collect())
            }
        }
    }

    /// Writes values, rounded to the type.
    pub fn store(&mut self, to: u64, values: &[f64], element: Element) -> Result<(), Status> {
        let values = values.iter().copied();
        match element {
            Element::F32 => {
                let rounded: Vec<f32> = values.map(|value| value as f32).collect();
                self.upload(to, bytemuck::cast_slice(&rounded))
            }
            Element::Bf16 => {
                let rounded: Vec<bf16> = values.map(bf16::from_f64).collect();
                self.upload(to, bytemuck::cast_slice(&rounded))
            }
        }
    }

    fn execute(&mut self, work: &Work) -> Result<(), Status> {
        match work {
            Work::Launch {
                function,
                launch,
                parameters,
            } => self.launch(*function, launch, parameters),
            &Work::Copy { to, from, bytes } => {
                let mut copied = vec![0; bytes];
                self.download(from, &mut copied)?;
                self.upload(to, &copied)
            }
            &Work::Upload { to, from, bytes } => {
                let (start, block) = self.pinned_block(from, bytes)?;
                let copied = self.pinned[&block][from - start..][..bytes].to_vec();
                self.upload(to, &copied)
            }
            &Work::Download { to, from, bytes } => {
                let (start, block) = self.pinned_block(to, bytes)?;
                let mut copied = vec![0; bytes];
                self.download(from, &mut copied)?;
                let block = self.pinned.get_mut(&block).ok_or(INVALID_VALUE)?;
                block[to - start..][..bytes].copy_from_slice(&copied);
                Ok(())
            }
            Work::Product(product) => product.run(self),
            Work::Convolution(convolution) => convolution.run(self),
            Work::Graph(graph) => {
                let work = self.graphs[*graph].clone();
                work.iter().try_for_each(|work| self.execute(work))
            }
        }
    }

    /// Start and key of the page-locked block that holds these bytes.
    pub fn pinned_block(&self, address: usize, bytes: usize) -> Result<(usize, usize), Status> {
        let holds = |(start, block): &(&usize, &Vec<u8>)| {
            address >= **start && address + bytes <= **start + block.len()
        };
        let found = self.pinned.iter().find(holds);
        found
            .map(|(start, _)| (*start, *start))
            .ok_or(INVALID_VALUE)
    }

    fn launch(
        &mut self,
        function: usize,
        launch: &Launch,
        parameters: &[Vec<u8>],
    ) -> Result<(), Status> {
        let Function { module, name, .. } = &self.functions[function];
        let arguments: Vec<_> = parameters.iter().cloned().map(Argument::Bytes).collect();
        let told = match self.device.launch(*module, name, launch, &arguments) {
            Ok(report) if report.findings.is_empty() => return Ok(()),
            Ok(report) => report.findings[0].to_string(),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(std::io::stderr(), "emulated CUDA: {name}: {told}");
        Err(ILLEGAL_ADDRESS)
    }
}
