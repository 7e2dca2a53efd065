"""A harvesting worker as a process of its own, to be killed as such or set to work beside another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas  # noqa: F401
import torch
from support.services.forking import fork_context
from transformers import LlamaForCausalLM  # noqa: F401

from autointerp import progress
from autointerp.harvest import checkpoints, inputs, merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.spec.spec import load


def start_worker(
    spec: Path,
    artifacts: Path,
    numbers: Sequence[int],
    pause_s: float = 0.0,
    checkpoint_s: float = checkpoints.INTERVAL_S,
    log: Path | None = None,
) -> ForkServerProcess:
    """Start a worker that begins the harvest, reads the shards `numbers`, resting `pause_s` after each batch, and merges.

    `log` gets a line when reading begins and one with the tokens done after each batch.
    """
    process = fork_context().Process(target=_work, args=(spec, artifacts, numbers, pause_s, checkpoint_s, log))
    process.start()
    return process


def _work(
    spec: Path, artifacts: Path, numbers: Sequence[int], pause_s: float, checkpoint_s: float, log: Path | None
) -> None:
    def rest() -> bool:
        time.sleep(pause_s)
        return False

    def write(line: str) -> None:
        if log:
            with log.open("a") as lines:
                lines.write(f"{line}\n")

    torch.set_num_threads(1)
    checkpoints.INTERVAL_S = checkpoint_s
    opened, shared = inputs.open_inputs(load(spec), progress.quiet), Artifacts(artifacts)
    plan = shards.begin_harvest(opened, shared)
    write("began")
    for number in numbers:
        shards.harvest_shard(opened, shared, plan, number, lambda _, done, __: write(str(done)), rest)
    merge.merge_harvest(opened, shared, plan, progress.quiet)
