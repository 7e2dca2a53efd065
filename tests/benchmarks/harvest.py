"""Harvest time over the time of the work that no harvest can avoid, interleaved in one run.

    needed   = forward pass to the hook point + encoding of the sampled features (all of them, where the k largest are kept)
    ratio    = harvest (features, neurons, sketch, windows) / needed

Run with `make bench`, or `python tests/benchmarks/harvest.py [--case NAME ...] [--tokens N] [--rounds N]`. Each case has a process of its
own. `first` is the ratio of the first stretch of text, when nothing is yet known of any unit; `median` that of the rounds after it;
`whole` that of all together. `saving` is the time of checkpoints, each after at least 25 seconds of reading, over that of the reading
between them: that in which reading waits for a copy, and the processor time of the thread that writes, as its share of all cores. `growth` is how far the peak memory of the first half of the rounds was passed in the second.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.checkpoints import INTERVAL_S, Checkpoint
from autointerp.harvest.sampling import ROOM, ROOMY_UNITS
from autointerp.progress import quiet
from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest.harvest import HarvestPlan, Reading, Shard, UnitReader, batches, new_sketch, norm_limit, read_shard
from sae.harvest.sketch import Quota
from sae.harvest.units import sample_units as sample
from sae.subject.model import Subject, load_subject

ACTIVE = 32
"""Features active a token."""
HEADER = (
    "case",
    "features",
    "neurons",
    "rounds",
    "needed us/token",
    "first",
    "median",
    "whole",
    "saving",
    "peak MiB",
    "growth",
)


@dataclass(frozen=True)
class Case:
    """A subject with its corpus, the kind of dictionary, and how many units are read."""

    subject: Callable[[], tuple[Subject, Corpus]]
    kind: str
    d_sae: int
    features: int
    neurons: int
    batch_tokens: int = 4096


def demo() -> tuple[Subject, Corpus]:
    """SmolLM2-135M on the demo's text."""
    from autointerp.demo import assets as demo_assets
    from autointerp.harvest.inputs import open_corpus
    from autointerp.spec import sections

    assets = demo_assets.prepare(quiet)
    subject = load_subject(str(assets.model))
    given = sections.Corpus(
        sources=tuple(str(path) for path in assets.corpus_files),
        context_tokens=demo_assets.CONTEXT_TOKENS,
        max_tokens=demo_assets.FULL.tokens,
    )
    return subject, open_corpus(given, subject, quiet)


def gpt2(
    precision: str = "float32", layers: int = 6, width: int = 512, n_tokens: int = 1_100_000, context: int = 256
) -> tuple[Subject, Corpus]:
    """A random GPT-2 on tokens drawn by Zipf's law, packed into contexts."""
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config: dict[str, Any] = {"n_embd": width, "n_layer": layers, "n_head": 8, "attn_pdrop": 0, "resid_pdrop": 0}
    model = GPT2LMHeadModel(GPT2Config(embd_pdrop=0, **config))
    torch.nn.init.normal_(model.transformer.wte.weight, std=0.14)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    subject = Subject(model, tokenizer, name="gpt2", fingerprint="random", precision=precision)
    tokens = (np.random.default_rng(0).zipf(1.2, n_tokens) % 50_000).astype(np.uint32)
    starts = np.arange(0, n_tokens - context + 1, context)
    contexts = np.array([(i, 0, start, context) for i, start in enumerate(starts)], dtype=CONTEXT)
    return subject, Corpus(tokens, contexts, len(contexts), n_tokens, "random", None, frozenset())


def tiny() -> tuple[Subject, Corpus]:
    """A subject that shows nothing but that the benchmark runs."""
    return gpt2(layers=2, width=32, n_tokens=20_000, context=64)


def half() -> tuple[Subject, Corpus]:
    """The random GPT-2 in bfloat16."""
    return gpt2("bfloat16")


