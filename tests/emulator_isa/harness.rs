//! How a form (an opcode with its modifiers) is run: on arrays of values, or in a kernel of its own.

use cosmogan::emulator::{Argument, Device, Launch, Profile, Report};
use cosmogan::rng::{Philox, SequentialPhilox, Stream};
use rand::RngExt;

/// Values that a form is tried on; a multiple of a block.
pub const COUNT: usize = 1024;
const BLOCK: usize = 128;

/// Registers of one operand of an instruction: 1 stands for a predicate, which is kept as a 32-bit
/// number in memory.
pub type Bits = u32;

/// The words of a form.
pub fn words(form: &str) -> Vec<&str> {
    form.split('.').collect()
}

/// All forms that take one word, or none (`""`), of each slot.
pub fn product(opcodes: &[&str], slots: &[&[&str]]) -> Vec<String> {
    let mut all: Vec<String> = opcodes.iter().map(|&opcode| opcode.to_owned()).collect();
    for slot in slots {
        all = all
            .iter()
            .flat_map(|form| {
                slot.iter().map(move |&word| match word {
                    "" => form.clone(),
                    word => format!("{form}.{word}"),
                })
            })
            .collect();
    }
    all
}

/// An instruction on registers: `$d`, and `$a` to `$e` as far as there are sources.
pub struct Shape {
    pub text: String,
    pub d: Bits,
    pub sources: Vec<Bits>,
}

impl Shape {
    /// `form $d, $a, ...;`
    pub fn plain(form: &str, d: Bits, sources: &[Bits]) -> Self {
        let operands: String = ["$a", "$b", "$c", "$e"][..sources.len()]
            .iter()
            .map(|name| format!(", {name}"))
            .collect();
        Self {
            text: format!("{form} $d{operands};"),
            d,
            sources: sources.to_vec(),
        }
    }

