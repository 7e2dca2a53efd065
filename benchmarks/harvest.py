"""Harvest time over the time of the work that no harvest can avoid, interleaved in one run, on the demo's model.

    needed   = forward pass to the hook point + encoding of the sampled features
    ratio    = harvest (256 features, 256 neurons, sketch, windows) / needed

Run with `make bench`, or `python benchmarks/harvest.py [--tokens N] [--rounds N]`. Prints the ratio of each round, their median, and the
process's peak memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from autointerp import demo, spec
from autointerp.inputs import open_corpus, open_subject, quiet
from sae.corpus import Corpus
from sae.dictionary import load_dictionary
from sae.harvest import (
    HarvestPlan,
    Shard,
    UnitReader,
    batches,
    new_sketch,
    norm_limit,
    read_shard,
    sample_units,
)
from sae.sketch import Quota
from sae.subject import Subject

UNITS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=16_384, help="tokens in each measured stretch")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()

    assets = demo.prepare(quiet)
    dictionary = load_dictionary(str(demo.train_dictionary(assets, quiet)))
    subject = open_subject(spec.Subject(model=str(assets.model)), quiet)
    given = spec.Corpus(
        sources=tuple(str(path) for path in assets.corpus_files),
        context_tokens=demo.CONTEXT_TOKENS,
        max_tokens=demo.EVALUATION_TOKENS,
    )
    corpus = open_corpus(given, subject, quiet)
    units = sample_units(dictionary.d_sae, subject.width("mlp_act.15"), features=UNITS, neurons=UNITS, seed=0)
    quota = Quota(explain=2, judge=5, quiet=20, top=16)
    plan = HarvestPlan(units, quota, window=48, skip_positions=1, max_norm_ratio=10.0, seed=0)
    reader = UnitReader(subject, dictionary, units)
    limit = norm_limit(reader, corpus, plan)
    sketch = new_sketch(plan, subject.device)
    stretches = cut(corpus, arguments.tokens)

    read_shard(reader, corpus, next(stretches), plan, limit, sketch)
    before = peak_mib()
    ratios = []
    print(f"{arguments.tokens:,} tokens a stretch, {UNITS} features and {UNITS} neurons, {subject.precision}")
    for number in range(arguments.rounds):
        shard = next(stretches)
        first, second = (needed(reader, subject, corpus, shard, plan) for _ in range(2))
        started = time.perf_counter()
        read_shard(reader, corpus, shard, plan, limit, sketch)
        took = time.perf_counter() - started
        third = needed(reader, subject, corpus, shard, plan)
        base = statistics.median([first, second, third])
        ratios.append(took / base)
        print(f"  round {number + 1}: needed {base:.2f} s, harvest {took:.2f} s, ratio {took / base:.3f}")
    print(
        f"median ratio {statistics.median(ratios):.3f}; peak memory {peak_mib():.0f} MiB, {peak_mib() - before:.0f} of it while measuring"
    )


def cut(corpus: Corpus, tokens: int) -> Iterator[Shard]:
    """Stretches of about `tokens` tokens, all different, each one block."""
    ends = np.cumsum(corpus.contexts["length"])
    cuts = np.searchsorted(ends, np.arange(tokens, ends[-1], tokens))
    return ([rows] for rows in np.split(np.arange(len(ends)), cuts))


@torch.inference_mode()
def needed(reader: UnitReader, subject: Subject, corpus: Corpus, shard: Shard, plan: HarvestPlan) -> float:
    """Seconds of the forward pass to the hook point and the encoding of the sampled features, in the harvest's own batches."""
    features = torch.tensor([unit.index for unit in plan.units if unit.kind == "feature"])
    started = time.perf_counter()
    for chosen in (batch for rows in shard for batch in batches(corpus, rows, plan.batch_tokens)):
        tokens, _ = corpus.batch(chosen)
        x = subject.run(torch.as_tensor(tokens, device=subject.device), [reader.hook_point])[reader.hook_point]
        reader.dictionary.encode(x, features)
    return time.perf_counter() - started


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
