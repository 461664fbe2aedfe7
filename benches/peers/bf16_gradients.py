#!/usr/bin/env python3
"""How far bf16 turns the gradients of these networks, in PyTorch's autocast, on a CPU.

For some sizes and seeds: one simultaneous step from the paper's initialisation, in float64 and in
bf16 autocast, and of each the least cosines between the gradients of one parameter. What
tests/mixed_precision.rs asks of the project's own bf16 is to be read beside these numbers.
"""

from __future__ import annotations

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import networks

# Strided layers, size of a map, base filters, batch norm of the dense layer, batch.
CASES = [
    (2, 32, 8, "channel", 8),
    (3, 32, 8, "channel", 8),
    (3, 32, 16, "feature", 8),
    (3, 32, 16, "channel", 32),
    (4, 64, 16, "channel", 16),
]


def initialise(network: nn.Module) -> None:
    """Weights N(0, 0.02), gamma 1, all else 0."""
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, 0.0, 0.02)
        else:
            scale = "bn" in name and name.endswith("weight")
            nn.init.constant_(parameter, 1.0 if scale else 0.0)


def gradients(
    generator: nn.Module, discriminator: nn.Module, z: Tensor, x: Tensor, half: bool
) -> dict[str, Tensor]:
    """The gradients of a simultaneous step, by the name of the parameter."""
    bce = F.binary_cross_entropy_with_logits
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        real, fake = discriminator(x), discriminator(generator(z))
    real, fake = real.to(x.dtype), fake.to(x.dtype)
    d_loss = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    g_loss = bce(fake, torch.ones_like(fake))
    found = {}
    for letter, network, loss in (("D", discriminator, d_loss), ("G", generator, g_loss)):
        names, parameters = zip(*network.named_parameters())
        for name, gradient in zip(names, torch.autograd.grad(loss, parameters, retain_graph=True)):
            found[f"{letter}.{name}"] = gradient.double().flatten()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    print(f"PyTorch {torch.__version__}: layers, size, filters, dense norm, batch, seed: least cosines")
    for layers, size, base, norm, batch in CASES:
        architecture = networks.Architecture(size, 1, layers, base, 16, True, True, norm, 1)
        for seed in range(seeds):
            torch.manual_seed(seed)
            pair = [networks.Generator(architecture), networks.Discriminator(architecture)]
            for network in pair:
                initialise(network)
            exact = [copy.deepcopy(network).double() for network in pair]
            z = torch.randn(batch, 16)
            x = torch.tanh(0.5 * torch.randn(batch, 1, size, size))
            wanted = gradients(*exact, z.double(), x.double(), False)
            found = gradients(*pair, z, x, True)
            cosines = {
                name: F.cosine_similarity(wanted[name], found[name], 0).item()
                for name in wanted
                # A bias before a batch norm has no gradient but rounding.
                if wanted[name].abs().max() > 1e-12
            }
            least = sorted(cosines.items(), key=lambda item: item[1])[:3]
            said = ", ".join(f"{name} {cosine:.4f}" for name, cosine in least)
            print(f"{layers}, {size}, {base}, {norm}, {batch}, {seed}: {said}", flush=True)


if __name__ == "__main__":
    main()