    pub fn ptx(&self) -> String {
        let stored = |bits: Bits| bits.max(16);
        let mut body = String::new();
        for (i, (&bits, name)) in self.sources.iter().zip(["a", "b", "c", "e"]).enumerate() {
            let (width, bytes) = if bits == 1 { (32, 4) } else { (bits, bits / 8) };
            let loaded = if bits == 1 {
                "%i2".to_owned()
            } else {
                format!("%{name}")
            };
            let class = if bits == 1 {
                "pred".to_owned()
            } else {
                format!("b{bits}")
            };
            body += &format!(
                ".reg .{class} %{name};\nld.param.u64 %q, [s{i}];\nmad.wide.u32 %q, %i, {bytes}, %q;\n\
                 ld.global.b{width} {loaded}, [%q];\n"
            );
            if bits == 1 {
                body += &format!("setp.ne.b32 %{name}, %i2, 0;\n");
            }
        }
        let mut text = self.text.clone();
        for name in ["a", "b", "c", "d", "e"] {
            text = text.replace(&format!("${name}"), &format!("%{name}"));
        }
        let (class, result) = match self.d {
            1 => (".pred %d".to_owned(), "selp.b32 %i2, 1, 0, %d;\n"),
            bits => (format!(".b{bits} %d"), ""),
        };
        let (kept, bytes) = if self.d == 1 {
            ("%i2", 4)
        } else {
            ("%d", self.d / 8)
        };
        let width = if self.d == 1 { 32 } else { stored(self.d) };
        let parameters: String = (0..self.sources.len())
            .map(|i| format!(", .param .u64 s{i}"))
            .collect();
        format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.entry k(.param .u64 out{parameters})\n{{\n\
             .reg .b32 %i, %j, %i2; .reg .b64 %q; .reg {class};\n\
             mov.u32 %i, %ctaid.x; mov.u32 %j, %tid.x; mad.lo.u32 %i, %i, {BLOCK}, %j;\n\
             {body}{text}\n{result}ld.param.u64 %q, [out];\nmad.wide.u32 %q, %i, {bytes}, %q;\n\
             st.global.b{width} [%q], {kept};\nret;\n}}\n"
        )
    }

    /// Results for rows of values.
    fn run(&self, values: &[Vec<u64>]) -> Vec<u64> {
        let mut device = Device::new(Profile::SM_90);
        let module = device
            .load("case.ptx", &self.ptx())
            .unwrap_or_else(|error| panic!("{}: {error}", self.text));
        let bytes = |bits: Bits| if bits == 1 { 4 } else { bits as usize / 8 };
        let count = values.first().map_or(COUNT, Vec::len);
        let out = device.allocate("out", count * bytes(self.d)).unwrap();
        let mut arguments = vec![Argument::Buffer(out)];
        for (&bits, values) in self.sources.iter().zip(values) {
            let data: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes().into_iter().take(bytes(bits)))
                .collect();
            let buffer = device.allocate("source", data.len()).unwrap();
            device.upload(buffer, 0, &data).unwrap();
            arguments.push(Argument::Buffer(buffer));
        }
        let launch = Launch::new([(count / BLOCK) as u32, 1, 1], [BLOCK as u32, 1, 1]);
        let report = device.launch(module, "k", &launch, &arguments).unwrap();
        assert_eq!(report.findings, [], "{}", self.text);
        let out = device.download_vec::<u8>(out).unwrap();
        out.chunks_exact(bytes(self.d)).map(number).collect()
    }

    /// Compares all results with a reference of the sources; `equal` is given both. Tells of the
    /// first that differs.
    #[must_use]
    pub fn check_by(
        &self,
        reference: impl Fn(&[u64]) -> u64,
        equal: impl Fn(u64, u64) -> bool,
    ) -> Option<String> {
        let values = draw(&self.text, &self.sources);
        self.compare(&values, reference, equal)
    }

    /// As `check_by`, on all values of a 16-bit source.
    #[must_use]
    pub fn check_all_halves(
        &self,
        reference: impl Fn(&[u64]) -> u64,
        equal: impl Fn(u64, u64) -> bool,
    ) -> Option<String> {
        let values = vec![(0..0x1_0000).collect(); self.sources.len()];
        self.compare(&values, reference, equal)
    }

    fn compare(
        &self,
        values: &[Vec<u64>],
        reference: impl Fn(&[u64]) -> u64,
        equal: impl Fn(u64, u64) -> bool,
    ) -> Option<String> {
        let mask = if self.d == 1 {
            1
        } else {
            u64::MAX >> (64 - self.d)
        };
        self.run(values)
            .into_iter()
            .enumerate()
            .find_map(|(i, found)| {
                let sources: Vec<u64> = values.iter().map(|row| row[i]).collect();
                let expected = reference(&sources) & mask;
                (!equal(found, expected)).then(|| {
                    format!(
                        "{} of {sources:x?} gives {found:x}, not {expected:x}",
                        self.text
                    )
                })
            })
    }

    #[must_use]
    pub fn check(&self, reference: impl Fn(&[u64]) -> u64) -> Option<String> {
        self.check_by(reference, |found, expected| found == expected)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |all, &byte| all << 8 | u64::from(byte))
}

pub fn is_accepted(ptx: &str) -> bool {
    Device::new(Profile::SM_90).load("form.ptx", ptx).is_ok()
}

