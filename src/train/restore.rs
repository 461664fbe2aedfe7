//! Reading checkpoints back: the description at once, tensors as they are asked for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::de::DeserializeOwned;

use super::Precision;
use super::checkpoint::{
    AdamSteps, CHUNK, CheckpointError, DIGEST_KEY, Description, FORMAT, FORMAT_VERSION, NO_DIGEST,
    VERSION_WITHOUT_DIGEST, digest_place,
};
use super::recovery::Recovery;
use crate::model::{Network, Parameter, discriminator, generator};

/// Headers beyond this are not believed; ours have some 20 kB.
const LARGEST_HEADER: u64 = 100_000_000;

/// A network's weights, as arenas in the order of its inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// `[parameter_len]`
    pub parameters: Vec<f32>,
    /// `[running_len]`
    pub running: Vec<f32>,
}

/// A network in training, as arenas in the order of its inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedNetwork {
    pub weights: Weights,
    /// Adam's first moments, `[parameter_len]`.
    pub m: Vec<f32>,
    /// Adam's second moments, `[parameter_len]`.
    pub v: Vec<f32>,
}

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub description: Description,
    pub generator: TrainedNetwork,
    pub discriminator: TrainedNetwork,
    /// The moving average of the generator.
    pub generator_ema: Weights,
}

/// An open checkpoint file.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where tensor data begins.
    data_start: u64,
    description: Description,
}

