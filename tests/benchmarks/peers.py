"""The harvest beside delphi's activation cache: the same subject, tokens and latents, stretch by stretch in turn.

delphi caches the activations of all latents of a TopK dictionary and builds examples from them later; the harvest ends with the
examples. Both run on this machine, each in a process and an environment of its own, and the other waits meanwhile.

Run with `make bench-peers`, or `python tests/benchmarks/peers.py --delphi ENVIRONMENT [--latents N ...] [--rounds N]`. `ours, auto` is the
harvest in the precision that it takes by itself on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harvest import CASES, Case, gpt2, make_dictionary

CONTEXT, BATCH = 256, 32
HERE = Path(__file__).parent
OURS = {"ours": "float32", "ours, auto": "auto"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--delphi", type=Path, help="environment that holds delphi, as `make bench-peers` makes it")
    parser.add_argument("--latents", type=int, nargs="+", default=[16_384, 32_768])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contexts", type=int, default=64, help=f"contexts of {CONTEXT} tokens in a stretch")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        serve(arguments.latents[0], arguments.ours)
    elif arguments.delphi is None:
        parser.error("--delphi is missing: `make bench-peers` makes the environment and calls this")
    else:
        print("| latents | who | s a stretch | times ours | peak MiB | MB on disk |\n|---|---|---|---|---|---|")
        for latents in arguments.latents:
            compare(latents, arguments.delphi, arguments.rounds, arguments.contexts)


def compare(latents: int, delphi: Path, rounds: int, contexts: int) -> None:
    """Rows of the table for one width; ratios are medians over the rounds."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        lay_out(latents, folder)
        ours = [sys.executable, str(HERE / "peers.py"), "--latents", str(latents), "--ours"]
        threads = str(torch.get_num_threads())
        theirs = [str(delphi / "bin" / "python"), str(HERE / "delphi_worker.py"), str(folder), str(BATCH), threads]
        workers = {who: stack.enter_context(worker([*ours, precision])) for who, precision in OURS.items()}
        workers["delphi"] = stack.enter_context(worker(theirs))
        found: dict[str, list[dict[str, float]]] = {who: [] for who in workers}
        for number in range(rounds + 1):
            for who, process in workers.items():
                first = number * contexts
                answer = ask(process, f"{latents} {first} {first + contexts}")
                if number:  # the first stretch warms up
                    found[who].append(answer)
    base = [answer["seconds"] for answer in found["ours"]]
    for who, answers in found.items():
        seconds = [answer.get("caching_seconds", answer["seconds"]) for answer in answers]
        ratio = statistics.median(s / b for s, b in zip(seconds, base, strict=True))
        peak, disk = answers[-1]["peak_mib"], answers[-1]["disk_bytes"] / 1e6
        print(
            f"| {latents:,} | {who} | {statistics.median(seconds):.2f} | {ratio:.2f} | {peak:.0f} | {disk:.1f} |",
            flush=True,
        )


def case_of(latents: int) -> Case:
    return next(case for case in CASES.values() if case.kind == "topk" and case.d_sae == latents)


def lay_out(latents: int, folder: Path) -> None:
    """Subject, tokens and dictionary as delphi reads them."""
    from safetensors.torch import save_file

    subject, corpus = gpt2()
    subject.model.base_model.save_pretrained(folder / "model")
    tokens = corpus.tokens[: len(corpus.contexts) * CONTEXT]
    np.save(folder / "tokens.npy", tokens.reshape(-1, CONTEXT))
    made = make_dictionary(case_of(latents), subject, corpus)
    place = folder / str(latents) / "h.3"
    place.mkdir(parents=True)
    tensors = {"encoder.weight": made.W_enc, "encoder.bias": made.b_enc, "W_dec": made.W_dec, "b_dec": made.b_dec}
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, place / "sae.safetensors")
    config = {"activation": "topk", "num_latents": latents, "k": made.k, "d_in": made.d_in, "normalize_decoder": False}
    (place / "cfg.json").write_text(json.dumps(config))


@contextmanager
def worker(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that answers lines, once it is ready."""
    # Threads that spin while they wait would take the cores from whoever is measured.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            ask(process, "")
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], line: str) -> dict[str, Any]:
    """What a worker answers to a line; its first word, that it is ready, comes unasked."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    for said in process.stdout:
        if said.startswith("{"):
            answer: dict[str, Any] = json.loads(said)
            return answer
    raise SystemExit(f"a worker ended: run {' '.join(map(str, process.args))}")  # type: ignore[arg-type]


def serve(latents: int, precision: str) -> None:
    """Our side: read the stretches that are asked for."""
    from sae.harvest.harvest import HarvestPlan, Reading, UnitReader, new_sketch, norm_limit, read_shard
    from sae.harvest.sketch import Quota
    from sae.harvest.units import sample_units as sample
    from sae.subject.model import choose_precision

    subject, corpus = gpt2(choose_precision(precision, torch.device("cpu")))
    dictionary = make_dictionary(case_of(latents), subject, corpus)
    units = sample(latents, 0, features=latents, neurons=0, seed=0)
    plan = HarvestPlan(units, Quota(2, 5, 64, 20), 48, 0, 1e9, seed=0, batch_tokens=CONTEXT * BATCH)
    reader = UnitReader(subject, dictionary, units)
    reading = Reading(reader, plan, norm_limit(reader, corpus, plan), new_sketch(plan))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        _, first, last = line.split()
        started = time.perf_counter()
        read_shard([reading], corpus, [np.arange(int(first), int(last))])
        answer: dict[str, Any] = {"seconds": time.perf_counter() - started, "disk_bytes": 0}
        answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
