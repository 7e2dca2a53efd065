"""Checks on one GPU that results equal the CPU's, and how fast and how large they are: at most 5 minutes, nothing downloaded.

    harvest    the exemplars of a harvest on the GPU against the CPU's: float32 for each kind of encoder, and bfloat16
    encoders   activations of each kind of encoder at the same inputs
    steering   greedy continuations under a clamped feature and a clamped neuron
    studies    the fit check and the studies of a whole dictionary
    processes  two processes that share the device harvest half of the shards each: the merged sample is that of one process
    ratio      the harvest's time over the forward pass and the encoding that no harvest can avoid, and the peak memory

Run with `make gpu-check`, or `python tests/benchmarks/gpu_check.py [--json FILE] [--only CHECK ...]`. Prints a table and writes the
same as JSON. Exit code 0 if all checks passed or there is no GPU, else 1. `--device cpu` runs it at tiny sizes, which tests the script.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_comparisons import check_encoders, check_harvest, check_steering, check_studies
from gpu_speed import check_processes, check_ratio
from gpu_world import FULL, TINY, Found, World

LIMIT_S = 280.0
"""A check that would begin later is left out, and counts as failed."""
NO_GPU = "gpu-check: torch finds no GPU on this machine, so nothing was checked (--device cpu tests the script itself)"


@dataclass(frozen=True)
class Result:
    """What a check found: `figures` by name, and whether they are within its limits."""

    name: str
    passed: bool
    figures: dict[str, float | str]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for a test of this script")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(NO_GPU)
        return
    world = World(arguments.device, TINY if device.type == "cpu" else FULL)
    if arguments.part:
        world.harvest_part(arguments.part)
        return
    if arguments.json:
        arguments.json.touch()  # a path that cannot be written ends the script now, and not after five minutes
    results = run(world, arguments.only)
    if arguments.json:
        facts = {**about(device), "checks": [asdict(result) for result in results]}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    failed = [result.name for result in results if not result.passed]
    print(
        f"{len(results) - len(failed)} of {len(results)} checks passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    sys.exit(1 if failed else 0)


def run(world: World, only: list[str]) -> list[Result]:
    """The results, each printed as a row of a table once it is there."""
    print("| check | result | figures | s |\n|---|---|---|---|", flush=True)
    results: list[Result] = []
    began = time.perf_counter()
    for name in only:
        before = time.perf_counter()
        for found in attempts(world, name, began):
            result = Result(*found, seconds=round(time.perf_counter() - before, 2))
            before = time.perf_counter()
            results.append(result)
            figures = ", ".join(f"{key} {shown(value)}" for key, value in result.figures.items())
            print(
                f"| {result.name} | {'passed' if result.passed else 'failed'} | {figures} | {result.seconds:.1f} |",
                flush=True,
            )
    return results


def attempts(world: World, name: str, began: float) -> Iterator[Found]:
    """A check's results. One that raises has failed, with the error as its figure: the other checks go on."""
    if time.perf_counter() - began > LIMIT_S:
        yield name, False, {"error": f"left out: {LIMIT_S:.0f} s had passed"}
        return
    try:
        yield from CHECKS[name](world)
    except Exception as error:
        yield name, False, {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


def shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def about(device: torch.device) -> dict[str, Any]:
    """The device and the versions that the figures belong to."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else f"cpu, {torch.get_num_threads()} threads",
        "memory_mib": torch.cuda.get_device_properties(device).total_memory / 2**20 if on_gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


CHECKS: dict[str, Callable[[World], Iterator[Found]]] = {
    # First, while this process is as fresh as the two that it is compared with.
    "processes": check_processes,
    "harvest": check_harvest,
    "encoders": check_encoders,
    "steering": check_steering,
    "studies": check_studies,
    "ratio": check_ratio,
}


if __name__ == "__main__":
    main()
