//! The parameters of a network: names, shapes and places in one flat arena.

use super::{BatchNorm, Linear, StridedLayer};

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    DenseWeight,
    ConvWeight,
    TransposedConvWeight,
    Bias,
    Gamma,
    Beta,
    RunningMean,
    RunningVariance,
}

/// How a parameter's values are ordered in PyTorch, against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TorchLayout {
    /// The same order.
    Same,
    /// Ours `[5, 5, c_big, c_small]`, PyTorch's `[c_small, c_big, 5, 5]`.
    Strided { c_big: usize, c_small: usize },
    /// Ours `[inputs, (y, x, c)]`, PyTorch's `[(c, y, x), inputs]`.
    DenseToPlane {
        inputs: usize,
        channels: usize,
        side: usize,
    },
    /// Ours `[(y, x, c), outputs]`, PyTorch's `[outputs, (c, y, x)]`.
    PlaneToDense {
        outputs: usize,
        channels: usize,
        side: usize,
    },
    /// Ours `[(y, x, c)]`, PyTorch's `[(c, y, x)]`.
    Plane { channels: usize, side: usize },
}

impl TorchLayout {
    /// PyTorch's shape of a parameter of `len` values.
    pub fn shape(&self, len: usize) -> Vec<usize> {
        match *self {
            TorchLayout::Same => vec![len],
            TorchLayout::Strided { c_big, c_small } => {
                vec![c_small, c_big, StridedLayer::TAPS, StridedLayer::TAPS]
            }
            TorchLayout::DenseToPlane { inputs, .. } => vec![len / inputs, inputs],
            TorchLayout::PlaneToDense { outputs, .. } => vec![outputs, len / outputs],
            TorchLayout::Plane { .. } => vec![len],
        }
    }

    /// For each value in PyTorch's order, in turn: its place in ours.
    pub fn places(&self, len: usize) -> Box<dyn Iterator<Item = usize>> {
        match *self {
            TorchLayout::Same => Box::new(0..len),
            TorchLayout::Strided { c_big, c_small } => {
                let taps = StridedLayer::TAPS * StridedLayer::TAPS;
                Box::new((0..c_small).flat_map(move |small| {
                    (0..c_big).flat_map(move |big| {
                        (0..taps).map(move |tap| (tap * c_big + big) * c_small + small)
                    })
                }))
            }
            TorchLayout::DenseToPlane {
                inputs,
                channels,
                side,
            } => {
                let outputs = channels * side * side;
                Box::new(
                    plane_places(channels, side).flat_map(move |output| {
                        (0..inputs).map(move |input| input * outputs + output)
                    }),
                )
            }
            TorchLayout::PlaneToDense {
                outputs,
                channels,
                side,
            } => Box::new((0..outputs).flat_map(move |output| {
                plane_places(channels, side).map(move |input| input * outputs + output)
            })),
            TorchLayout::Plane { channels, side } => Box::new(plane_places(channels, side)),
        }
    }
}

/// Places in `[y, x, c]` order of the values in `[c, y, x]` order.
fn plane_places(channels: usize, side: usize) -> impl Iterator<Item = usize> {
    (0..channels)
        .flat_map(move |channel| (0..side * side).map(move |pixel| pixel * channels + channel))
}

/// A named tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch-like: `ct1.weight`, `bn0.bias`, `bn0.running_mean`.
    pub name: String,
    pub field: Field,
    /// First value in the arena.
    pub start: usize,
    /// Number of values.
    pub len: usize,
    pub layout: TorchLayout,
}

impl Parameter {
    /// The places of the values in their arena.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

/// All tensors of a network: trained parameters in one arena, running statistics in another.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// In arena order.
    pub parameters: Vec<Parameter>,
    /// In arena order.
    pub running: Vec<Parameter>,
}

impl Inventory {
    /// Values in the arena of trained parameters.
    pub fn parameter_len(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.range().end)
    }

    /// Values in the arena of running statistics.
    pub fn running_len(&self) -> usize {
        self.running.last().map_or(0, |p| p.range().end)
    }

    fn push(
        list: &mut Vec<Parameter>,
        name: String,
        field: Field,
        len: usize,
        layout: TorchLayout,
    ) -> usize {
        let start = list.last().map_or(0, |p| p.range().end);
        list.push(Parameter {
            name,
            field,
            start,
            len,
            layout,
        });
        start
    }

    pub(super) fn push_weight(
        &mut self,
        name: &str,
        linear: &Linear,
        plane: Option<(usize, usize)>,
    ) -> usize {
        let (field, layout) = match *linear {
            Linear::Conv(layer) => (Field::ConvWeight, strided(layer)),
            Linear::TransposedConv(layer) => (Field::TransposedConvWeight, strided(layer)),
            Linear::Dense { inputs, outputs } => {
                let (channels, side) = plane.unwrap_or((outputs, 1));
                let layout = if channels * side * side == outputs {
                    TorchLayout::DenseToPlane {
                        inputs,
                        channels,
                        side,
                    }
                } else {
                    TorchLayout::PlaneToDense {
                        outputs,
                        channels,
                        side,
                    }
                };
                (Field::DenseWeight, layout)
            }
        };
        let name = format!("{name}.weight");
        Self::push(
            &mut self.parameters,
            name,
            field,
            linear.weight_len(),
            layout,
        )
    }

    pub(super) fn push_bias(
        &mut self,
        name: &str,
        linear: &Linear,
        plane: Option<(usize, usize)>,
    ) -> usize {
        let len = linear.bias_len();
        let name = format!("{name}.bias");
        Self::push(
            &mut self.parameters,
            name,
            Field::Bias,
            len,
            of_plane(len, plane),
        )
    }

    /// Places of gamma (beta follows) and of the running means (variances follow).
    pub(super) fn push_norm(
        &mut self,
        name: &str,
        norm: BatchNorm,
        plane: Option<(usize, usize)>,
    ) -> (usize, usize) {
        let len = norm.features;
        let layout = of_plane(len, plane);
        let parameters = &mut self.parameters;
        let gamma = Self::push(
            parameters,
            format!("{name}.weight"),
            Field::Gamma,
            len,
            layout,
        );
        Self::push(parameters, format!("{name}.bias"), Field::Beta, len, layout);
        let running = &mut self.running;
        let mean = format!("{name}.running_mean");
        let start = Self::push(running, mean, Field::RunningMean, len, layout);
        let variance = format!("{name}.running_var");
        Self::push(running, variance, Field::RunningVariance, len, layout);
        (gamma, start)
    }
}

fn strided(layer: StridedLayer) -> TorchLayout {
    TorchLayout::Strided {
        c_big: layer.c_big,
        c_small: layer.c_small,
    }
}

/// The order of a vector that holds one value for each output of a dense layer, or each channel.
fn of_plane(len: usize, plane: Option<(usize, usize)>) -> TorchLayout {
    match plane {
        Some((channels, side)) if channels * side * side == len => {
            TorchLayout::Plane { channels, side }
        }
        _ => TorchLayout::Same,
    }
}