impl CheckpointFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a checkpoint, compares the whole file with its digest and reads its header.
    ///
    /// # Errors
    /// No such file, no safetensors file, one that is cut short, damaged, not ours, of another
    /// format, or with a description that cannot be read.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?;
        if found.is_dir() {
            return Err(io(std::io::ErrorKind::IsADirectory.into()));
        }
        let found = found.len();
        let not_safetensors = |reason: String| CheckpointError::NotSafetensors {
            path: path.to_owned(),
            reason,
        };
        if found < 8 {
            return Err(not_safetensors(format!("it has {found} bytes")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > LARGEST_HEADER {
            return Err(not_safetensors(format!(
                "its header would have {length} bytes"
            )));
        }
        let data_start = 8 + length;
        if found < data_start {
            return Err(CheckpointError::Length {
                path: path.to_owned(),
                expected: data_start,
                found,
            });
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| not_safetensors(error.to_string()))?;
        let expected = data_start.saturating_add(metadata.data_len() as u64);
        if found != expected {
            return Err(CheckpointError::Length {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        verify(path, &mut file, &header, &metadata)?;
        let description = describe(path, &metadata)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata,
            data_start,
            description,
        })
    }

    /// Everything besides tensors.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The moving average of the generator: what `generate` runs.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape or type, or is not finite.
    pub fn generator_ema(&mut self) -> Result<Weights, CheckpointError> {
        let network = generator(&self.description.architecture);
        self.weights("generator_ema", &network)
    }

    /// The generator as the last step left it.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape or type, or is not finite.
    pub fn generator(&mut self) -> Result<Weights, CheckpointError> {
        let network = generator(&self.description.architecture);
        self.weights("generator", &network)
    }

    /// The discriminator as the last step left it.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape or type, or is not finite.
    pub fn discriminator(&mut self) -> Result<Weights, CheckpointError> {
        let network = discriminator(&self.description.architecture);
        self.weights("discriminator", &network)
    }

    /// Everything, to resume from.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape or type, or is not finite.
    pub fn read_all(mut self) -> Result<Checkpoint, CheckpointError> {
        let architecture = &self.description.architecture;
        let (g, d) = (generator(architecture), discriminator(architecture));
        Ok(Checkpoint {
            generator: self.trained("generator", &g)?,
            discriminator: self.trained("discriminator", &d)?,
            generator_ema: self.weights("generator_ema", &g)?,
            description: self.description,
        })
    }

    fn trained(
        &mut self,
        name: &str,
        network: &Network,
    ) -> Result<TrainedNetwork, CheckpointError> {
        let list = &network.inventory.parameters;
        Ok(TrainedNetwork {
            weights: self.weights(name, network)?,
            m: self.arena(&format!("adam_m.{name}"), list)?,
            v: self.arena(&format!("adam_v.{name}"), list)?,
        })
    }

    fn weights(&mut self, prefix: &str, network: &Network) -> Result<Weights, CheckpointError> {
        Ok(Weights {
            parameters: self.arena(prefix, &network.inventory.parameters)?,
            running: self.arena(prefix, &network.inventory.running)?,
        })
    }

    fn arena(&mut self, prefix: &str, list: &[Parameter]) -> Result<Vec<f32>, CheckpointError> {
        // All are looked up first: a description that does not fit its tensors costs no memory.
        let mut offsets = Vec::with_capacity(list.len());
        for parameter in list {
            offsets.push(self.offset(&format!("{prefix}.{}", parameter.name), parameter)?);
        }
        let mut arena = vec![0.0; list.last().map_or(0, |p| p.range().end)];
        for (parameter, offset) in list.iter().zip(offsets) {
            let name = format!("{prefix}.{}", parameter.name);
            self.read_tensor(name, offset, parameter, &mut arena[parameter.range()])?;
        }
        Ok(arena)
    }

    /// Where in the file the tensor `name` begins, if it is what `parameter` needs.
    fn offset(&self, name: &str, parameter: &Parameter) -> Result<u64, CheckpointError> {
        let Some(info) = self.metadata.info(name) else {
            return Err(CheckpointError::Missing {
                path: self.path.clone(),
                name: name.to_owned(),
            });
        };
        let shape = parameter.layout.shape(parameter.len);
        if info.dtype != Dtype::F32 || info.shape != shape {
            return Err(CheckpointError::Tensor {
                path: self.path.clone(),
                name: name.to_owned(),
                found: format!("{} {:?}", info.dtype, info.shape),
                expected: format!("{} {shape:?}", Dtype::F32),
            });
        }
        Ok(self.data_start + info.data_offsets.0 as u64)
    }

    fn read_tensor(
        &mut self,
        name: String,
        offset: u64,
        parameter: &Parameter,
        out: &mut [f32],
    ) -> Result<(), CheckpointError> {
        let path = &self.path;
        let io = |source| CheckpointError::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        self.file.seek(SeekFrom::Start(offset)).map_err(io)?;
        let mut places = parameter.layout.places(out.len());
        let mut bytes = vec![0; CHUNK.min(out.len()) * size_of::<f32>()];
        let mut left = out.len();
        while left > 0 {
            let values = left.min(CHUNK);
            let bytes = &mut bytes[..values * size_of::<f32>()];
            self.file.read_exact(bytes).map_err(io)?;
            let (words, _) = bytes.as_chunks::<4>();
            for (word, place) in words.iter().zip(places.by_ref()) {
                let value = f32::from_le_bytes(*word);
                if !value.is_finite() {
                    let path = path.clone();
                    return Err(CheckpointError::NotFinite { path, name });
                }
                out[place] = value;
            }
            left -= values;
        }
        Ok(())
    }
}

/// Compares the file with the digest in its header; `file` stands where tensor data begin. A file
/// without a digest passes if it is of the version that had none.
fn verify(
    path: &Path,
    file: &mut File,
    header: &[u8],
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    let strings = metadata.metadata().as_ref();
    let get = |key: &str| strings.and_then(|strings| strings.get(key));
    let damaged = |reason| CheckpointError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let Some(digest) = get(DIGEST_KEY) else {
        let ours = get("format").is_some_and(|format| format == FORMAT);
        let needed = get("format_version").is_some_and(|version| version == FORMAT_VERSION);
        return match ours && needed {
            true => Err(damaged("its checksum is missing")),
            false => Ok(()),
        };
    };
    let differs = "its contents do not match its checksum";
    let place = digest_place(header, digest).ok_or_else(|| damaged(differs))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(header.len() as u64).to_le_bytes());
    hasher.update(&header[..place]);
    hasher.update(NO_DIGEST.as_bytes());
    hasher.update(&header[place + digest.len()..]);
    hasher
        .update_reader(file)
        .map_err(|source| CheckpointError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
    match hasher.finalize().to_hex().as_str() == digest {
        true => Ok(()),
        false => Err(damaged(differs)),
    }
}

fn describe(path: &Path, metadata: &Metadata) -> Result<Description, CheckpointError> {
    let strings = metadata.metadata().as_ref();
    let get = |key: &str| strings.and_then(|strings| strings.get(key));
    if get("format").is_none_or(|format| format != FORMAT) {
        return Err(CheckpointError::NotCheckpoint {
            path: path.to_owned(),
        });
    }
    let odd = |key, reason| CheckpointError::Metadata {
        path: path.to_owned(),
        key,
        reason,
    };
    let needed = |key| get(key).ok_or_else(|| odd(key, "is missing".to_owned()));
    let version = needed("format_version")?;
    if ![FORMAT_VERSION, VERSION_WITHOUT_DIGEST].contains(&version.as_str()) {
        return Err(CheckpointError::Version {
            path: path.to_owned(),
            found: version.clone(),
        });
    }
    fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))
    }
    let json = |key| -> Result<serde_json::Value, CheckpointError> {
        parse(needed(key)?).map_err(|reason| odd(key, reason))
    };
    let architecture: crate::model::Architecture =
        parse(needed("architecture")?).map_err(|reason| odd("architecture", reason))?;
    architecture
        .validate()
        .map_err(|error| odd("architecture", format!("cannot be built: {error}")))?;
    let adam_t: AdamSteps = parse(needed("adam_t")?).map_err(|reason| odd("adam_t", reason))?;
    let recovery = match version == VERSION_WITHOUT_DIGEST {
        true => Recovery::default(),
        false => parse(needed("recovery")?).map_err(|reason| odd("recovery", reason))?,
    };
    // Before there was a choice, all was f32.
    let precision = match get("precision") {
        Some(name) => parse(name).map_err(|reason| odd("precision", reason))?,
        None => Precision::F32,
    };
    Ok(Description {
        architecture,
        transform: json("transform")?,
        config: needed("config")?.clone(),
        step: parse(needed("step")?).map_err(|reason| odd("step", reason))?,
        adam_t,
        selection: json("selection")?,
        data: json("data")?,
        recovery,
        precision,
    })
}
