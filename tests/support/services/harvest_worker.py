"""A harvesting worker as a process of its own, to be killed as such or set to work beside another."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas  # noqa: F401
import torch
from transformers import LlamaForCausalLM  # noqa: F401

from autointerp import progress
from autointerp.harvest import inputs, merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.spec.spec import load


def start_worker(spec: Path, artifacts: Path, numbers: Sequence[int], pause_s: float = 0.0) -> ForkServerProcess:
    """Start a worker that begins the harvest, reads the shards `numbers`, resting `pause_s` after each batch, and merges."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.services.harvest_worker"])
    process = context.Process(target=_work, args=(str(spec), str(artifacts), list(numbers), pause_s))
    process.start()
    return process


def _work(spec: str, artifacts: str, numbers: list[int], pause_s: float) -> None:
    def rest() -> bool:
        time.sleep(pause_s)
        return False

    torch.set_num_threads(1)
    opened, shared = inputs.open_inputs(load(Path(spec)), progress.quiet), Artifacts(artifacts)
    plan = shards.begin_harvest(opened, shared)
    for number in numbers:
        shards.harvest_shard(opened, shared, plan, number, progress.quiet, rest)
    merge.merge_harvest(opened, shared, plan, progress.quiet)