CASES = {
    "smollm2-256": Case(demo, "jumprelu", 4096, 256, 256),
    "smollm2-4096": Case(demo, "jumprelu", 4096, 4096, 3072),
    "gpt2-256": Case(gpt2, "jumprelu", 8192, 256, 256),
    "gpt2-4096": Case(gpt2, "jumprelu", 8192, 4096, 4096),
    "gpt2-bf16-256": Case(half, "jumprelu", 8192, 256, 256),
    "gpt2-bf16-4096": Case(half, "jumprelu", 8192, 4096, 4096),
    "gpt2-topk-16k": Case(gpt2, "topk", 16_384, 16_384, 0, 8192),
    "gpt2-topk-32k": Case(gpt2, "topk", 32_768, 32_768, 0, 8192),
    "tiny": Case(tiny, "jumprelu", 64, 16, 16),
    "tiny-topk": Case(tiny, "topk", 64, 64, 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--case", nargs="+", choices=CASES, default=[name for name in CASES if "tiny" not in name])
    parser.add_argument("--tokens", type=int, default=16_384, help="tokens in each measured stretch")
    parser.add_argument("--rounds", type=int, default=7, help="stretches after the first")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        [name] = arguments.case
        print("| " + " | ".join((name, *measure(CASES[name], arguments.tokens, arguments.rounds))) + " |", flush=True)
        return
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for name in arguments.case:
        settings = ("--case", name, "--tokens", str(arguments.tokens), "--rounds", str(arguments.rounds), "--row")
        subprocess.run([sys.executable, Path(__file__), *settings], check=True)


def measure(case: Case, tokens: int, rounds: int) -> tuple[str, ...]:
    """A row of the table, from the second column on."""
    subject, corpus = case.subject()
    dictionary = make_dictionary(case, subject, corpus)
    neurons = subject.neuron_hook_point(dictionary.hook_point)
    units = sample(dictionary.d_sae, subject.width(neurons), features=case.features, neurons=case.neurons, seed=0)
    quota = ROOM if len(units) <= ROOMY_UNITS else Quota(explain=2, judge=6, silent=64, top=16)
    plan = HarvestPlan(units, quota, 48, skip_positions=1, max_norm_ratio=10.0, seed=0, batch_tokens=case.batch_tokens)
    reader = UnitReader(subject, dictionary, units)
    reading = Reading(reader, plan, norm_limit(reader, corpus, plan), new_sketch(plan, subject.device))
    saving = Saving(reading)
    features = torch.tensor([unit.index for unit in units if unit.kind == "feature"])
    needed = Needed(subject, dictionary, features)
    stretches = cut(corpus, tokens)
    needed.seconds(corpus, next(stretches), plan.batch_tokens)
    taken, spent, peaks = [], [], []
    Path("/proc/self/clear_refs").write_text("5")  # what was needed to make the dictionary is not the harvest's
    for _ in range(rounds + 1):
        shard = next(stretches)
        before = needed.seconds(corpus, shard, plan.batch_tokens)
        started = time.perf_counter()
        read_shard([reading], corpus, shard)
        taken.append(time.perf_counter() - started)
        saving.add(taken[-1])
        spent.append((before + needed.seconds(corpus, shard, plan.batch_tokens)) / 2)
        peaks.append(peak_mib())
    ratios = [took / base for took, base in zip(taken, spent, strict=True)]
    figures = ratios[0], statistics.median(ratios[1:]), sum(taken) / sum(spent)
    count = statistics.median(spent) / tokens * 1e6
    growth = peaks[-1] - peaks[rounds // 2]
    return (
        f"{case.features:,}", f"{case.neurons:,}", f"{rounds}", f"{count:.0f}",
        *(f"{figure:.3f}" for figure in figures), saving.share(), f"{peaks[-1]:.0f}", f"{growth:.0f}",
    )  # fmt: skip


class Saving:
    """Checkpoints of a reading, and their cost."""

    def __init__(self, reading: Reading) -> None:
        self.folder = tempfile.TemporaryDirectory()
        device = torch.device(reading.sketch.device)
        artifacts = Artifacts(self.folder.name)
        self.checkpoint = Checkpoint(artifacts, "checkpoint", "benchmark", [], reading.plan, device, quiet)
        self.checkpoint.sketch = reading.sketch
        self.waiting = self.reading = self.saving = 0.0

    def add(self, seconds: float) -> None:
        """Count seconds of reading, and write a checkpoint if it is due."""
        self.waiting += seconds
        if self.waiting >= INTERVAL_S:
            started = time.perf_counter()
            save = self.checkpoint.copied(1, 0.0)
            self.saving += time.perf_counter() - started
            started = time.thread_time()
            save()
            self.saving += (time.thread_time() - started) / torch.get_num_threads()
            self.reading, self.waiting = self.reading + self.waiting, 0.0

    def share(self) -> str:
        """The cost as a share of the time of reading; a dash if no checkpoint was due."""
        return f"{self.saving / self.reading:.1%}" if self.reading else "-"


def now(device: torch.device) -> float:
    """Seconds on a clock, once a GPU has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_mib() -> float:
    """Most memory that this process held, in MiB, since `clear_refs` was last written."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def cut(corpus: Corpus, tokens: int) -> Iterator[Shard]:
    """Stretches of about `tokens` tokens, all different, each one block."""
    ends = np.cumsum(corpus.contexts["length"])
    cuts = np.searchsorted(ends, np.arange(tokens, ends[-1], tokens))
    return ([rows] for rows in np.split(np.arange(len(ends)), cuts))


class Needed:
    """The forward pass to the hook point and the encoding of the sampled features, in the harvest's own batches."""

    def __init__(self, subject: Subject, dictionary: Dictionary, features: torch.Tensor) -> None:
        self.subject, self.dictionary = subject, dictionary
        self.rows = dictionary.feature_rows(None if dictionary.activation == "topk" else features, subject.device)

    @torch.inference_mode()
    def seconds(self, corpus: Corpus, shard: Shard, batch_tokens: int) -> float:
        """Seconds that one stretch takes."""
        at = self.dictionary.hook_point
        started = now(self.subject.device)
        for chosen in (batch for rows in shard for batch in batches(corpus, rows, batch_tokens)):
            tokens = torch.as_tensor(corpus.batch(chosen)[0], device=self.subject.device)
            self.encode(self.subject.run(tokens, [at])[at].flatten(0, 1))
        return now(self.subject.device) - started

    def encode(self, x: torch.Tensor) -> None:
        """Pre-activations of the sampled features and which of them are active."""
        x = self.dictionary.prepare(x)
        if self.dictionary.activation == "topk":
            most = 1 << 22 if x.device.type == "cpu" else 1 << 28
            for part in x.split(max(64, most // len(self.rows.W_enc))):
                self.dictionary.select_largest(linear(part, self.rows.W_enc, self.rows.b_enc))
            return
        z = linear(x, self.rows.W_enc, self.rows.b_enc)
        if self.rows.threshold is not None:
            torch.where(z > self.rows.threshold, z, 0.0)


@torch.inference_mode()
def make_dictionary(case: Case, subject: Subject, corpus: Corpus) -> Dictionary:
    """A dictionary whose features are directions of single tokens, with `ACTIVE` of them active a token."""
    at = f"resid_post.{subject.n_layers // 2}"
    tokens = torch.as_tensor(corpus.batch(np.arange(min(len(corpus.contexts), 128)))[0])
    x = subject.run(tokens, [at])[at].flatten(0, 1)
    mean = x.mean(dim=0)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(x), (case.d_sae,), generator=generator)
    rows = torch.nn.functional.normalize(x[drawn] - mean, dim=1)
    rows = rows + 0.05 * torch.randn(rows.shape, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=1)
    threshold = None
    if case.kind == "jumprelu":
        z = (x[:: max(1, len(x) // 2048)] - mean) @ rows.T
        threshold = z.quantile(1 - ACTIVE / case.d_sae, dim=0).clamp_(min=0)
    return Dictionary(
        W_enc=rows,
        b_enc=torch.zeros(case.d_sae),
        W_dec=rows,
        b_dec=mean,
        activation="topk" if threshold is None else "jumprelu",
        hook_point=at,
        threshold=threshold,
        k=ACTIVE if threshold is None else None,
        apply_b_dec_to_input=True,
    )


if __name__ == "__main__":
    main()
