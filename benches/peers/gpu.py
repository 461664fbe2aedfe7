"""Times `cosmogan` against PyTorch on one GPU, in turns, in one run.

    python benches/peers/gpu.py --cosmogan target/release/cosmogan --rounds 5 --json times.json

Each round runs our program and every variant of PyTorch's once, each in a process of its own with
untimed repetitions first. A step includes the copy of its maps to the GPU and ends when the losses are
known; a generated batch ends with its maps in the host's memory. Ratios are PyTorch's time over ours
within a round: above 1 we are faster.
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

VARIANTS = {
    "f32": ["--dtype", "f32", "--layout", "nchw"],
    "f32, TF32, channels_last": ["--dtype", "f32", "--tf32", "--layout", "channels_last"],
    "bf16, channels_last": ["--dtype", "bf16", "--layout", "channels_last"],
    "bf16, channels_last, compiled": [
        *("--dtype", "bf16", "--layout", "channels_last", "--mode", "compile"),
    ],
    "bf16, channels_last, CUDA graph": [
        *("--dtype", "bf16", "--layout", "channels_last", "--mode", "graphs"),
    ],
}
"""PyTorch's ways to do the work, by name: arguments of step.py."""

DEFAULT_CASES = ("step:64/64/64", "step:128/64/64", "step:256/64/64", "generate:256/64/64")


@dataclass
class Times:
    """Seconds of one step or batch, round by round."""

    case: Case
    ours_s: list[float] = field(default_factory=list)
    torch_s: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Variants that this machine's PyTorch does not run, with what it said."""

    def summary(self) -> dict[str, object]:
        ours = statistics.median(self.ours_s)
        variants = {}
        for name, seconds in self.torch_s.items():
            ratios = [theirs / ours for ours, theirs in zip(self.ours_s, seconds, strict=True)]
            variants[name] = {
                "median_s": statistics.median(seconds),
                "maps_s": self.case.batch / statistics.median(seconds),
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "times_s": seconds,
            }
        return {
            "case": asdict(self.case),
            "cosmogan_s": ours,
            "cosmogan_maps_s": self.case.batch / ours,
            "cosmogan_times_s": self.ours_s,
            "torch": variants,
            "torch_failed": self.failed,
        }


class GpuBench(Bench):
    """Runs either program once on the device."""

    def __init__(self, args: argparse.Namespace, binary: Path) -> None:
        super().__init__(binary, args.python, args.threads, "f32")
        self.device, self.kernels = args.device, args.kernels

    def ours(self, case: Case, steps: int) -> float:
        command = [str(self.cosmogan), "bench", *case.arguments(steps)]
        command += ["--device", self.device, "--kernels", self.kernels]
        return self._seconds(command, case)

    def variant(self, name: str, case: Case, steps: int) -> float:
        """Median seconds of PyTorch's work done this way."""
        # The emulator and the CPU are there to try the script without a GPU.
        device = "cuda" if self.device.startswith("cuda") else "cpu"
        command = [self.python, str(PEER), *case.arguments(steps), "--device", device]
        command += ["--warm-up", "5" if device == "cuda" else "1", *VARIANTS[name]]
        return self._seconds(command, case)


def measure(bench: GpuBench, case: Case, args: argparse.Namespace) -> Times:
    times = Times(case)
    names = list(args.variant)
    for turn in range(1, args.rounds + 1):
        times.ours_s.append(bench.ours(case, args.steps))
        shown = [f"ours {1e3 * times.ours_s[-1]:.3f} ms"]
        for name in list(names):
            try:
                seconds = bench.variant(name, case, args.steps)
            except CannotCompare as error:
                if turn > 1:
                    raise
                names.remove(name)
                times.failed[name] = str(error)[-500:]
                shown.append(f"{name}: does not run here")
                continue
            times.torch_s.setdefault(name, []).append(seconds)
            shown.append(f"{name} {1e3 * seconds:.3f} ms")
        print(f"{case}: round {turn} of {args.rounds}: {'; '.join(shown)}", flush=True)
    return times


def table(all_times: list[Times], machine: str) -> str:
    """A markdown table: one case and variant a row, medians over the rounds."""
    lines = [
        machine,
        "",
        "| case (size/base/batch) | cosmogan | PyTorch | variant | PyTorch time / ours |",
        "|---|---|---|---|---|",
    ]
    for times in all_times:
        summary = times.summary()
        ours = f"{1e3 * summary['cosmogan_s']:.3f} ms ({summary['cosmogan_maps_s']:.1f} maps/s)"
        for name, v in summary["torch"].items():
            theirs = f"{1e3 * v['median_s']:.3f} ms ({v['maps_s']:.1f} maps/s)"
            ratio = f"{v['ratio']:.2f} [{v['ratio_min']:.2f}, {v['ratio_max']:.2f}]"
            lines.append(f"| {times.case} | {ours} | {theirs} | {name} | {ratio} |")
        for name in times.failed:
            lines.append(f"| {times.case} | {ours} | does not run here | {name} | |")
    rounds = len(all_times[0].ours_s)
    lines += ["", f"Medians over {rounds} rounds run in turn; [least, greatest] ratio of a round."]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cosmogan", default="target/release/cosmogan", help="our binary")
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--device", default="cuda", help="ours; PyTorch takes cuda, or the CPU")
    parser.add_argument("--kernels", choices=["v1", "v2"], default="v2", help="ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="timed repetitions in each run")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--case", type=Case.parse, action="append", metavar="WHAT:SIZE/BASE/BATCH")
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    parser.add_argument("--json", type=Path, help="write all times here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    args = parser.parse_args()
    for name in ("rounds", "steps", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be at least 1")
    args.case = args.case or [Case.parse(text) for text in DEFAULT_CASES]
    args.variant = args.variant or list(VARIANTS)
    return args


def run(args: argparse.Namespace) -> None:
    binary, version = find_binary(args.cosmogan), torch_version(args.python)
    bench = GpuBench(args, binary)
    today = datetime.date.today().isoformat()
    machine = f"{args.device}, kernels {args.kernels}, f32 (ours), PyTorch {version}, {today}"
    print(machine, flush=True)
    all_times = []
    for case in args.case:
        all_times.append(measure(bench, case, args))
        if args.json:
            summaries = [times.summary() for times in all_times]
            report = {"machine": machine, "cases": summaries}
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    text = table(all_times, machine)
    print("\n" + text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    sys.exit(main(lambda: run(parse())))
