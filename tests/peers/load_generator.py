"""Runs a checkpoint's generator in PyTorch and compares it with the maps that `cosmogan` made.

    cosmogan generate --checkpoint F.safetensors --latents z.npy --out maps.npy
    python tests/peers/load_generator.py --checkpoint F.safetensors --latents z.npy --maps maps.npy

Tensors `generator_ema.<module>.<parameter>` (the averaged generator, which `generate` runs) are
loaded strictly: none missing, none left over, every shape PyTorch's own. The architecture is the JSON object under the metadata key `architecture`. If
the metadata key `transform` names one, its inverse is applied to PyTorch's output too. PyTorch runs
in float64 from the stored weights. The tolerance is that of the network's output, within (-1, 1);
the transform's slope carries it to the maps. Exits 1 if any value differs by more.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benches" / "peers"))
from networks import Architecture, Generator, load_strictly  # noqa: E402

PREFIX = "generator_ema."
BATCH = 16
TRANSFORMS = {
    "none": (),
    "linear": ("scale", "offset"),
    "rational": ("a",),
    "log": ("width", "scale", "offset"),
}


class BadInput(Exception):
    """A file that cannot be used; the message names it and says why."""


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The generator's tensors, without their prefix, and the file's metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(PREFIX)]
            tensors = {name.removeprefix(PREFIX): file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: {error}") from error
    if not tensors:
        raise BadInput(f"{path}: holds no tensor called {PREFIX}*")
    return tensors, metadata


def architecture_of(path: Path, metadata: dict[str, str], given: str | None) -> Architecture:
    """The architecture given on the command line, else the one stored in the checkpoint."""
    text = given or metadata.get("architecture")
    if text is None:
        raise BadInput(f"{path}: no metadata key `architecture`; give --architecture JSON")
    try:
        return Architecture.from_json(text)
    except ValueError as error:
        raise BadInput(f"architecture of {path}: {error}") from error


def transform_of(path: Path, metadata: dict[str, str]) -> dict[str, object]:
    """The stored transform, with exactly the fields that its kind has; `none` if there is none."""
    try:
        transform = json.loads(metadata.get("transform", '{"kind":"none"}'))
        wanted = {"kind", *TRANSFORMS[transform["kind"]]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: metadata key `transform` is not understood: {error}") from error
    if set(transform) != wanted:
        raise BadInput(f"{path}: transform has {sorted(transform)}, not {sorted(wanted)}")
    return transform


def invert(transform: dict[str, object], y: np.ndarray) -> np.ndarray:
    """Convergence x from network output y, both float64, any shape."""
    t = transform
    match t["kind"]:
        case "linear":  # y = (x - offset) scale
            return y / t["scale"] + t["offset"]
        case "rational":  # y = 2 x / (x + a) - 1
            return t["a"] * (1 + y) / (1 - y)
        case "log":  # y = scale ln(1 + x / width) + offset
            return t["width"] * np.expm1((y - t["offset"]) / t["scale"])
    return y


def slope(transform: dict[str, object], y: np.ndarray) -> np.ndarray:
    """dx/dy of `invert`: how much an error of the network's output grows."""
    t = transform
    match t["kind"]:
        case "linear":
            return np.full_like(y, abs(1 / t["scale"]))
        case "rational":
            return np.abs(2 * t["a"] / (1 - y) ** 2)
        case "log":
            return np.abs(t["width"] / t["scale"] * np.exp((y - t["offset"]) / t["scale"]))
    return np.ones_like(y)


def read_array(path: Path, dimensions: tuple[int, ...]) -> np.ndarray:
    """A `.npy` array of one of the given numbers of dimensions, as float64."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from error
    if array.ndim not in dimensions or array.dtype.kind != "f":
        raise BadInput(f"{path}: {array.dtype} array of shape {array.shape}")
    return array.astype(np.float64)


def generate(generator: Generator, latents: np.ndarray) -> np.ndarray:
    """Maps [N, C, S, S] of latent vectors [N, latent], in inference mode, float64."""
    generator.double().eval()
    with torch.inference_mode():
        batches = torch.from_numpy(latents).split(BATCH)
        return torch.cat([generator(z) for z in batches]).numpy()


def spread(maps: np.ndarray) -> float:
    """Root mean square deviation of maps [N, C, S, S] from their mean; of one map, from its own."""
    return float(maps.std() if len(maps) == 1 else np.sqrt(maps.var(axis=0).mean()))


def report(ours: np.ndarray, reference: np.ndarray, allowed: np.ndarray) -> bool:
    """Prints how far maps [N, C, S, S] are apart; whether all are near enough (NaN never is)."""
    difference = np.abs(ours - reference)
    agree = difference <= allowed
    print(
        f"max abs difference {difference.max():.3e}, mean {difference.mean():.3e}, "
        f"the maps' own spread {spread(reference):.3e} rms, {len(ours)} maps"
    )
    if agree.all():
        print("agree")
        return True
    place = np.unravel_index(np.argmin(agree), agree.shape)
    n, c, y, x = (int(i) for i in place)
    print(f"{np.count_nonzero(~agree)} of {agree.size} values differ by more than allowed")
    print(f"first: map {n}, channel {c}, row {y}, column {x}: {ours[place]} not {reference[place]}")
    return False


def check(args: argparse.Namespace) -> bool:
    """Loads everything, runs PyTorch and compares."""
    tensors, metadata = read_checkpoint(args.checkpoint)
    architecture = architecture_of(args.checkpoint, metadata, args.architecture)
    generator = Generator(architecture)
    try:
        load_strictly(generator, tensors)
    except RuntimeError as error:
        raise BadInput(f"{args.checkpoint}: {error}") from error
    latents, maps = read_array(args.latents, (2,)), read_array(args.maps, (3, 4))
    if len(latents) == 0 or latents.shape[1] != architecture.latent:
        raise BadInput(f"{args.latents}: shape {latents.shape}, not [N, {architecture.latent}]")
    maps = maps[:, None] if maps.ndim == 3 else maps
    transform = transform_of(args.checkpoint, metadata)
    output = generate(generator, latents)
    reference = invert(transform, output)
    if maps.shape != reference.shape:
        raise BadInput(f"{args.maps}: maps [N, C, H, W] {maps.shape}, not {reference.shape}")
    if not spread(output) > 10 * args.tolerance:
        words = f"the network's outputs differ among themselves by only {spread(output):.1e} rms"
        raise BadInput(f"{words}, which tests nothing; train for some steps or lower --tolerance")
    return report(maps, reference, args.tolerance * slope(transform, output))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True, help="[N, latent]")
    parser.add_argument("--maps", type=Path, required=True, help="[N, H, W] or [N, C, H, W]")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--architecture", help="JSON, for a checkpoint that does not hold it")
    return parser.parse_args()


def main() -> int:
    try:
        return 0 if check(parse()) else 1
    except BadInput as error:
        print(f"load_generator.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
