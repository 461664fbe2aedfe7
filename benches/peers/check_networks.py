"""Checks `networks.py` and `step.py` against reference tensors, in float64, for both paddings.

    python benches/peers/check_networks.py --golden DIR

DIR holds `dcgan_pt_simultaneous.safetensors` and `dcgan_tf_simultaneous.safetensors`: five steps of
a tiny DCGAN. Compared are all activations and gradients of the first step, parameters, running
statistics and Adam's moments after it, gradients of the fifth step, logits and losses of every
step, and the outputs in inference mode. Exits 1 and names what differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from networks import Architecture, Discriminator, Generator, cancelled_biases, load_strictly
from step import SimultaneousStep

TOLERANCE = 1e-10
"""Of the largest value of a tensor: sums in another order, amplified by five steps of Adam."""
PAPER_COUNTS = {"Generator": 12_824_449, "Discriminator": 4_436_225}


class Comparison:
    """Counts tensors compared and remembers those that differ."""

    def __init__(self) -> None:
        self.compared = 0
        self.failures: list[str] = []
        self.worst = 0.0

    def check(self, name: str, value: Tensor, wanted: Tensor) -> None:
        """`value` must be `wanted` to TOLERANCE of its largest entry; NaN never is."""
        self.compared += 1
        value = value.detach()
        if value.dim() == 0:
            value = value[None]
        if value.shape != wanted.shape:
            self.failures.append(f"{name}: shape {list(value.shape)}, not {list(wanted.shape)}")
            return
        scale = max(float(wanted.abs().max()), 1e-3)
        relative = float((value - wanted).abs().max()) / scale
        if not relative <= TOLERANCE:
            self.failures.append(f"{name}: differs by {relative:.2e} of its largest value")
        else:
            self.worst = max(self.worst, relative)


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, under the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def record_activations(network: nn.Module, letter: str, into: dict[str, Tensor]) -> None:
    """Hooks that keep every layer's output: `G.ct1`; `D.c1.real`, then `D.c1.fake`."""

    def hook_for(name: str):
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            key = f"{letter}.{name}"
            if letter == "D":
                key += ".fake" if f"{key}.real" in into else ".real"
            into[key] = output.detach()

        return hook

    for name, module in network.named_children():
        module.register_forward_hook(hook_for(name))


def check_gradients(
    seen: Comparison, prefix: str, golden: dict[str, Tensor], networks: dict[str, nn.Module]
) -> None:
    """Gradients by parameter; those of cancelled biases must vanish on both sides."""
    for letter, network in networks.items():
        cancelled = cancelled_biases(network)
        for name, parameter in network.named_parameters():
            key = f"{prefix}{letter}.{name}"
            wanted = torch.zeros_like(golden[key]) if name in cancelled else golden[key]
            seen.check(key, parameter.grad, wanted)


def check_state(
    seen: Comparison,
    prefix: str,
    golden: dict[str, Tensor],
    networks: dict[str, nn.Module],
    step: SimultaneousStep,
) -> None:
    """Parameters, running statistics and moments after the first update."""
    optimisers = {"G": step.g_adam, "D": step.d_adam}
    for letter, network in networks.items():
        noise, optimiser = cancelled_biases(network), optimisers[letter]
        for name, value in network.state_dict().items():
            if name not in noise and not name.endswith("num_batches_tracked"):
                seen.check(f"{prefix}{letter}.{name}", value, golden[f"{prefix}{letter}.{name}"])
        for name, parameter in network.named_parameters():
            state = optimiser.state[parameter]
            for ours, theirs in (("exp_avg", "adam_m"), ("exp_avg_sq", "adam_v")):
                key = f"{prefix}{theirs}/{letter}.{name}"
                seen.check(key, state[ours], golden[key])


def check_first_activations(
    seen: Comparison, golden: dict[str, Tensor], activations: dict[str, Tensor]
) -> None:
    """Outputs of every conv, dense and batch norm layer; dense ones as the plane they become."""
    for key, wanted in part(golden, "step1/act/").items():
        seen.check(f"step1/act/{key}", activations[key].reshape(wanted.shape), wanted)


def check_inference(
    seen: Comparison, golden: dict[str, Tensor], networks: dict[str, nn.Module]
) -> None:
    """Inference mode with the stored parameters and running statistics."""
    for letter, network in networks.items():
        load_strictly(network, part(golden, f"after5/{letter}."))
        network.eval()
    with torch.no_grad():
        seen.check("eval_after5/G_z1", networks["G"](golden["z"][0]), golden["eval_after5/G_z1"])
        logits = networks["D"](golden["x"][0])
        seen.check("eval_after5/D_logits_x1", logits, golden["eval_after5/D_logits_x1"])


def check_file(path: Path, pad_low: int) -> Comparison:
    """Replays the file's five steps."""
    golden, seen = load_file(path), Comparison()
    architecture = Architecture(32, 1, 3, 4, 8, True, True, "channel", pad_low)
    networks = {"G": Generator(architecture).double(), "D": Discriminator(architecture).double()}
    for letter, network in networks.items():
        running = ("running_mean", "running_var")
        load_strictly(network, part(golden, f"init/{letter}."), but=running)
    activations: dict[str, Tensor] = {}
    for letter, network in networks.items():
        record_activations(network, letter, activations)
    step = SimultaneousStep(networks["G"], networks["D"], "fused")
    for turn in range(1, 6):
        activations.clear()
        passed = step.forward(golden["x"][turn - 1], golden["z"][turn - 1])
        for key, value in passed.items():
            seen.check(f"step{turn}/{key}", value, golden[f"step{turn}/{key}"])
        if turn in (1, 5):
            of_fake = torch.autograd.grad(passed["g_loss"], passed["fake"], retain_graph=True)[0]
            key = f"step{turn}/grad/fake_from_g_loss"
            seen.check(key, of_fake, golden[key])
        step.backward(passed)
        if turn in (1, 5):
            check_gradients(seen, f"step{turn}/grad/", golden, networks)
        step.update()
        if turn == 1:
            check_first_activations(seen, golden, activations)
            check_state(seen, "after1/", golden, networks, step)
    check_inference(seen, golden, networks)
    return seen


def check_counts(seen: Comparison) -> None:
    """Parameters of the paper's 256-pixel networks."""
    paper = Architecture(256, 1, 4, 64, 64, True, True, "channel", 1)
    with torch.device("meta"):
        networks = [Generator(paper), Discriminator(paper)]
    for network in networks:
        name = type(network).__name__
        count = sum(parameter.numel() for parameter in network.parameters())
        seen.compared += 1
        if count != PAPER_COUNTS[name]:
            seen.failures.append(f"{name}: {count} parameters, not {PAPER_COUNTS[name]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True, help="folder of the reference files")
    golden = parser.parse_args().golden
    counts = Comparison()
    check_counts(counts)
    reports = {"parameter counts": counts}
    for name, pad_low in (("dcgan_pt_simultaneous", 2), ("dcgan_tf_simultaneous", 1)):
        path = golden / f"{name}.safetensors"
        if not path.is_file():
            parser.error(f"{path} is not there")
        reports[name] = check_file(path, pad_low)
    for name, seen in reports.items():
        verdict = f"{len(seen.failures)} differ" if seen.failures else "all agree"
        print(f"{name}: {seen.compared} compared, {verdict} (worst {seen.worst:.1e})")
        for failure in seen.failures:
            print(f"  {failure}")
    return 1 if any(seen.failures for seen in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
