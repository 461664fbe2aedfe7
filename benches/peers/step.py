"""Times PyTorch on CosmoGAN: a whole training step, or the generator alone.

    python benches/peers/step.py step --size 64 --base 64 --batch 64 --threads 4
    python benches/peers/step.py generate --size 256 --batch 16 --layout nchw

The step is the paper convention's: one latent batch, one generator pass, the discriminator on real
and on fake maps separately, the gradients of both networks from these passes, then both updates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
import torch._dynamo.config
import torch._functorch.config
import torch.nn.functional as F
from torch import Tensor, nn

from networks import Architecture, Discriminator, Generator, lay_out, tail

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def adam(
    network: nn.Module, implementation: str = "fused", capturable: bool = False
) -> torch.optim.Adam:
    """Adam with the paper's constants (PyTorch's place of epsilon). See README.md on `fused`."""
    choice = {"fused": implementation == "fused", "foreach": implementation == "foreach"}
    choice["capturable"] = capturable
    return torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), eps=1e-8, **choice)


def compiled(network: nn.Module, what: str, autotune: bool = False) -> Callable[[Tensor], Tensor]:
    """`network` as it is called: through torch.compile as a whole, or with its tails alone (batch
    norm and activation, one kernel or two), or as written.

    A compiled network's backward pass makes all gradients, wanted or not; around compiled tails
    autograd still leaves the unwanted convolutions out.
    """
    # CUDA graphs, where asked for, hold the whole step.
    mode = "max-autotune-no-cudagraphs" if autotune else "default"
    if what == "networks":
        return torch.compile(network, mode=mode)
    if what == "tails":
        network.tail = torch.compile(tail, mode=mode)
    return network


class SimultaneousStep:
    """Both networks' gradients from one set of forward passes, then both updates.

    The fake logits' graph is walked twice, each time only where needed: for D's parameters down to
    its first layer but not into the fake maps, for G's without D's weight gradients. The two walks
    cannot be one: the losses weight samples differently, and batch norm mixes samples.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        optimiser: str,
        compile_what: str = "nothing",
        autotune: bool = False,
        graph: bool = False,
    ) -> None:
        self.g = compiled(generator, compile_what, autotune)
        self.d = compiled(discriminator, compile_what, autotune)
        self.g_parameters = list(generator.parameters())
        self.d_parameters = list(discriminator.parameters())
        self.g_adam = adam(generator, optimiser, graph)
        self.d_adam = adam(discriminator, optimiser, graph)

    def forward(self, real: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Losses and logits of real maps [N, C, S, S] and latent vectors [N, latent]."""
        fake = self.g(z)
        real_logits, fake_logits = self.d(real), self.d(fake)
        ones, zeros = torch.ones_like(real_logits), torch.zeros_like(fake_logits)
        d_loss_real = F.binary_cross_entropy_with_logits(real_logits, ones)
        d_loss_fake = F.binary_cross_entropy_with_logits(fake_logits, zeros)
        return {
            "fake": fake,
            "d_logits_real": real_logits,
            "d_logits_fake": fake_logits,
            "d_loss_real": d_loss_real,
            "d_loss_fake": d_loss_fake,
            "d_loss": d_loss_real + d_loss_fake,
            "g_loss": F.binary_cross_entropy_with_logits(fake_logits, ones),
        }

    def backward(self, passed: dict[str, Tensor]) -> None:
        """Leaves the gradients of `forward`'s losses in the parameters."""
        d_grads = torch.autograd.grad(passed["d_loss"], self.d_parameters, retain_graph=True)
        g_grads = torch.autograd.grad(passed["g_loss"], self.g_parameters)
        for parameter, grad in zip(self.d_parameters, d_grads, strict=True):
            parameter.grad = grad
        for parameter, grad in zip(self.g_parameters, g_grads, strict=True):
            parameter.grad = grad

    def update(self) -> None:
        """Moves both networks along the gradients."""
        self.d_adam.step()
        self.g_adam.step()


def times_of(
    work: Callable[[], None], device: torch.device, warm_up: int, steps: int
) -> list[float]:
    """Wall-clock seconds of each of `steps` calls that follow `warm_up` untimed ones."""
    times = []
    for turn in range(warm_up + steps):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn >= warm_up:
            times.append(time.perf_counter() - started)
    return times


def precision(args: argparse.Namespace) -> AbstractContextManager:
    """Autocast for bf16: f32 weights and statistics, bf16 planes. Nothing for f32."""
    return torch.autocast(
        args.device,
        dtype=torch.bfloat16,
        enabled=args.dtype == "bf16",
        # A graph would replay on weights that were converted when it was captured.
        cache_enabled=not args.graph,
    )


def as_graph(work: Callable[[], None]) -> Callable[[], None]:
    """`work` captured as one CUDA graph, behind a few calls that let it allocate and tune."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(4):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def training_step(args: argparse.Namespace, architecture: Architecture) -> Callable[[], None]:
    """A step on one batch of normal noise, with a fresh latent batch each time.

    A GPU gets the batch from page-locked memory in each step, as it does from `cosmogan`.
    """
    device, layout = torch.device(args.device), LAYOUTS[args.layout]
    generator = Generator(architecture).to(device)
    discriminator = Discriminator(architecture).to(device)
    lay_out(generator, layout)
    lay_out(discriminator, layout)
    how = (args.compile, args.autotune, args.graph)
    step = SimultaneousStep(generator, discriminator, args.adam, *how)
    side = architecture.map_size
    real = torch.randn(args.batch, architecture.channels, side, side, device=device)
    real = real.to(memory_format=layout)
    host = real.cpu().pin_memory() if device.type == "cuda" else None

    def work() -> None:
        if host is not None:
            real.copy_(host, non_blocking=True)
        z = torch.randn(args.batch, architecture.latent, device=device)
        with precision(args):
            passed = step.forward(real, z)
        step.backward(passed)
        step.update()

    return as_graph(work) if args.graph else work


def generation(args: argparse.Namespace, architecture: Architecture) -> Callable[[], None]:
    """One batch of maps from fresh latent vectors, with running statistics, no tape kept.

    A GPU's maps are copied to page-locked memory, as those of `cosmogan` are.
    """
    device = torch.device(args.device)
    generator = Generator(architecture).to(device).eval()
    lay_out(generator, LAYOUTS[args.layout])
    run = compiled(generator, args.compile, args.autotune)
    side = architecture.map_size
    shape = (args.batch, architecture.channels, side, side)
    host = torch.empty(shape).pin_memory() if device.type == "cuda" else None

    def work() -> None:
        with torch.no_grad(), precision(args):
            maps = run(torch.randn(args.batch, architecture.latent, device=device))
        if host is not None:
            host.copy_(maps.float(), non_blocking=True)

    return as_graph(work) if args.graph else work


def architecture_of(args: argparse.Namespace) -> Architecture:
    """The family's member that is timed: biases on, dense layer's batch norm per channel."""
    layers = args.layers or (4 if args.size >= 64 else args.size.bit_length() - 3)
    return Architecture(
        map_size=args.size,
        channels=1,
        layers=layers,
        base_filters=args.base,
        latent=args.latent,
        conv_bias=True,
        dense_bias=True,
        dense_norm="channel",
        pad_low=args.pad_low,
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Runs the asked-for work and reports medians, the spread and the setting."""
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = args.tf32
    torch.backends.cuda.matmul.allow_tf32 = args.tf32
    # The step walks one compiled graph twice, whose buffers the first walk may not reuse.
    torch._functorch.config.donated_buffer = False
    # Each batch norm is another case of the same function.
    torch._dynamo.config.recompile_limit = 64
    torch.manual_seed(1)
    device, architecture = torch.device(args.device), architecture_of(args)
    training = args.what == "step"
    work = (training_step if training else generation)(args, architecture)
    times = times_of(work, device, args.warm_up, args.steps)
    median = statistics.median(times)
    rate = "train_maps_s" if training else "generate_maps_s"
    setting = {key: value for key, value in vars(args).items() if key != "json"}
    return {
        "step_s": median,
        rate: args.batch / median,
        "min_s": min(times),
        "max_s": max(times),
        "times_s": times,
        **setting,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "architecture": vars(architecture),
        "gpu": torch.cuda.get_device_name(device) if args.device == "cuda" else None,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["step", "generate"])
    parser.add_argument("--size", type=int, default=64, help="side of a map in pixels")
    parser.add_argument("--base", type=int, default=64, help="filters of the layer next to the map")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--steps", type=int, default=5, help="timed repetitions")
    parser.add_argument("--warm-up", type=int, default=2, help="untimed repetitions before them")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--compile",
        choices=["nothing", "tails", "networks"],
        default="nothing",
        help="what torch.compile gets: batch norms with their activations, or whole networks",
    )
    parser.add_argument(
        "--autotune", action="store_true", help="let torch.compile try several kernels of each kind"
    )
    parser.add_argument(
        "--graph", action="store_true", help="capture the whole step as one CUDA graph"
    )
    parser.add_argument(
        "--tf32", action="store_true", help="let a GPU round f32 factors to TF32's 10 bits"
    )
    parser.add_argument("--adam", choices=["fused", "foreach", "loop"], default="fused")
    parser.add_argument("--layers", type=int, help="strided layers (4; fewer below 64 pixels)")
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--pad-low", type=int, choices=[1, 2], default=2)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    for name in ("base", "batch", "threads", "steps", "latent"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    try:
        architecture_of(args)
    except ValueError as error:
        parser.error(str(error))
    if args.graph and args.device != "cuda":
        parser.error("--graph needs --device cuda")
    if args.autotune and args.compile == "nothing":
        parser.error("--autotune needs --compile")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here")
    return args


def main() -> None:
    args = parse()
    result = measure(args)
    rate = "train_maps_s" if args.what == "step" else "generate_maps_s"
    print(
        f"{args.what} {args.size}/{args.base}/{args.batch} {args.dtype} {args.layout} "
        f"on {args.device}, {result['threads']} threads: {result['step_s']:.4f} s "
        f"[{result['min_s']:.4f}, {result['max_s']:.4f}], {result[rate]:.1f} maps/s"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
