//! The strided layer's kernels, one operation of one version at one layer: set up and launched on any device.

use serde::{Deserialize, Serialize};

use super::tensors::Tensors;
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Allocation, Driver, DriverError, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::KernelVersion;
use crate::backend::gpu::ops::half::few::{self, FewDgrad, FewFprop, FewWgrad};
use crate::backend::gpu::ops::half::pack::{Packing, pack, packed_bytes};
use crate::backend::gpu::ops::half::{End, Input, strided as half_strided, wgrad as half_wgrad};
use crate::backend::gpu::ops::strided::{StridedCall, WgradCall};
use crate::backend::gpu::ops::strided_form::Form;
use crate::model::{Activation, Architecture, Linear, StridedLayer, discriminator};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvOperation {
    /// Big plane to small plane.
    Fprop,
    /// Small plane to big plane.
    Dgrad,
    /// Both planes to the gradient of the weights.
    Wgrad,
}

impl ConvOperation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fprop, Self::Dgrad, Self::Wgrad];

    /// As in names of kernels.
    pub fn name(self) -> &'static str {
        match self {
            ConvOperation::Fprop => "fprop",
            ConvOperation::Dgrad => "dgrad",
            ConvOperation::Wgrad => "wgrad",
        }
    }
}

/// One operation of one version at one layer. In v3 fprop and dgrad also leave the batch norm's statistics,
/// as in a forward pass, where the layer's output lies between two blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    pub operation: ConvOperation,
    pub version: KernelVersion,
    pub layer: StridedLayer,
    /// The batch that the form of the kernel is chosen for.
    pub batch: usize,
}

/// Big channels up to which a layer counts as the one next to the maps.
const FEW: usize = 4;

/// Multiprocessors of the device that forms are chosen for: an H100.
const MULTIPROCESSORS: usize = 132;

/// The strided layers of an architecture, from the maps inwards. Both networks have the same.
pub fn layers(architecture: &Architecture) -> Vec<StridedLayer> {
    let blocks = discriminator(architecture).blocks.into_iter();
    let layers = blocks.filter_map(|block| match block.linear {
        Linear::Conv(layer) | Linear::TransposedConv(layer) => Some(layer),
        Linear::Dense { .. } => None,
    });
    layers.collect()
}

/// A case's tensors on a device.
pub struct Placed {
    samples: usize,
    tensors: Vec<Allocation>,
    big: Pointer,
    small: Pointer,
    weights: Pointer,
    bias: Pointer,
    packed: Pointer,
    moments: Pointer,
    gradient: Pointer,
}

impl Placed {
    /// Gives the memory back.
    ///
    /// # Errors
    /// A failing device.
    pub fn free<D: Driver>(self, l: &mut Launcher<D>) -> Result<(), DriverError> {
        let mut freed = self.tensors.into_iter().map(|t| l.driver.free(t));
        freed.try_for_each(|result| result)
    }
}