/// Why the loader refuses a text.
pub fn refusal(ptx: &str) -> String {
    match Device::new(Profile::SM_90).load("form.ptx", ptx) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// A generator of its own for each form.
pub fn random(name: &str) -> SequentialPhilox {
    let step = name.bytes().fold(7u64, |all, byte| {
        (all ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Philox::new(11, Stream::Benchmark, step).sequential()
}

/// Rows of values for sources: edges of integers and floating-point formats, random bits, and rows
/// whose members are near each other, so that they are equal, cancel or tie.
pub fn draw(name: &str, sources: &[Bits]) -> Vec<Vec<u64>> {
    let mut random = random(name);
    let mut rows = vec![Vec::with_capacity(COUNT); sources.len()];
    for _ in 0..COUNT {
        let related = random.random_range(0..4u32) == 0;
        let mut first = 0;
        for (i, (&bits, row)) in sources.iter().zip(&mut rows).enumerate() {
            let mut value = edge_or_random(&mut random, bits);
            if i == 0 {
                first = value;
            } else if related && bits == sources[0] {
                let flip = random.random_range(0..bits);
                value = first ^ 1 << flip ^ if random.random() { 1 << (bits - 1) } else { 0 };
                if random.random() {
                    value = first;
                }
            }
            row.push(value & (u64::MAX >> (64 - bits)));
        }
    }
    rows
}

fn edge_or_random(random: &mut SequentialPhilox, bits: Bits) -> u64 {
    let small = [
        0, 1, 2, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 63, 64, 65, 127, 128, 255, 256,
    ];
    let floats: &[u64] = match bits {
        16 => &[
            0x0001, 0x03ff, 0x0400, 0x3c00, 0x3c01, 0x3bff, 0x3800, 0x7bff, 0x7c00, 0x7e00, 0x7c01,
            0x3f80, 0x7f80, 0x7fc0, 0x7f7f, 0x0080, 0x007f, 0x3555, 0x5bff, 0x6400, 0x6401,
        ],
        32 => &[
            0x0000_0001,
            0x007f_ffff,
            0x0080_0000,
            0x3f80_0000,
            0x3f7f_ffff,
            0x3f00_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7fc0_0000,
            0x7f80_0001,
            0x4b00_0001,
            0x4f00_0000,
            0x4eff_ffff,
            0x4f80_0000,
            0x5f00_0000,
            0x5f80_0000,
            0x3fc0_0000,
            0x4020_0000,
            0x3f80_0001,
            0x477f_e000,
            0x477f_f000,
            0x3380_0000,
            0x3300_0000,
            0x3f80_8000,
            0x3f81_8000,
            0x3f80_1000,
            0x3f80_3000,
            0x7f7f_8000,
            0x42ff_0000,
            0x437f_8000,
            0x40ff_ffff,
            0x3f80_2fff,
        ],
        64 => &[
            0x0000_0000_0000_0001,
            0x000f_ffff_ffff_ffff,
            0x0010_0000_0000_0000,
            0x3ff0_0000_0000_0000,
            0x3fe0_0000_0000_0000,
            0x3ff0_0000_0000_0001,
            0x7fef_ffff_ffff_ffff,
            0x7ff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            0x41df_ffff_ffc0_0000,
            0x41e0_0000_0000_0000,
            0x41ef_ffff_ffe0_0000,
            0x43e0_0000_0000_0000,
            0x43f0_0000_0000_0000,
            0x36a0_0000_0000_0000,
            0x3690_0000_0000_0000,
            0x3810_0000_0000_0000,
            0x47ef_ffff_e000_0000,
            0x47ef_ffff_f000_0000,
            0x3ff0_0000_1000_0000,
            0x3ff0_0000_3000_0000,
            0x3ff8_0000_0000_0000,
            0x4004_0000_0000_0000,
            0x40ef_fc00_0000_0000,
            0x40ef_fe00_0000_0000,
            0x3ff0_0200_0000_0000,
            0x3ff0_0200_0000_0001,
        ],
        _ => &[0, 1],
    };
    let sign = |random: &mut SequentialPhilox| u64::from(random.random::<bool>()) << (bits - 1);
    match random.random_range(0..8u32) {
        0 => small[random.random_range(0..small.len())],
        1 => small[random.random_range(0..small.len())].wrapping_neg(),
        2 => {
            (1u64 << random.random_range(0..bits)).wrapping_sub(u64::from(random.random::<bool>()))
        }
        3 | 4 => floats[random.random_range(0..floats.len())] ^ sign(random),
        5 if bits == 32 => {
            let x = f32::from_bits(0x3f00_0000 + (random.random::<u32>() >> 6));
            u64::from(x.to_bits()) ^ sign(random)
        }
        5 if bits == 64 => (0x3f00_0000_0000_0000 + (random.random::<u64>() >> 10)) ^ sign(random),
        5 if bits == 16 => u64::from(0x3000 + (random.random::<u16>() >> 3)) ^ sign(random),
        6 if bits == 64 => f64::from(f32::from_bits(random.random())).to_bits(),
        _ => random.random(),
    }
}

/// A kernel of its own: `body` between declarations of registers and `ret`.
pub struct Kernel {
    ptx: String,
    launch: Launch,
}

impl Kernel {
    /// `body` finds `%tid.x` in `%i`, the address of its own part of the output in `%o`, those of
    /// the inputs in `%in0`, `%in1`, ... and [`blob`] in the parameter `blob`; `%r0..63`,
    /// `%rd0..31`, `%h0..15` and `%p0..15` are free.
    pub fn new(body: &str, threads: u32, out_bytes: usize, inputs: usize) -> Self {
        Self::with_module("", body, threads, out_bytes, inputs)
    }

    pub fn with_module(
        module: &str,
        body: &str,
        threads: u32,
        out_bytes: usize,
        inputs: usize,
    ) -> Self {
        let parameters: String = (0..inputs).map(|i| format!(", .param .u64 s{i}")).collect();
        let loads: String = (0..inputs)
            .map(|i| format!("ld.param.u64 %in{i}, [s{i}];\n"))
            .collect();
        let ptx = format!(
            ".version 8.0\n.target sm_90\n.address_size 64\n{module}\n\
             .entry k(.param .u64 out{parameters}, .param .align 16 .b8 blob[64])\n{{\n\
             .reg .b32 %i, %r<64>; .reg .b64 %o, %in<4>, %rd<32>; .reg .b16 %h<16>; .reg .pred %p<16>;\n\
             mov.u32 %i, %tid.x;\nld.param.u64 %o, [out];\nmad.wide.u32 %o, %i, {out_bytes}, %o;\n\
             {loads}{body}\nret;\n}}\n"
        );
        Self {
            ptx,
            launch: Launch::new([1, 1, 1], [threads, 1, 1]),
        }
    }

    pub fn ptx(&self) -> &str {
        &self.ptx
    }

    pub fn launch(mut self, change: impl Fn(Launch) -> Launch) -> Self {
        self.launch = change(self.launch);
        self
    }

    /// Runs it; gives the output and the inputs as they are afterwards. Outputs begin as zeros.
    pub fn run(&self, out_bytes: usize, inputs: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (out, inputs, report) = self.report(out_bytes, inputs);
        assert_eq!(report.findings, [], "{}", self.ptx);
        (out, inputs)
    }

    pub fn report(&self, out_bytes: usize, inputs: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>, Report) {
        let mut device = Device::new(Profile::SM_90);
        let module = device
            .load("case.ptx", &self.ptx)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.ptx));
        let mut buffers = vec![device.allocate("out", out_bytes.max(1)).unwrap()];
        device
            .upload(buffers[0], 0, &vec![0; out_bytes.max(1)])
            .unwrap();
        for data in inputs {
            let buffer = device.allocate("in", data.len()).unwrap();
            device.upload(buffer, 0, data).unwrap();
            buffers.push(buffer);
        }
        let mut arguments: Vec<_> = buffers
            .iter()
            .map(|&buffer| Argument::Buffer(buffer))
            .collect();
        arguments.push(Argument::Bytes(blob()));
        let report = device
            .launch(module, "k", &self.launch, &arguments)
            .unwrap();
        let mut all = buffers
            .iter()
            .map(|&buffer| device.download_vec::<u8>(buffer).unwrap());
        (all.next().unwrap(), all.collect(), report)
    }
}

/// 64 bytes without a pattern, for parameters and tables.
pub fn blob() -> Vec<u8> {
    (0..64u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ 0xa5)
        .collect()
}

/// Little-endian bytes of numbers of `bytes` bytes.
pub fn bytes(numbers: &[u64], bytes: usize) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|x| x.to_le_bytes().into_iter().take(bytes))
        .collect()
}

/// Little-endian numbers of `bytes` bytes.
pub fn numbers(data: &[u8], bytes: usize) -> Vec<u64> {
    data.chunks_exact(bytes).map(number).collect()
}

/// The forms that the loader takes, of `candidates` in the kernels that `ptx` makes.
pub fn accepted(candidates: Vec<String>, ptx: impl Fn(&str) -> String) -> Vec<String> {
    candidates
        .into_iter()
        .filter(|form| is_accepted(&ptx(form)))
        .collect()
}

/// Fails with all that was found wrong.
pub fn none(wrong: impl Iterator<Item = Option<String>>) {
    let wrong: Vec<String> = wrong.flatten().collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
