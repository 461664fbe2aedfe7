"""The project's generator and discriminator in PyTorch, tensor for tensor.

The counterpart of `src/model`: an `Architecture` has the same fields, the modules have the names
that checkpoints use (`lin`, `bn0`, `ct1`..; `c0`.., `bn1`.., `lin`), and every parameter has the
shape PyTorch gives it. Planes are [N, C, H, W]; dense layers see them flattened in (C, H, W) order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 5
LEAKY_SLOPE = 0.2


@dataclass(frozen=True)
class Architecture:
    """The sizes of a generator and its discriminator, field for field those of `src/model`."""

    map_size: int
    channels: int
    layers: int
    base_filters: int
    latent: int
    conv_bias: bool
    dense_bias: bool
    dense_norm: str
    """`channel`: all pixels of a channel share their statistics; `feature`: each output its own."""
    pad_low: int
    """Padding before the big plane: 1 (TensorFlow SAME, 1 before and 2 after) or 2 (PyTorch)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, wanted = getattr(self, field.name), _FIELD_TYPES[str(field.type)]
            if type(value) is not wanted:
                raise ValueError(f"{field.name} is {value!r}; it must be of type {field.type}")
        if self.dense_norm not in ("channel", "feature"):
            raise ValueError(f'dense_norm is "{self.dense_norm}"; use "channel" or "feature"')
        if self.pad_low not in (1, 2):
            raise ValueError(f"pad_low is {self.pad_low}; it must be 1 (TensorFlow) or 2 (PyTorch)")
        if min(self.channels, self.layers, self.base_filters, self.latent) < 1:
            raise ValueError("channels, layers, base_filters and latent must each be at least 1")
        if not 16 <= self.map_size <= 1024 or self.map_size.bit_count() != 1:
            raise ValueError(f"map_size is {self.map_size}; it must be a power of two, 16 to 1024")
        if self.map_size >> self.layers < 2:
            raise ValueError(f"{self.map_size}-pixel maps cannot be halved {self.layers} times")

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Reads a JSON object that has exactly the fields of this class."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("an architecture is a JSON object")
        known = {field.name for field in fields(cls)}
        missing, unknown = sorted(known - values.keys()), sorted(values.keys() - known)
        if missing or unknown:
            raise ValueError(f"architecture: fields missing: {missing}, fields unknown: {unknown}")
        return cls(**values)

    def plane(self, depth: int) -> tuple[int, int]:
        """Channels and side of the plane `depth` strided layers from the map (0 is the map)."""
        channels = self.channels if depth == 0 else self.base_filters << (depth - 1)
        return channels, self.map_size >> depth


_FIELD_TYPES = {"int": int, "bool": bool, "str": str}


class StridedConv(nn.Conv2d):
    """5x5 stride-2 convolution, [N, C_big, 2S, 2S] to [N, C_small, S, S].

    Tap k of small pixel i meets big pixel 2 i + k - pad_low.
    """

    def __init__(self, c_big: int, c_small: int, bias: bool, pad_low: int) -> None:
        super().__init__(c_big, c_small, TAPS, 2, 2 if pad_low == 2 else 0, bias=bias)
        self.pad_low = pad_low

    def forward(self, big: Tensor) -> Tensor:
        return super().forward(big if self.pad_low == 2 else F.pad(big, (1, 2, 1, 2)))


class StridedTransposedConv(nn.ConvTranspose2d):
    """5x5 stride-2 transposed convolution, [N, C_small, S, S] to [N, C_big, 2S, 2S].

    With `pad_low` 1 the plane comes out one pixel longer than wanted, and its end is cut off.
    """

    def __init__(self, c_small: int, c_big: int, bias: bool, pad_low: int) -> None:
        extra = 1 if pad_low == 2 else 0
        super().__init__(c_small, c_big, TAPS, 2, pad_low, extra, bias=bias)
        self.pad_low = pad_low

    def forward(self, small: Tensor) -> Tensor:
        big = super().forward(small)
        return big if self.pad_low == 2 else big[..., :-1, :-1]


