//! Checkpoints: one safetensors file with all that running a generator and resuming a run need.
//!
//! Weights carry PyTorch-like names and shapes (dense layers in C, H, W order), so that
//! `generator_ema.ct1.weight` loads into a `ConvTranspose2d`. Tensors are streamed one at a time in
//! both directions; a file is written whole or not at all, and the same state gives the same bytes.
//! The metadata hold a digest of the whole file, so that no changed bit goes unnoticed.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::{Deserialize, Serialize};

use super::Precision;
use super::recovery::Recovery;
use crate::backend::BackendError;
use crate::files::{Digested, write_atomic};
use crate::model::{Architecture, Network, Parameter};

/// Version of the names and metadata below. Raised when an older program could misread a file.
pub(super) const FORMAT_VERSION: &str = "2";
/// The version before: it had no digest and no record of rollbacks, and can still be read.
pub(super) const VERSION_WITHOUT_DIGEST: &str = "1";
/// The metadata entry of the digest: BLAKE3 of all bytes of the file, with [`NO_DIGEST`] standing
/// in its own place, as 64 hexadecimal digits.
pub(super) const DIGEST_KEY: &str = "blake3";
pub(super) const NO_DIGEST: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";
/// What marks a safetensors file as ours.
pub(super) const FORMAT: &str = "cosmogan checkpoint";
/// Values that are converted at a time.
pub(super) const CHUNK: usize = 1 << 14;

/// Everything in a checkpoint besides tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    pub architecture: Architecture,
    /// The fitted transform of map values.
    pub transform: serde_json::Value,
    /// The run's configuration as TOML.
    pub config: String,
    /// Training steps that were completed.
    pub step: u64,
    pub adam_t: AdamSteps,
    /// Scores of the moving average on validation maps, null where there are none.
    pub selection: serde_json::Value,
    /// What is known of the training maps, such as their side in degrees.
    pub data: serde_json::Value,
    /// Rollbacks so far, and what the watch over the losses remembers.
    pub recovery: Recovery,
    /// Number format that the last of them was computed in; those before a resumption may have been
    /// computed in another.
    pub precision: Precision,
}

/// Updates that each network's Adam has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdamSteps {
    pub generator: u64,
    pub discriminator: u64,
}

/// A network in training, as arenas in the order of its inventory.
#[derive(Clone, Copy, Debug)]
pub struct NetworkState<'a> {
    pub network: &'a Network,
    /// `[parameter_len]`
    pub parameters: &'a [f32],
    /// `[running_len]`
    pub running: &'a [f32],
    /// Adam's first moments, `[parameter_len]`.
    pub m: &'a [f32],
    /// Adam's second moments, `[parameter_len]`.
    pub v: &'a [f32],
}

/// What [`write`] writes.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    pub description: &'a Description,
    pub generator: NetworkState<'a>,
    pub discriminator: NetworkState<'a>,
    /// The moving average of the generator's parameters, `[parameter_len]`.
    pub average_parameters: &'a [f32],
    /// The running statistics that belong to the average, `[running_len]`.
    pub average_running: &'a [f32],
}

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is not a safetensors file: {reason}", path.display())]
    NotSafetensors { path: PathBuf, reason: String },
    #[error(
        "{} is cut short or has grown: its header promises {expected} bytes, it has {found}",
        path.display()
    )]
    Length {
        path: PathBuf,
        expected: u64,
        found: u64,
    },
    #[error("{} is a safetensors file, but no checkpoint of this program", path.display())]
    NotCheckpoint { path: PathBuf },
    #[error(
        "{} is damaged: {reason}; use an older checkpoint of the run (--resume finds the newest \
         undamaged one)",
        path.display()
    )]
    Damaged { path: PathBuf, reason: &'static str },
    #[error(
        "{} has checkpoint format {found}; this program reads formats {VERSION_WITHOUT_DIGEST} and \
         {FORMAT_VERSION}: use the version of the program that wrote it, or a newer one",
        path.display()
    )]
    Version { path: PathBuf, found: String },
    #[error("{}: metadata \"{key}\" {reason}", path.display())]
    Metadata {
        path: PathBuf,
        key: &'static str,
        reason: String,
    },
    #[error("{} has no tensor \"{name}\"", path.display())]
    Missing { path: PathBuf, name: String },
    #[error("{}: tensor \"{name}\" is {found}; it should be {expected}", path.display())]
    Tensor {
        path: PathBuf,
        name: String,
        found: String,
        expected: String,
    },
    #[error("{}: tensor \"{name}\" holds a value that is not finite", path.display())]
    NotFinite { path: PathBuf, name: String },
    #[error("{}: {what} has {found} values, the network needs {expected}", path.display())]
    Arena {
        path: PathBuf,
        what: &'static str,
        found: usize,
        expected: usize,
    },
}

