"""Times `cosmogan` against PyTorch on one GPU, in turns, in one run.

    python benches/peers/gpu.py --cosmogan target/release/cosmogan --rounds 5 --json times.json

Each round runs our program in each precision and every variant of PyTorch's once, each in a process of
its own with untimed repetitions first. A step includes the copy of its maps to the GPU and ends when
the losses are known; a generated batch ends with its maps in the host's memory. Ratios are PyTorch's
time over ours within a round: above 1 we are faster.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compare import (
    PEER,
    Bench,
    CannotCompare,
    Case,
    available_cores,
    find_binary,
    main,
    torch_version,
)

OURS = {
    "bf16, v3": ["--precision", "bf16"],
    "f32, v2": ["--precision", "f32"],
    "f32, v1": ["--precision", "f32", "--kernels", "v1"],
}
"""Our ways to do the work, by name: arguments of `cosmogan bench`."""

NHWC = ("--layout", "channels_last")
BF16 = ("--dtype", "bf16", *NHWC)
VARIANTS = {
    "f32": ["--dtype", "f32", "--layout", "nchw"],
    "f32, TF32": ["--dtype", "f32", "--tf32", *NHWC],
    "f32, TF32, CUDA graph": ["--dtype", "f32", "--tf32", *NHWC, "--graph"],
    "bf16": [*BF16],
    "bf16, CUDA graph": [*BF16, "--graph"],
    "bf16, compiled tails, CUDA graph": [*BF16, "--compile", "tails", "--graph"],
    "bf16, compiled": [*BF16, "--compile", "networks"],
    "bf16, compiled, CUDA graph": [*BF16, "--compile", "networks", "--graph"],
    "bf16, compiled, autotuned, CUDA graph": [
        *(*BF16, "--compile", "networks", "--autotune", "--graph"),
    ],
}
"""PyTorch's ways to do the work, by name: arguments of step.py. All but the first are channels_last."""

DEFAULT_CASES = ("step:64/64/64", "step:128/64/64", "step:256/64/64", "generate:256/64/64")


@dataclass
class Times:
    """Seconds of one step or batch, round by round."""

    case: Case
    ours_s: dict[str, list[float]] = field(default_factory=dict)
    torch_s: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """What does not run on this machine, with what was said."""

    def summary(self) -> dict[str, object]:
        return {
            "case": asdict(self.case),
            "cosmogan": {name: self._of(seconds) for name, seconds in self.ours_s.items()},
            "torch": {
                name: self._of(seconds)
                | {"over": {ours: ratio(seconds, self.ours_s[ours]) for ours in self.ours_s}}
                for name, seconds in self.torch_s.items()
            },
            "failed": self.failed,
            "best": self.best(),
        }

    def _of(self, seconds: list[float]) -> dict[str, object]:
        median = statistics.median(seconds)
        return {"median_s": median, "maps_s": self.case.batch / median, "times_s": seconds}

    def best(self) -> dict[str, object] | None:
        """The fastest of either side by its median, and PyTorch's time over ours."""
        if not self.ours_s or not self.torch_s:
            return None
        ours, theirs = fastest(self.ours_s), fastest(self.torch_s)
        over = ratio(self.torch_s[theirs], self.ours_s[ours])
        return {"cosmogan": ours, "torch": theirs, "over": over}


def fastest(times: dict[str, list[float]]) -> str:
    return min(times, key=lambda name: statistics.median(times[name]))


