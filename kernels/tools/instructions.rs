//! What machine instructions every kernel has on every architecture, as nvdisasm shows them: whether
//! products run on tensor cores, how wide memory is accessed, whether anything lies in local memory.

use std::collections::BTreeMap;

use crate::resources::Assembly;
use crate::tools::ToolError;
use crate::tools::nvcc::Compiler;
use crate::tools::text::entries;

/// The classes that are counted, as the table's columns. `ldgsts` copies from global to shared memory;
/// the number behind a load or store is its bits, 16 standing for 16 and 8.
pub const CLASSES: [&str; 24] = [
    "total",
    "hmma",
    "ldsm",
    "ldgsts_128",
    "ldgsts_64",
    "ldgsts_32",
    "ldg_128",
    "ldg_64",
    "ldg_32",
    "ldg_16",
    "stg_128",
    "stg_64",
    "stg_32",
    "stg_16",
    "lds_128",
    "lds_64",
    "lds_32",
    "lds_16",
    "sts_128",
    "sts_64",
    "sts_32",
    "sts_16",
    "local",
    "bar",
];

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instructions {
    pub file: String,
    pub target: String,
    pub kernel: String,
    pub architecture: String,
    /// In the order of [`CLASSES`].
    pub counts: [u32; CLASSES.len()],
}

impl Instructions {
    /// The count of a class; none for a name that is no class.
    pub fn get(&self, class: &str) -> Option<u32> {
        let place = CLASSES.iter().position(|known| *known == class)?;
        Some(self.counts[place])
    }
}

/// Disassembles what the compiler has assembled: a line of the table for each kernel.
///
/// # Errors
/// An nvdisasm that is missing, fails, or does not show a kernel.
pub fn of(assembly: &Assembly, compiler: &Compiler) -> Result<Vec<Instructions>, ToolError> {
    let text = compiler.disassemble(assembly.name, assembly.architecture)?;
    let found = count(&text);
    let row = |kernel: String| {
        let counts = found.get(kernel.as_str()).copied();
        let counts = counts.filter(|counts| counts[0] > 0);
        let counts = counts.ok_or_else(|| ToolError::Source {
            file: assembly.file(),
            problem: format!(
                "nvdisasm shows no instruction of kernel {kernel} for {}",
                assembly.architecture
            ),
        })?;
        Ok(Instructions {
            file: assembly.file(),
            target: assembly.target.to_owned(),
            kernel,
            architecture: assembly.architecture.to_owned(),
            counts,
        })
    };
    let entries = entries(assembly.text).into_iter();
    entries.map(|entry| row(entry.name)).collect()
}

/// Counts by kernel. Lines look so:
///
/// ```text
/// .text.adam:
///         /*0000*/                   LDC R1, c[0x0][0x28] ;
///         /*0410*/              @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;
/// ```
pub fn count(text: &str) -> BTreeMap<&str, [u32; CLASSES.len()]> {
    let mut kernels = BTreeMap::new();
    let mut kernel = None;
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix(".text.")
            .and_then(|rest| rest.strip_suffix(':'))
        {
            kernel = Some(name);
        }
        let (Some(kernel), Some(opcode)) = (kernel, opcode(line)) else {
            continue;
        };
        let counts = kernels.entry(kernel).or_insert([0; CLASSES.len()]);
        let class = class(opcode);
        for (count, known) in counts.iter_mut().zip(CLASSES) {
            *count += u32::from(known == "total" || known == class);
        }
    }
    kernels
}

/// The opcode of a line; none where there is no instruction, or one that never runs: ptxas puts such
/// ones where a device needs a pause, and fills the end with NOP.
fn opcode(line: &str) -> Option<&str> {
    let (address, rest) = line.trim_start().strip_prefix("/*")?.split_once("*/")?;
    if !address.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut words = rest.split_whitespace();
    let mut word = words.next()?;
    if let Some(guard) = word.strip_prefix('@') {
        if guard == "!PT" || guard == "!UPT" {
            return None;
        }
        word = words.next()?;
    }
    let opcode = word.trim_end_matches(';');
    (opcode != "NOP").then_some(opcode)
}

/// The class of an opcode such as `LDG.E.128`; empty if it has none of its own.
fn class(opcode: &str) -> &'static str {
    let mut parts = opcode.split('.');
    let name = parts.next().unwrap_or("");
    let bits = parts.find_map(|part| match part {
        "128" => Some(0),
        "64" => Some(1),
        "U16" | "S16" | "U8" | "S8" => Some(3),
        _ => None,
    });
    let of = |classes: [&'static str; 4]| classes[bits.unwrap_or(2)];
    match name {
        "HMMA" => "hmma",
        "LDSM" => "ldsm",
        "BAR" => "bar",
        "LDL" | "STL" => "local",
        "LDGSTS" => of(["ldgsts_128", "ldgsts_64", "ldgsts_32", "ldgsts_32"]),
        "LDG" => of(["ldg_128", "ldg_64", "ldg_32", "ldg_16"]),
        "STG" => of(["stg_128", "stg_64", "stg_32", "stg_16"]),
        "LDS" => of(["lds_128", "lds_64", "lds_32", "lds_16"]),
        "STS" => of(["sts_128", "sts_64", "sts_32", "sts_16"]),
        _ => "",
    }
}

/// The first line of the table.
fn header() -> String {
    format!("file,target,kernel,architecture,{}", CLASSES.join(","))
}

/// The table as text.
pub fn csv(table: &[Instructions]) -> String {
    let mut text = header() + "\n";
    for row in table {
        let counts = row.counts.map(|count| count.to_string()).join(",");
        text.push_str(&format!(
            "{},{},{},{},{counts}\n",
            row.file, row.target, row.kernel, row.architecture
        ));
    }
    text
}

/// The table of a text.
///
/// # Errors
/// The line that is none of the table.
pub fn parse(text: &str) -> Result<Vec<Instructions>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(&header()) {
        return Err(format!("the first line is not {}", header()));
    }
    let row = |line: &str| -> Option<Instructions> {
        let fields: Vec<_> = line.split(',').collect();
        let (&[file, target, kernel, architecture], counts) = fields.split_first_chunk()?;
        let counts: Vec<u32> = counts
            .iter()
            .map(|n| n.parse().ok())
            .collect::<Option<_>>()?;
        Some(Instructions {
            file: file.to_owned(),
            target: target.to_owned(),
            kernel: kernel.to_owned(),
            architecture: architecture.to_owned(),
            counts: counts.try_into().ok()?,
        })
    };
    lines
        .map(|line| row(line).ok_or_else(|| format!("no line of the table: {line}")))
        .collect()
}