impl CheckpointError {
    /// Whether there is no such file.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the file itself is at fault, so that another checkpoint may serve in its place.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Backend(_) | Self::Io { .. } | Self::Version { .. } | Self::Arena { .. } => false,
            Self::NotSafetensors { .. }
            | Self::Length { .. }
            | Self::NotCheckpoint { .. }
            | Self::Damaged { .. }
            | Self::Metadata { .. }
            | Self::Missing { .. }
            | Self::Tensor { .. }
            | Self::NotFinite { .. } => true,
        }
    }
}

/// One entry of a safetensors header.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry {
    Metadata(BTreeMap<&'static str, String>),
    Tensor(TensorInfo),
}

/// A tensor on its way into a file: its name there, its place here, and the arena.
struct Outgoing<'a> {
    name: String,
    parameter: &'a Parameter,
    arena: &'a [f32],
}

/// Writes `snapshot` to `path`, whole or not at all.
///
/// # Errors
/// Arenas of the wrong length, a value that is not finite (a diverged run must not replace a
/// checkpoint that can be resumed), or a failure to write.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<(), CheckpointError> {
    let tensors = outgoing(path, snapshot)?;
    let header = header(path, snapshot.description, &tensors)?;
    let mut not_finite = None;
    let written = write_atomic(path, |file| {
        let length = (header.len() as u64).to_le_bytes();
        let place = digest_place(&header, NO_DIGEST)
            .ok_or_else(|| io::Error::other("the header has no place for a digest"))?;
        let mut digested = Digested::new(&mut *file);
        digested.write_all(&length)?;
        digested.write_all(&header)?;
        for tensor in &tensors {
            if !write_tensor(&mut digested, tensor)? {
                not_finite = Some(tensor.name.clone());
                return Err(io::Error::other("a value is not finite"));
            }
        }
        let digest = digested.hex();
        file.seek(SeekFrom::Start((length.len() + place) as u64))?;
        file.write_all(digest.as_bytes())
    });
    let path = path.to_owned();
    match (written, not_finite) {
        (_, Some(name)) => Err(CheckpointError::NotFinite { path, name }),
        (Err(source), None) => Err(CheckpointError::Io {
            action: "write",
            path,
            source,
        }),
        (Ok(()), None) => Ok(()),
    }
}

/// Where in `header` the digits of `digest` begin. Within a string quotes are escaped, so only the
/// entry itself reads like this.
pub(super) fn digest_place(header: &[u8], digest: &str) -> Option<usize> {
    let entry = format!("\"{DIGEST_KEY}\":\"{digest}\"");
    let mut windows = header.windows(entry.len());
    let start = windows.position(|window| window == entry.as_bytes())?;
    Some(start + DIGEST_KEY.len() + "\"\":\"".len())
}

