//! What is done to nvcc's PTX so that it is the same everywhere and older drivers take it.

use super::ToolError;

/// PTX versions of interest, oldest first: from the first that knows sm_75.
pub const VERSIONS: [&str; 22] = [
    "6.3", "6.4", "6.5", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.7", "7.8", "8.0",
    "8.1", "8.2", "8.3", "8.4", "8.5", "8.6", "8.7", "8.8", "9.0",
];

/// A kernel of a PTX text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
}

/// The kernels of a PTX text.
pub fn entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (at, _) in text.match_indices(".entry ") {
        let rest = &text[at + ".entry ".len()..];
        let head = rest.split('{').next().unwrap_or(rest);
        let (name, parameters) = head.split_once('(').unwrap_or((head, ""));
        let parameters = parameters
            .lines()
            .filter(|l| l.trim_start().starts_with(".param"));
        entries.push(Entry {
            name: name.trim().to_owned(),
            parameters: parameters.map(parameter_bytes).collect(),
        });
    }
    entries
}

/// The most threads that a block of a kernel may have; none where the text does not say.
pub fn most_threads(text: &str, kernel: &str) -> Option<u32> {
    let (_, rest) = text.split_once(&format!(".entry {kernel}("))?;
    let head = rest.split('{').next()?;
    let sides = directive(head, ".maxntid ")?.split(',');
    sides.map(|side| side.trim().parse::<u32>().ok()).product()
}

/// Bytes of a line such as `.param .align 8 .b8 adam_param_0[64]` or `.param .u64 x_param_0`; 0 of
/// what is neither.
fn parameter_bytes(line: &str) -> usize {
    if let Some((_, count)) = line.split_once('[') {
        return count
            .split(']')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
    }
    let bits = line.split_whitespace().filter(|word| word.starts_with('.'));
    let mut bits = bits.filter_map(|word| word.get(2..)?.parse::<usize>().ok());
    bits.next_back().map_or(0, |bits| bits / 8)
}

/// The value of the first line that begins with `directive`, such as `.version`.
pub fn directive<'a>(text: &'a str, directive: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(directive));
    Some(lines.next()?.trim())
}

/// The text with another `.version`.
pub fn with_version(text: &str, version: &str) -> String {
    let line = |line: &str| match line.starts_with(".version ") {
        true => format!(".version {version}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The text without traces of the machine: files are named from `root`, those of CUDA by `cuda/...`,
/// and what nvcc made of the path of the source `stem`.cu for the names of its own functions is zero.
pub fn anonymous(text: &str, root: &str, stem: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let marker = format!("_{}_{stem}_cu_", stem.len() + ".cu".len());
    zero_digits(&mut bytes, marker.as_bytes());
    let text = String::from_utf8_lossy(&bytes);
    let mut result = String::new();
    let mut run = Vec::new();
    for line in text.lines() {
        if let Some(more) = byte_list(line) {
            run.extend(more);
            continue;
        }
        flush(&mut run, marker.as_bytes(), &mut result);
        match line.trim_start().starts_with(".file") {
            true => result.push_str(&relative(line, root)),
            false => result.push_str(line),
        }
        result.push('\n');
    }
    flush(&mut run, marker.as_bytes(), &mut result);
    result
}

/// The numbers of a line such as `.b8 95,90,78`.
fn byte_list(line: &str) -> Option<Vec<u8>> {
    let numbers = line.strip_prefix(".b8 ")?.split(',');
    numbers.map(|number| number.trim().parse().ok()).collect()
}

/// Writes a run of bytes as lines of them. Names may go on from line to line.
fn flush(run: &mut Vec<u8>, marker: &[u8], result: &mut String) {
    zero_digits(run, marker);
    for line in run.chunks(40) {
        let numbers: Vec<String> = line.iter().map(u8::to_string).collect();
        result.push_str(&format!(".b8 {}\n", numbers.join(",")));
    }
    run.clear();
}

/// Makes the eight digits before every `marker` zero: a hash of the source's path.
fn zero_digits(bytes: &mut [u8], marker: &[u8]) {
    for at in 8..(bytes.len() + 1).saturating_sub(marker.len()).max(8) {
        let (before, rest) = bytes.split_at_mut(at);
        let digits = &mut before[at - 8..];
        if rest.starts_with(marker) && digits.iter().all(u8::is_ascii_hexdigit) {
            digits.fill(b'0');
        }
    }
}

/// A line `.file 1 "path"` with the path that every machine has.
fn relative(line: &str, root: &str) -> String {
    let Some((before, path)) = line.split_once('"') else {
        return line.to_owned();
    };
    if let Some(own) = path
        .strip_prefix(root)
        .and_then(|own| own.strip_prefix('/'))
    {
        return format!("{before}\"{own}");
    }
    match path.rsplit_once("/include/") {
        Some((_, header)) => format!("{before}\"cuda/{header}"),
        None => line.to_owned(),
    }
}

/// What is wrong with the text as PTX for `target`.
pub fn problem(text: &str, target: &str) -> Option<String> {
    let found = directive(text, ".target ").and_then(|t| t.split([',', ' ']).next());
    if found != Some(target) {
        return Some(match found {
            Some(other) => format!("its .target is {other}"),
            None => "it has no line .target".to_owned(),
        });
    }
    if directive(text, ".version ").is_none() {
        return Some("it has no line .version".to_owned());
    }
    if entries(text).is_empty() {
        return Some("it has no kernel".to_owned());
    }
    let files = text
        .lines()
        .filter(|line| line.trim_start().starts_with(".file"));
    let mut absolute = files.filter(|line| line.contains("\"/"));
    absolute.next().map(|line| {
        format!(
            "its {} is no path of this repository or of CUDA",
            line.trim()
        )
    })
}

/// The lines at the head of committed PTX.
pub fn head(file: &str, target: &str, version: &str, digest: &str) -> String {
    format!(
        "// kernels/{file} for {target}, by nvcc {version}; kernels/tools/build_ptx.sh writes it\n\
         // sources: {digest}\n"
    )
}

/// The digest of the sources, as the head of committed PTX tells it.
pub fn digest_in(text: &str) -> Option<&str> {
    text.lines().nth(1)?.strip_prefix("// sources: ")
}

/// The lowest of [`VERSIONS`] that `takes` accepts, and the text with it.
///
/// # Errors
/// What `takes` says to the version that nvcc wrote, if it takes none.
pub fn lowest_version(
    text: &str,
    takes: impl Fn(&str) -> Result<(), ToolError>,
) -> Result<String, ToolError> {
    let own = directive(text, ".version ");
    for version in VERSIONS.iter().take_while(|version| Some(**version) != own) {
        let text = with_version(text, version);
        if takes(&text).is_ok() {
            return Ok(text);
        }
    }
    takes(text)?;
    Ok(text.to_owned())
}