impl Case {
    /// The version's name.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            KernelVersion::V1 => "v1",
            KernelVersion::V2 => "v2",
            KernelVersion::V3 => "v3",
        }
    }

    /// The layer's channels and the side of its small plane.
    pub fn layer_name(&self) -> String {
        let StridedLayer {
            small,
            c_big,
            c_small,
            ..
        } = self.layer;
        format!("{c_big}-{c_small} at {small}")
    }

    fn is_few(&self) -> bool {
        self.layer.c_big <= FEW
    }

    /// Operations that the result needs, by its definition and with padding.
    pub fn useful_flop(&self) -> u64 {
        let StridedLayer { small, .. } = self.layer;
        2 * (self.batch * small * small * self.layer.weight_len()) as u64
    }

    /// Bytes that must be read and written at least: both planes, weights and their gradient.
    pub fn compulsory_bytes(&self) -> u64 {
        let inner = match self.version {
            KernelVersion::V3 => 2,
            KernelVersion::V1 | KernelVersion::V2 => 4,
        };
        let big = if self.is_few() { 4 } else { inner };
        // Packed weights are bf16; a gradient is f32.
        let weights = match self.operation {
            ConvOperation::Wgrad => 4,
            _ if self.is_few() => 4,
            _ => inner,
        };
        let planes = self.batch * (big * self.layer.big_len() + inner * self.layer.small_len());
        (planes + weights * self.layer.weight_len()) as u64
    }

    /// Puts what the case needs for `samples` samples on the device: random normal values.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn place<D: Driver>(
        &self,
        l: &mut Launcher<D>,
        samples: usize,
    ) -> Result<Placed, DriverError> {
        let layer = &self.layer;
        let half = self.version == KernelVersion::V3;
        let mut stage = Tensors {
            l,
            tensors: Vec::new(),
        };
        let reads = |plane: ConvOperation| self.operation != plane;
        let big_half = half && !self.is_few();
        let (big_len, small_len) = (samples * layer.big_len(), samples * layer.small_len());
        let big = stage.plane(big_len, big_half, reads(ConvOperation::Dgrad), 1)?;
        let small = stage.plane(small_len, half, reads(ConvOperation::Fprop), 2)?;
        let weights = stage.plane(layer.weight_len(), false, true, 3)?;
        let bias = stage.plane(layer.c_small.max(layer.c_big), false, true, 4)?;
        let gradient = stage.plane(layer.weight_len(), false, false, 0)?;
        let (mut packed, mut moments) = (Pointer::NULL, Pointer::NULL);
        if half && self.operation != ConvOperation::Wgrad {
            if !self.is_few() {
                let (packing, operation) = self.half();
                packed = stage.bytes(packed_bytes(layer, packing))?;
                pack(stage.l, layer, weights, packing.only(packed));
                let parts = self.half_form().parts(operation, layer, samples, 1);
                moments = stage.bytes(parts.room_bytes())?;
            } else if self.operation == ConvOperation::Fprop {
                let parts = few::fprop_parts(layer, samples, 1);
                moments = stage.bytes(parts.room_bytes())?;
            }
        }
        Ok(Placed {
            samples,
            tensors: stage.tensors,
            big,
            small,
            weights,
            bias,
            packed,
            moments,
            gradient,
        })
    }

    fn half(&self) -> (Packing, half_strided::Operation) {
        match self.operation {
            ConvOperation::Dgrad => (Packing::Dgrad, half_strided::Operation::Dgrad),
            _ => (Packing::Fprop, half_strided::Operation::Fprop),
        }
    }

    fn half_form(&self) -> half_strided::Form {
        let operation = self.half().1;
        half_strided::Form::of(operation, &self.layer, self.batch, 1, MULTIPROCESSORS)
    }

    /// Adds the operation to the stream.
    pub fn launch<D: Driver>(&self, l: &mut Launcher<D>, at: &Placed) {
        match self.version {
            KernelVersion::V3 if self.is_few() => self.launch_few(l, at),
            KernelVersion::V3 => self.launch_half(l, at),
            KernelVersion::V1 | KernelVersion::V2 => self.launch_f32(l, at),
        }
    }

    fn launch_f32<D: Driver>(&self, l: &mut Launcher<D>, at: &Placed) {
        let layer = &self.layer;
        // Forms are chosen for the case's batch.
        let strided = |batch, input, output| StridedCall {
            layer,
            batch,
            input,
            weights: at.weights,
            bias: Some(at.bias),
            activation: Activation::Identity,
            output,
        };
        match self.operation {
            ConvOperation::Fprop => {
                let call = |batch| strided(batch, at.big, at.small);
                Form::of_fprop(self.version, &call(self.batch)).fprop(l, &call(at.samples));
            }
            ConvOperation::Dgrad => {
                let call = |batch| strided(batch, at.small, at.big);
                Form::of_dgrad(self.version, &call(self.batch)).dgrad(l, &call(at.samples));
            }
            ConvOperation::Wgrad => {
                let form = self.f32_wgrad_form(at);
                form.wgrad_like(l, &self.wgrad_call(at, at.samples), self.batch);
            }
        }
    }

    fn wgrad_call(&self, at: &Placed, batch: usize) -> WgradCall<'_> {
        WgradCall {
            layer: &self.layer,
            batch,
            big: at.big,
            small: at.small,
            gradient: at.gradient,
            accumulate: Accumulate::First,
        }
    }

    fn f32_wgrad_form(&self, at: &Placed) -> Form {
        Form::of_wgrad(self.version, &self.wgrad_call(at, self.batch))
    }

    fn launch_half<D: Driver>(&self, l: &mut Launcher<D>, at: &Placed) {
        let (layer, batch) = (&self.layer, at.samples);
        let (input, output) = match self.operation {
            ConvOperation::Wgrad => {
                let call = half_wgrad::WgradCall {
                    layer,
                    batch,
                    big: at.big,
                    small: at.small,
                    gradient: at.gradient,
                    accumulate: Accumulate::First,
                };
                return half_wgrad::wgrad(l, &call);
            }
            ConvOperation::Fprop => (at.big, at.small),
            ConvOperation::Dgrad => (at.small, at.big),
        };
        let call = half_strided::StridedCall {
            layer,
            batch,
            groups: 1,
            input,
            packed: at.packed,
            output,
            end: self.end(at),
        };
        self.half_form().run(l, self.half().1, &call);
    }

    fn end(&self, at: &Placed) -> End {
        End::Forward {
            bias: Some(at.bias),
            activation: Activation::Identity,
            moments: Some(at.moments),
        }
    }

    fn launch_few<D: Driver>(&self, l: &mut Launcher<D>, at: &Placed) {
        let (layer, batch, weights) = (&self.layer, at.samples, at.weights);
        match self.operation {
            ConvOperation::Fprop => few::fprop(
                l,
                &FewFprop {
                    layer,
                    batch,
                    groups: 1,
                    big: at.big,
                    weights,
                    output: at.small,
                    end: self.end(at),
                },
            ),
            ConvOperation::Dgrad => few::dgrad(
                l,
                &FewDgrad {
                    layer,
                    batch,
                    input: Input::Stored(at.small),
                    weights,
                    bias: Some(at.bias),
                    activation: Activation::Identity,
                    output: at.big,
                    value: None,
                },
            ),
            ConvOperation::Wgrad => few::wgrad(
                l,
                &FewWgrad {
                    layer,
                    batch,
                    big: at.big,
                    small: Input::Stored(at.small),
                    gradient: at.gradient,
                    accumulate: Accumulate::First,
                },
            ),
        }
    }

    /// Partial sums of each weight that a wgrad of `batch` samples leaves.
    pub(super) fn parts(&self, at: &Placed, batch: usize) -> usize {
        match self.version {
            KernelVersion::V3 if self.is_few() => few::wgrad_parts(&self.layer, batch, 1),
            KernelVersion::V3 => half_wgrad::parts(&self.layer, batch),
            _ => self
                .f32_wgrad_form(at)
                .wgrad_parts(&self.layer, batch, self.batch),
        }
    }

    /// Whether blocks take several tiles of a map, so that counts do not follow the batch along a line.
    pub(super) fn must_be_whole(&self) -> bool {
        self.version == KernelVersion::V3 && self.is_few() && self.operation == ConvOperation::Fprop
    }
}

/// All cases of an architecture, version by version.
pub fn cases(architecture: &Architecture, batch: usize, versions: &[KernelVersion]) -> Vec<Case> {
    let mut cases = Vec::new();
    for layer in layers(architecture) {
        for operation in ConvOperation::ALL {
            cases.extend(versions.iter().map(|&version| Case {
                operation,
                version,
                layer,
                batch,
            }));
        }
    }
    cases
}