/// All tensors in the order of the file: by name.
fn outgoing<'a>(
    path: &Path,
    snapshot: &Snapshot<'a>,
) -> Result<Vec<Outgoing<'a>>, CheckpointError> {
    let mut tensors = Vec::new();
    let mut push = |prefix: &str, list: &'a [Parameter], arena: &'a [f32], what: &'static str| {
        let expected = list.last().map_or(0, |p| p.range().end);
        if arena.len() != expected {
            let found = arena.len();
            let path = path.to_owned();
            return Err(CheckpointError::Arena {
                path,
                what,
                found,
                expected,
            });
        }
        tensors.extend(list.iter().map(|parameter| Outgoing {
            name: format!("{prefix}.{}", parameter.name),
            parameter,
            arena,
        }));
        Ok(())
    };
    for (name, state) in [
        ("generator", snapshot.generator),
        ("discriminator", snapshot.discriminator),
    ] {
        let inventory = &state.network.inventory;
        push(name, &inventory.parameters, state.parameters, "parameters")?;
        push(name, &inventory.running, state.running, "running")?;
        for (moment, arena) in [("adam_m", state.m), ("adam_v", state.v)] {
            let prefix = format!("{moment}.{name}");
            push(&prefix, &inventory.parameters, arena, moment)?;
        }
    }
    let inventory = &snapshot.generator.network.inventory;
    let (average, running) = (snapshot.average_parameters, snapshot.average_running);
    push("generator_ema", &inventory.parameters, average, "average")?;
    push("generator_ema", &inventory.running, running, "running")?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// The JSON header, padded to eight bytes. Keys are sorted: the crate's own serializer takes
/// metadata from a hash map, whose order differs from run to run.
fn header(
    path: &Path,
    description: &Description,
    tensors: &[Outgoing],
) -> Result<Vec<u8>, CheckpointError> {
    let unwritable = |source: serde_json::Error| CheckpointError::Io {
        action: "describe",
        path: path.to_owned(),
        source: source.into(),
    };
    let metadata = BTreeMap::from([
        ("format", FORMAT.to_owned()),
        ("format_version", FORMAT_VERSION.to_owned()),
        (DIGEST_KEY, NO_DIGEST.to_owned()),
        (
            "architecture",
            serde_json::to_string(&description.architecture).map_err(unwritable)?,
        ),
        ("transform", description.transform.to_string()),
        ("config", description.config.clone()),
        ("step", description.step.to_string()),
        (
            "adam_t",
            serde_json::to_string(&description.adam_t).map_err(unwritable)?,
        ),
        ("selection", description.selection.to_string()),
        ("data", description.data.to_string()),
        (
            "recovery",
            serde_json::to_string(&description.recovery).map_err(unwritable)?,
        ),
        (
            "precision",
            serde_json::to_string(&description.precision).map_err(unwritable)?,
        ),
    ]);
    let mut entries = BTreeMap::from([("__metadata__", HeaderEntry::Metadata(metadata))]);
    let mut end = 0;
    for tensor in tensors {
        let len = tensor.parameter.len;
        let start = end;
        end += len * size_of::<f32>();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.parameter.layout.shape(len),
            data_offsets: (start, end),
        };
        entries.insert(&tensor.name, HeaderEntry::Tensor(info));
    }
    let mut header = serde_json::to_vec(&entries).map_err(unwritable)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Writes the values in PyTorch's order; false as soon as one is not finite.
fn write_tensor(file: &mut impl Write, tensor: &Outgoing) -> io::Result<bool> {
    let values = &tensor.arena[tensor.parameter.range()];
    let mut places = tensor.parameter.layout.places(values.len());
    let mut bytes = Vec::with_capacity(CHUNK * size_of::<f32>());
    loop {
        bytes.clear();
        let mut finite = true;
        for place in places.by_ref().take(CHUNK) {
            finite &= values[place].is_finite();
            bytes.extend_from_slice(&values[place].to_le_bytes());
        }
        if !finite {
            return Ok(false);
        }
        if bytes.is_empty() {
            return Ok(true);
        }
        file.write_all(&bytes)?;
    }
}
