"""Times LensTools beside `cosmogan stats` on the same maps, and compares their numbers.

    python benches/peers/lenstools.py --cosmogan target/release/cosmogan --json times.json

LensTools 1.2 needs Python 3.11, libgsl-dev and libfftw3-dev, and:

    python3.11 -m venv venv
    venv/bin/pip install "setuptools<60" wheel numpy==1.23.5 "scipy<1.11" "astropy<6" \
        "pandas<2.1" "matplotlib<3.8" "contourpy<1.2"
    venv/bin/pip install --no-build-isolation lenstools

Both work on one thread and are measured in processor time, which neighbours on a busy machine disturb
less than the clock: LensTools by `time.process_time` around its calls, map by map; `cosmogan stats` by
what the system charges the process, on many maps less on few, so that starting, opening and writing
drop out. They take turns; a pair gives a ratio, the table the ratios' median and both extremes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.pop(0)  # this folder, in which `lenstools` is this file
sys.modules["mpi4py"] = None  # LensTools tries it and does without
warnings.simplefilter("ignore")

import astropy.units as u  # noqa: E402
import lenstools  # noqa: E402
import numpy as np  # noqa: E402
from lenstools import ConvergenceMap  # noqa: E402

ANGLE = 0.866
L_EDGES = np.arange(200, 50_000, 200.0)
THRESHOLDS = np.arange(-2, 2, 0.2)
TOLERANCE = 1e-10

Arrays = dict[str, np.ndarray]


def spectrum_and_minkowski(image: ConvergenceMap) -> Arrays:
    """The statistics whose speed the project is held to."""
    _, power = image.powerSpectrum(L_EDGES)
    _, v0, v1, v2 = image.minkowskiFunctionals(THRESHOLDS, norm=True)
    return {"power_spectrum": power, "minkowski_v0": v0, "minkowski_v1": v1, "minkowski_v2": v2}


def all_but_bispectra(image: ConvergenceMap) -> Arrays:
    arrays = spectrum_and_minkowski(image)
    arrays["peak_count"] = image.peakCount(THRESHOLDS, norm=True)[1]
    arrays["pdf"] = image.pdf(THRESHOLDS, norm=True)[1]
    arrays["moments"] = image.moments()
    return arrays


def everything(image: ConvergenceMap) -> Arrays:
    arrays = all_but_bispectra(image)
    arrays["bispectrum_equilateral"] = image.bispectrum(L_EDGES)[1]
    arrays["bispectrum_folded"] = image.bispectrum(L_EDGES, ratio=0.5, configuration="folded")[1]
    return arrays


CASES: dict[str, tuple[str | None, Callable[[ConvergenceMap], Arrays]]] = {
    "power spectrum and Minkowski functionals": (
        "power_spectrum,minkowski",
        spectrum_and_minkowski,
    ),
    "all but bispectra": (
        "power_spectrum,minkowski,peak_count,pdf,moments",
        all_but_bispectra,
    ),
    "all": (None, everything),
}


def make_maps(count: int, side: int = 256) -> np.ndarray:
    """Lognormal maps with waves of all lengths; float32, [count, side, side]."""
    random = np.random.default_rng(20_261_126)
    frequency = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None, :] ** 2
    filter_ = 1.0 / (1.0 + (30.0 * side / 256) ** 2 * frequency)
    maps = np.empty((count, side, side), np.float32)
    for index in range(count):
        field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((side, side))) * filter_)
        maps[index] = 0.02 * (np.exp(field / field.std()) - 1.0)
    return maps


def run_cosmogan(program: str, maps: Path, only: str | None, out: Path, threads: int = 1) -> float:
    """Processor seconds of a whole run."""
    command = [program, "stats", str(maps), "--angle", str(ANGLE), "--out", str(out)]
    command += ["--l-edges", "200:50000:200", "--thresholds", "-2:2:0.2"]
    command += ["--only", only] if only else []
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def time_lenstools(maps: np.ndarray, measure: Callable[[ConvergenceMap], Arrays]) -> float:
    """Processor seconds a map."""
    images = [ConvergenceMap(m.astype(float), ANGLE * u.deg) for m in maps]
    started = time.process_time()
    for image in images:
        measure(image)
    return (time.process_time() - started) / len(images)


def largest_difference(out: Path, maps: np.ndarray) -> float:
    """Of all arrays of some maps, over the largest number of each."""
    ours, worst = np.load(out), 0.0
    for index, map_ in enumerate(maps):
        for name, theirs in everything(ConvergenceMap(map_.astype(float), ANGLE * u.deg)).items():
            mine = ours[name][index]
            empty = np.isnan(mine)
            assert np.all(theirs[empty] == 0.0), f"{name} of map {index}: a bin is empty here only"
            difference = np.abs(mine - theirs)[~empty].max() / np.abs(theirs).max()
            assert difference < TOLERANCE, f"{name} of map {index}: {difference:e}"
            worst = max(worst, float(difference))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cosmogan", required=True, help="the program, built with --release")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--few", type=int, default=32, help="maps of the run that is taken away")
    parser.add_argument("--many", type=int, default=544)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    maps = make_maps(arguments.many)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "lenstools": lenstools.__version__,
        "numpy": np.__version__,
        "maps": f"{maps.shape[1]} x {maps.shape[2]}",
        "unit": "processor milliseconds a map, one thread",
        "cases": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        many, few, out = (Path(folder) / n for n in ("many.npy", "few.npy", "out.npz"))
        np.save(many, maps)
        np.save(few, maps[: arguments.few])
        run_cosmogan(arguments.cosmogan, few, None, out)
        result["largest_difference"] = largest_difference(out, maps[:8])
        print(f"largest difference {result['largest_difference']:.1e} of an array's largest number")
        for name, (only, measure) in CASES.items():
            ours, theirs = [], []
            for _ in range(arguments.pairs):
                theirs.append(1e3 * time_lenstools(maps[:16], measure))
                seconds = run_cosmogan(arguments.cosmogan, many, only, out)
                seconds -= run_cosmogan(arguments.cosmogan, few, only, out)
                ours.append(1e3 * seconds / (arguments.many - arguments.few))
            ratios = [b / a for a, b in zip(ours, theirs)]
            result["cases"][name] = {"cosmogan": ours, "lenstools": theirs, "ratio": ratios}
            print(
                f"{name}: LensTools {statistics.median(theirs):.2f} ms, cosmogan "
                f"{statistics.median(ours):.2f} ms, ratio {statistics.median(ratios):.1f} "
                f"({min(ratios):.1f} to {max(ratios):.1f})"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
