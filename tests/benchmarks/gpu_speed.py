"""Checks of `gpu_check.py` on two processes that share a device, and on time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gpu_world import Found, Scale, World, corpus, dictionary, memory_mib, plan, start, subject
from harvest import Needed, cut, now

from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest import harvest
from sae.harvest.harvest import HarvestPlan, new_sketch, read_shard
from sae.subject.model import Subject

SCRIPT = Path(__file__).with_name("gpu_check.py")


def check_processes(world: World) -> Iterator[Found]:
    of = subject(world.size, world.device)
    began = now(of.device)
    sketch, settings = world.harvest(of, world.dictionary("batchtopk"))
    alone = now(of.device) - began
    command = [sys.executable, str(SCRIPT), "--device", world.device, "--part"]
    files = [Path(world.folder.name) / f"{number}.npz" for number in (0, 1)]
    began = time.perf_counter()
    running = [
        subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for file in files
    ]
    try:
        printed = [process.communicate(timeout=world.scale.patience_s) for process in running]
    finally:
        for process in running:
            process.kill()
    together = time.perf_counter() - began
    if failed := [err for process, (_, err) in zip(running, printed, strict=True) if process.returncode]:
        yield "two processes", False, {"error": failed[0].strip().splitlines()[-1][:300]}
        return
    merged = new_sketch(settings, of.device)
    for file in files:
        merged.merge(harvest.restore(file, settings, of.device)[0])
    first, second = sketch.state(), merged.state()
    equal = [name for name in first if np.array_equal(first[name], second[name])]
    close = [name for name in first if _close(first[name], second[name])]
    figures: dict[str, float | str] = {
        "arrays equal bit for bit": f"{len(equal)}/{len(first)}",
        "arrays equal": f"{len(close)}/{len(first)}",
        "one process, s": alone,
        "two with their start, s": together,
        "peak MiB of each": max(float(out.split()[-1]) for out, _ in printed),
    }
    yield "two processes", len(close) == len(first), figures


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal but for the last digits of sums, whose order depends on the number of threads."""
    if one.shape != other.shape or one.dtype.kind != "f":
        return np.array_equal(one, other)
    return np.allclose(one, other, rtol=1e-4, atol=1e-6)


def check_ratio(world: World) -> Iterator[Found]:
    scale, size = world.scale, world.scale.large
    text = corpus(size)
    of = subject(size, world.device, "bfloat16", built_on=world.device)
    for latents in scale.latents:
        for kind in ("topk", "jumprelu"):
            wide = replace(size, latents=latents)
            read = dictionary(wide, kind, of, text)
            settings = plan(wide, of, latents, features=scale.timed_features)
            figures = timed(of, read, text, settings, scale)
            passed = figures["ratio"] <= scale.ratio_limit and figures["peak MiB"] <= scale.memory_limit_mib
            yield f"ratio {kind}, {latents:,} latents", passed, dict(figures)


def timed(of: Subject, read: Dictionary, text: Corpus, settings: HarvestPlan, scale: Scale) -> dict[str, float]:
    """Harvest and the work that it cannot avoid, interleaved over stretches of text. The peak memory is that of the harvest's first
    stretch, before anything is compared with it."""
    device, stretches = of.device, cut(text, scale.stretch)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    reading = start(of, read, text, settings)
    read_shard([reading], text, next(stretches))
    memory = memory_mib(device)
    features = torch.tensor([unit.index for unit in settings.units if unit.kind == "feature"])
    needed = Needed(of, read, features)
    needed.seconds(text, next(stretches), settings.batch_tokens)
    taken, spent = 0.0, 0.0
    for _ in range(scale.rounds):
        shard = next(stretches)
        before = needed.seconds(text, shard, settings.batch_tokens)
        began = now(device)
        read_shard([reading], text, shard)
        taken += now(device) - began
        spent += (before + needed.seconds(text, shard, settings.batch_tokens)) / 2
    tokens = scale.rounds * scale.stretch
    return {
        "ratio": taken / spent,
        "us/token": taken / tokens * 1e6,
        "needed us/token": spent / tokens * 1e6,
        "peak MiB": memory,
    }