def tail(norm: nn.Module, activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What lies between a linear layer with batch norm and the next one."""
    return activation(norm(x))


def leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, LEAKY_SLOPE)


class Generator(nn.Module):
    """Latent vectors [N, latent] to maps [N, channels, map_size, map_size] within (-1, 1)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.memory_format = torch.contiguous_format
        self.tail = tail
        channels, side = a.plane(a.layers)
        outputs = channels * side * side
        self.lin = nn.Linear(a.latent, outputs, bias=a.dense_bias)
        by_channel = a.dense_norm == "channel"
        self.bn0 = nn.BatchNorm2d(channels) if by_channel else nn.BatchNorm1d(outputs)
        for layer in range(1, a.layers + 1):
            c_small, _ = a.plane(a.layers - layer + 1)
            c_big, _ = a.plane(a.layers - layer)
            transposed = StridedTransposedConv(c_small, c_big, a.conv_bias, a.pad_low)
            self.add_module(f"ct{layer}", transposed)
            if layer < a.layers:
                self.add_module(f"bn{layer}", nn.BatchNorm2d(c_big))

    def forward(self, z: Tensor) -> Tensor:
        a = self.architecture
        x = self._dense(z)
        for layer in range(1, a.layers):
            x = self.get_submodule(f"ct{layer}")(x)
            x = self.tail(self.get_submodule(f"bn{layer}"), F.relu, x)
        return torch.tanh(self.get_submodule(f"ct{a.layers}")(x))

    def _dense(self, z: Tensor) -> Tensor:
        """[N, latent] to the innermost plane [N, C, S, S], in the layout of the rest."""
        channels, side = self.architecture.plane(self.architecture.layers)
        shape = (-1, channels, side, side)
        x = self.lin(z)
        if self.architecture.dense_norm == "feature":
            x = self.tail(self.bn0, F.relu, x)
            return x.view(shape).contiguous(memory_format=self.memory_format)
        x = x.view(shape).contiguous(memory_format=self.memory_format)
        return self.tail(self.bn0, F.relu, x)


class Discriminator(nn.Module):
    """Maps [N, channels, map_size, map_size] to logits [N, 1] that they are real."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.tail = tail
        for depth in range(a.layers):
            c_big, _ = a.plane(depth)
            c_small, _ = a.plane(depth + 1)
            self.add_module(f"c{depth}", StridedConv(c_big, c_small, a.conv_bias, a.pad_low))
            if depth > 0:
                self.add_module(f"bn{depth}", nn.BatchNorm2d(c_small))
        channels, side = a.plane(a.layers)
        self.lin = nn.Linear(channels * side * side, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky_relu(self.c0(x))
        for depth in range(1, self.architecture.layers):
            x = self.get_submodule(f"c{depth}")(x)
            x = self.tail(self.get_submodule(f"bn{depth}"), leaky_relu, x)
        return self.lin(x.flatten(1))


def lay_out(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Puts a network's weights, and the planes that it makes itself, into `memory_format`."""
    network.to(memory_format=memory_format)
    if isinstance(network, Generator):
        network.memory_format = memory_format


def cancelled_biases(network: Generator | Discriminator) -> set[str]:
    """Names of the biases that a batch norm over the same channels subtracts again.

    Their gradient is exactly zero, and rounding noise in floating point.
    """
    names = {name for name, _ in network.named_parameters()}
    kind = "ct" if isinstance(network, Generator) else "c"
    layers = range(1, network.architecture.layers + 1)
    cancelled = {f"{kind}{i}.bias" for i in layers if f"bn{i}.weight" in names}
    if network.architecture.dense_norm == "feature" and kind == "ct":
        cancelled.add("lin.bias")
    return cancelled & names


def load_strictly(
    network: nn.Module, tensors: Mapping[str, Tensor], but: Iterable[str] = ()
) -> None:
    """Loads tensors by name, each of the right shape, none missing and none left over.

    PyTorch's counters of batch norm calls, which nothing here uses, need not be there; nor need
    what ends in one of `but`.
    """
    optional = ("num_batches_tracked", *but)
    state = {k: v for k, v in network.state_dict().items() if k.endswith(optional)}
    network.load_state_dict(state | dict(tensors), strict=True)