def ratio(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Their time over ours within a round: median, least and greatest."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def shown(over: dict[str, float]) -> str:
    return f"{over['median']:.2f} [{over['min']:.2f}, {over['max']:.2f}]"


class GpuBench(Bench):
    """Runs either program once on the device."""

    def __init__(self, args: argparse.Namespace, binary: Path) -> None:
        super().__init__(binary, args.python, args.threads, "f32")
        self.device = args.device

    def ours(self, name: str, case: Case, steps: int) -> float:
        """Median seconds of our work done this way."""
        command = [str(self.cosmogan), "bench", *case.arguments(steps)]
        return self._seconds([*command, "--device", self.device, *OURS[name]], case)

    def variant(self, name: str, case: Case, steps: int) -> float:
        """Median seconds of PyTorch's work done this way."""
        # The emulator and the CPU are there to try the script without a GPU.
        device = "cuda" if self.device.startswith("cuda") else "cpu"
        command = [self.python, str(PEER), *case.arguments(steps), "--device", device]
        command += ["--warm-up", "5" if device == "cuda" else "1", *VARIANTS[name]]
        return self._seconds(command, case)


def measure(bench: GpuBench, case: Case, args: argparse.Namespace) -> Times:
    """Rounds of all programs in turn. What fails in the first round is left out of the others."""
    times = Times(case)
    programs = [(f"cosmogan {name}", name, bench.ours, times.ours_s) for name in args.ours]
    programs += [(f"PyTorch {name}", name, bench.variant, times.torch_s) for name in args.variant]
    for turn in range(1, args.rounds + 1):
        said = []
        for title, name, run_once, into in programs:
            if title in times.failed:
                continue
            try:
                seconds = run_once(name, case, args.steps)
            except CannotCompare as error:
                if turn > 1:
                    raise
                times.failed[title] = str(error)[-500:]
                said.append(f"{title}: does not run here")
                continue
            into.setdefault(name, []).append(seconds)
            said.append(f"{title} {1e3 * seconds:.3f} ms")
        print(f"{case}: round {turn} of {args.rounds}: {'; '.join(said)}", flush=True)
    if not times.ours_s:
        raise CannotCompare("\n".join(times.failed.values()))
    return times


def table(all_times: list[Times], machine: str, rounds: int) -> str:
    """A markdown table: one case and program a row, medians over the rounds; then the best of each."""
    ours = list(dict.fromkeys(name for times in all_times for name in times.ours_s))
    heads = ["case (size/base/batch)", "program", "time", "maps/s"]
    heads += [f"over cosmogan {name}" for name in ours]
    lines = [machine, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    verdicts = []
    for times in all_times:
        summary = times.summary()
        rows = [(f"cosmogan {name}", v, {}) for name, v in summary["cosmogan"].items()]
        rows += [(f"PyTorch {name}", v, v["over"]) for name, v in summary["torch"].items()]
        for title, v, over in rows:
            ratios = [shown(over[name]) if name in over else "" for name in ours]
            cells = [f"{1e3 * v['median_s']:.3f} ms", f"{v['maps_s']:.1f}", *ratios]
            lines.append(f"| {times.case} | {title} | {' | '.join(cells)} |")
        for title in times.failed:
            lines.append(f"| {times.case} | {title} | does not run here |{' |' * (len(heads) - 3)}")
        if best := summary["best"]:
            theirs, mine = f"PyTorch's best, {best['torch']}", f"cosmogan {best['cosmogan']}"
            verdicts.append(f"- {times.case}: {theirs}, takes {shown(best['over'])} times {mine}'s")
    lines += ["", f"Medians over {rounds} rounds run in turn; [least, greatest] ratio of a round.", ""]
    return "\n".join([*lines, *verdicts]) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cosmogan", default="target/release/cosmogan", help="our binary")
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--device", default="cuda", help="ours; PyTorch takes cuda, or the CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="timed repetitions in each run")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--case", type=Case.parse, action="append", metavar="WHAT:SIZE/BASE/BATCH")
    parser.add_argument("--ours", choices=OURS, action="append", help="default: all but v1")
    parser.add_argument("--variant", choices=VARIANTS, action="append", help="default: all")
    parser.add_argument("--json", type=Path, help="write all times here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    args = parser.parse_args()
    for name in ("rounds", "steps", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    args.case = args.case or [Case.parse(text) for text in DEFAULT_CASES]
    args.ours = args.ours or [name for name in OURS if "v1" not in name]
    args.variant = args.variant or list(VARIANTS)
    return args


def run(args: argparse.Namespace) -> None:
    binary, version = find_binary(args.cosmogan), torch_version(args.python)
    bench = GpuBench(args, binary)
    today = datetime.date.today().isoformat()
    machine = f"{args.device}, PyTorch {version}, {today}"
    print(machine, flush=True)
    all_times = []
    for case in args.case:
        all_times.append(measure(bench, case, args))
        if args.json:
            summaries = [times.summary() for times in all_times]
            report = {"machine": machine, "cases": summaries}
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    text = table(all_times, machine, args.rounds)
    print("\n" + text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    sys.exit(main(lambda: run(parse())))
