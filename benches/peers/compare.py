"""Times `cosmogan` against PyTorch on one machine, in turns, in one run.

    python benches/peers/compare.py --cosmogan target/release/cosmogan --pairs 7

For each case the driver first finds the faster of PyTorch's two memory layouts, then runs the two
programs A B A B..., so that what else the machine does falls on both. The ratio is PyTorch's time
over ours within a pair: above 1 we are faster.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

PEER = Path(__file__).resolve().parent / "step.py"
LAYOUTS = ("nchw", "channels_last")
DEFAULT_CASES = ("step:64/64/64", "step:256/64/8", "generate:256")


class CannotCompare(Exception):
    """Something that a person has to put right; the message says what."""


@dataclass(frozen=True)
class Case:
    """What is timed: `step` or `generate`, map size, base filters, batch."""

    what: str
    size: int
    base: int
    batch: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """Reads `step:SIZE[/BASE[/BATCH]]`; base 64, batch 64 (`generate`: 16) unless given."""
        what, _, sizes = text.partition(":")
        try:
            numbers = [int(part) for part in sizes.split("/")]
        except ValueError:
            numbers = []
        if what not in ("step", "generate") or not 1 <= len(numbers) <= 3 or min(numbers) < 1:
            raise argparse.ArgumentTypeError(
                f'"{text}" is no case; write step:SIZE/BASE/BATCH or generate:SIZE/BASE/BATCH'
            )
        defaults = [0, 64, 64 if what == "step" else 16]
        return cls(what, *numbers, *defaults[len(numbers) :])

    def __str__(self) -> str:
        return f"{self.what} {self.size}/{self.base}/{self.batch}"

    def arguments(self, steps: int) -> list[str]:
        """The arguments that both programs understand."""
        sizes = {"--size": self.size, "--base": self.base, "--batch": self.batch, "--steps": steps}
        return [self.what, *(str(word) for pair in sizes.items() for word in pair)]


@dataclass
class Outcome:
    """Seconds of one step or batch, pair by pair."""

    case: Case
    layout: str
    ours_s: list[float] = field(default_factory=list)
    torch_s: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [theirs / ours for ours, theirs in zip(self.ours_s, self.torch_s, strict=True)]

    def summary(self) -> dict[str, object]:
        """Medians, the ratio with its spread, and every time."""
        ours, theirs = statistics.median(self.ours_s), statistics.median(self.torch_s)
        return {
            "case": asdict(self.case),
            "torch_layout": self.layout,
            "cosmogan_s": ours,
            "torch_s": theirs,
            "cosmogan_maps_s": self.case.batch / ours,
            "torch_maps_s": self.case.batch / theirs,
            "ratio": statistics.median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "cosmogan_times_s": self.ours_s,
            "torch_times_s": self.torch_s,
        }


class Bench:
    """Runs either program once, with the same number of threads, and reads its JSON."""

    def __init__(self, cosmogan: Path, python: str, threads: int, dtype: str) -> None:
        self.cosmogan, self.python, self.threads, self.dtype = cosmogan, python, threads, dtype
        names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.environment = os.environ | {name: str(threads) for name in names}

    def ours(self, case: Case, steps: int) -> float:
        """Median seconds of the project's step or batch."""
        command = [str(self.cosmogan), "bench", *case.arguments(steps), "--device", "cpu"]
        return self._seconds(command, case)

    def torch(self, case: Case, steps: int, layout: str) -> float:
        """Median seconds of PyTorch's."""
        command = [self.python, str(PEER), *case.arguments(steps)]
        command += ["--threads", str(self.threads), "--layout", layout, "--dtype", self.dtype]
        return self._seconds(command, case)

    def better_layout(self, case: Case) -> str:
        """The layout in which PyTorch is faster: the least of two short runs each, in turns."""
        trials = [{layout: self.torch(case, 1, layout) for layout in LAYOUTS} for _ in range(2)]
        least = {layout: min(trial[layout] for trial in trials) for layout in LAYOUTS}
        shown = ", ".join(f"{layout} {seconds:.4f} s" for layout, seconds in least.items())
        best = min(least, key=least.__getitem__)
        print(f"{case}: PyTorch's layouts: {shown}; taking {best}", flush=True)
        return best

    def _seconds(self, command: list[str], case: Case) -> float:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.json"
            done = self._run([*command, "--json", str(file)])
            result = self._parse(file, done, command)
        key = "step_s" if case.what == "step" else "generate_maps_s"
        value = result.get(key)
        if not isinstance(value, (int, float)) or not value > 0:
            raise CannotCompare(f"`{' '.join(command)}`: the JSON's {key} is {value!r}")
        return float(value) if key == "step_s" else case.batch / value

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        except OSError as error:
            raise CannotCompare(f"cannot start {command[0]}: {error}") from error
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise CannotCompare(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")
        return done

    @staticmethod
    def _parse(file: Path, done: subprocess.CompletedProcess[str], command: list[str]) -> dict:
        try:
            result = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            words = f"`{' '.join(command)}` left no readable JSON: {error}"
            raise CannotCompare(f"{words}\n{done.stdout[-1000:]}") from error
        if not isinstance(result, dict):
            raise CannotCompare(f"`{' '.join(command)}`: the JSON is not an object")
        return result


def compare(bench: Bench, case: Case, pairs: int, steps: int) -> Outcome:
    """Runs the pairs of one case."""
    outcome = Outcome(case, bench.better_layout(case))
    for pair in range(1, pairs + 1):
        outcome.ours_s.append(bench.ours(case, steps))
        outcome.torch_s.append(bench.torch(case, steps, outcome.layout))
        print(
            f"{case}: pair {pair} of {pairs}: ours {outcome.ours_s[-1]:.4f} s, "
            f"PyTorch {outcome.torch_s[-1]:.4f} s, ratio {outcome.ratios[-1]:.2f}",
            flush=True,
        )
    return outcome


def find_binary(name: str) -> Path:
    """The project's binary, by path or on PATH."""
    found = shutil.which(name)
    if found is None:
        advice = "build it with `cargo build --release`, or name it with --cosmogan"
        raise CannotCompare(f"no program at {name}; {advice}")
    return Path(found).resolve()


def torch_version(python: str) -> str:
    """Version of the PyTorch that `python` imports."""
    try:
        command = [python, "-c", "import torch, numpy; print(torch.__version__)"]
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise CannotCompare(f"cannot start {python}: {error}") from error
    if done.returncode != 0:
        reason = done.stderr.strip().rsplit("\n", 1)[-1]
        advice = "run this with an environment's Python that has torch and numpy (see README.md)"
        raise CannotCompare(f"{python} cannot import PyTorch: {reason}\n{advice}")
    return done.stdout.strip()


def cpu_model() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def machine_line(threads: int, version: str, dtype: str) -> str:
    """Where and with what the numbers were taken."""
    today = datetime.date.today().isoformat()
    busy = f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    parts = [cpu_model(), f"{available_cores()} cores", f"{threads} threads each"]
    peer = "f32" if dtype == "f32" else "f32 (ours), bf16 autocast (PyTorch)"
    return ", ".join(filter(None, [*parts, peer, f"PyTorch {version}", today, busy]))


def table(outcomes: list[Outcome], machine: str) -> str:
    """A markdown table: one case a row, medians over the pairs."""
    lines = [
        machine,
        "",
        "| case (size/base/batch) | cosmogan | PyTorch | PyTorch's layout | PyTorch time / ours |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        s = outcome.summary()
        ours = f"{s['cosmogan_s']:.4f} s ({s['cosmogan_maps_s']:.1f} maps/s)"
        theirs = f"{s['torch_s']:.4f} s ({s['torch_maps_s']:.1f} maps/s)"
        ratio = f"{s['ratio']:.2f} [{s['ratio_min']:.2f}, {s['ratio_max']:.2f}]"
        lines.append(f"| {outcome.case} | {ours} | {theirs} | {outcome.layout} | {ratio} |")
    pairs = len(outcomes[0].ours_s)
    lines += ["", f"Medians over {pairs} pairs run in turn; [least, greatest] ratio of a pair."]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cosmogan", default="target/release/cosmogan", help="our binary")
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--pairs", type=int, default=7)
    cases = ", ".join(DEFAULT_CASES)
    parser.add_argument(
        "--case",
        type=Case.parse,
        action="append",
        metavar="WHAT:SIZE/BASE/BATCH",
        help=f"step or generate; may be repeated (default: {cases})",
    )
    parser.add_argument("--steps", type=int, default=3, help="timed repetitions in each run")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32", help="PyTorch's")
    parser.add_argument("--json", type=Path, help="write all times here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    args = parser.parse_args()
    for name in ("pairs", "steps", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    args.case = args.case or [Case.parse(text) for text in DEFAULT_CASES]
    return args


def run(args: argparse.Namespace) -> None:
    binary, version = find_binary(args.cosmogan), torch_version(args.python)
    machine = machine_line(args.threads, version, args.dtype)
    print(machine, flush=True)
    bench = Bench(binary, args.python, args.threads, args.dtype)
    outcomes = []
    for case in args.case:
        outcomes.append(compare(bench, case, args.pairs, args.steps))
        if args.json:
            summaries = [outcome.summary() for outcome in outcomes]
            report = {"machine": machine, "threads": args.threads, "cases": summaries}
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    text = table(outcomes, machine)
    print("\n" + text)
    if args.markdown:
        args.markdown.write_text(text)


def main(work) -> int:
    """The exit status of `work`, whose errors are told to a person."""
    try:
        work()
    except CannotCompare as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(lambda: run(parse())))
