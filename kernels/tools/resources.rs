//! What every kernel takes of every architecture: registers, stack, spills and shared memory, as
//! `ptxas -v` says. ptxas also checks the inline assembly, which nvcc does not look at.

use crate::instructions::{self, Instructions};
use crate::tools::nvcc::Compiler;
use crate::tools::text::{directive, entries};
use crate::tools::{ToolError, in_parallel};

/// The architectures that kernels are assembled for.
pub const ARCHITECTURES: [&str; 6] = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100"];

/// The first line of the table.
pub const HEADER: &str =
    "file,target,kernel,architecture,registers,stack,spill_stores,spill_loads,shared";

/// One line of the table: bytes, but for the registers of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub file: String,
    pub target: String,
    pub kernel: String,
    pub architecture: String,
    pub registers: u32,
    pub stack: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
    pub shared: u32,
}

impl Usage {
    /// What is wrong with the kernel: registers that do not suffice, so that it works in local memory.
    pub fn complaint(&self) -> Option<String> {
        (self.spill_stores > 0 || self.spill_loads > 0).then(|| {
            format!(
                "kernel {} of {} spills on {}: {} bytes of stores, {} of loads, {} registers",
                self.kernel,
                self.file,
                self.architecture,
                self.spill_stores,
                self.spill_loads,
                self.registers
            )
        })
    }
}

/// A PTX and an architecture that runs it.
#[derive(Clone, Copy, Debug)]
pub struct Assembly<'a> {
    /// Such as `adam.sm_75.ptx`.
    pub name: &'a str,
    pub text: &'a str,
    pub target: &'a str,
    pub architecture: &'static str,
}

impl Assembly<'_> {
    /// Every PTX (name and text) with every architecture that runs it.
    pub fn all(modules: &[(String, String)]) -> Vec<Assembly<'_>> {
        let mut all = Vec::new();
        for (name, text) in modules {
            let target = directive(text, ".target ").unwrap_or("");
            let architectures = ARCHITECTURES.into_iter().filter(|a| runs(target, a));
            all.extend(architectures.map(|architecture| Assembly {
                name,
                text,
                target,
                architecture,
            }));
        }
        all
    }

    /// The name of the source.
    pub fn file(&self) -> String {
        let stem = self.name.split('.').next().unwrap_or(self.name);
        format!("{stem}.cu")
    }

    /// Assembles it: a line of the table for each kernel.
    ///
    /// # Errors
    /// PTX that ptxas does not take, with its words; words about it that are not understood.
    pub fn usages(&self, compiler: &Compiler) -> Result<Vec<Usage>, ToolError> {
        let words = compiler.assemble(self.name, self.text, self.architecture)?;
        let mut rows = Vec::new();
        for entry in entries(self.text) {
            let usage = usage(
                &words,
                &self.file(),
                self.target,
                &entry.name,
                self.architecture,
            );
            rows.push(usage.ok_or_else(|| ToolError::Source {
                file: self.file(),
                problem: format!(
                    "ptxas says nothing that is understood of kernel {} for {}: {words}",
                    entry.name, self.architecture
                ),
            })?);
        }
        Ok(rows)
    }
}

/// Assembles every PTX (name and text) for every architecture that runs it, and has nvdisasm look at
/// what comes out.
///
/// # Errors
/// PTX that ptxas does not take, with its words; words of ptxas or nvdisasm that are not understood.
pub fn measure(
    compiler: &Compiler,
    modules: &[(String, String)],
    jobs: usize,
) -> Result<(Vec<Usage>, Vec<Instructions>), ToolError> {
    let rows = in_parallel(&Assembly::all(modules), jobs, |assembly| {
        let usages = assembly.usages(compiler)?;
        Ok((usages, instructions::of(assembly, compiler)?))
    })?;
    let (usages, counts): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let mut usages: Vec<Usage> = usages.into_iter().flatten().collect();
    let mut counts: Vec<Instructions> = counts.into_iter().flatten().collect();
    // One kernel's lines together, in the order of the architectures.
    usages.sort_by(|a, b| (&a.file, &a.target, &a.kernel).cmp(&(&b.file, &b.target, &b.kernel)));
    counts.sort_by(|a, b| (&a.file, &a.target, &a.kernel).cmp(&(&b.file, &b.target, &b.kernel)));
    Ok((usages, counts))
}

/// Whether PTX of `target` runs on `architecture`: on later ones too, unless it has a suffix.
fn runs(target: &str, architecture: &str) -> bool {
    let number = |name: &str| {
        name.trim_start_matches("sm_")
            .trim_end_matches('a')
            .parse::<u32>()
    };
    match (number(target), number(architecture)) {
        (Ok(least), Ok(has)) if !target.ends_with('a') => least <= has,
        _ => target == architecture,
    }
}

/// Reads what `ptxas -v` says of one kernel:
///
/// ```text
/// ptxas info    : Compiling entry function 'adam' for 'sm_75'
/// ptxas info    : Function properties for adam
///     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 12 registers, used 1 barriers, 1024 bytes smem, 368 bytes cmem[0]
/// ```
fn usage(words: &str, file: &str, target: &str, kernel: &str, architecture: &str) -> Option<Usage> {
    let begin = words.find(&format!("Compiling entry function '{kernel}' for"))?;
    let rest = &words[begin..];
    let end = rest[1..]
        .find("Compiling entry function")
        .map_or(rest.len(), |end| end + 1);
    let about = &rest[..end];
    // The number before `unit`; the sum of all, where functions that the kernel calls have their own.
    let before = |unit: &str| {
        let places = about.match_indices(unit).map(|(at, _)| &about[..at]);
        let numbers = places.map(|text| text.split([' ', '\n']).next_back()?.parse::<u32>().ok());
        let numbers = numbers.collect::<Option<Vec<u32>>>()?;
        (!numbers.is_empty()).then(|| numbers.iter().sum())
    };
    Some(Usage {
        file: file.to_owned(),
        target: target.to_owned(),
        kernel: kernel.to_owned(),
        architecture: architecture.to_owned(),
        registers: before(" registers")?,
        stack: before(" bytes stack frame")?,
        spill_stores: before(" bytes spill stores")?,
        spill_loads: before(" bytes spill loads")?,
        shared: before(" bytes smem").unwrap_or(0),
    })
}

/// The table as text.
pub fn csv(table: &[Usage]) -> String {
    let mut text = format!("{HEADER}\n");
    for row in table {
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{}\n",
            row.file,
            row.target,
            row.kernel,
            row.architecture,
            row.registers,
            row.stack,
            row.spill_stores,
            row.spill_loads,
            row.shared
        ));
    }
    text
}

/// The table of a text.
///
/// # Errors
/// The line that is none of the table.
pub fn parse(text: &str) -> Result<Vec<Usage>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("the first line is not {HEADER}"));
    }
    let row = |line: &str| -> Option<Usage> {
        let fields: Vec<_> = line.split(',').collect();
        let [file, target, kernel, architecture, ..] = fields[..] else {
            return None;
        };
        let numbers: Result<Vec<u32>, _> = fields[4..].iter().map(|n| n.parse()).collect();
        let [registers, stack, spill_stores, spill_loads, shared] = numbers.ok()?[..] else {
            return None;
        };
        Some(Usage {
            file: file.to_owned(),
            target: target.to_owned(),
            kernel: kernel.to_owned(),
            architecture: architecture.to_owned(),
            registers,
            stack,
            spill_stores,
            spill_loads,
            shared,
        })
    };
    lines
        .map(|line| row(line).ok_or_else(|| format!("no line of the table: {line}")))
        .collect()
}
