"""Time of the index of a whole dictionary over that of the harvest of 512 of its units on the same tokens, interleaved in one run.

    harvest = forward pass + sketch of 256 features and 256 neurons, their exemplars and tokens
    index   = forward pass + sketch of all features, their examples, tokens, neighbours and correlations, all files, and the map
    ratio   = index / harvest

Both run with loaded inputs, and both measure the norm limit. Run `python tests/benchmarks/index.py [--case NAME ...] [--tokens N] [--rounds N]`.
Each case has a process of its own. `reading` is the share of the index's time in the pass over the text, `bytes a unit` the size of the files.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from harvest import Case, demo, make_dictionary, peak_mib, tiny

from autointerp.explorer.index import build, feature_map, passes
from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.index.inputs import IndexInputs
from autointerp.explorer.index.settings import IndexSettings
from autointerp.harvest.sampling import ROOM
from autointerp.progress import Progress
from autointerp.spec.sections import Harvest
from sae.analysis.directions import logit_effects
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.harvest.exemplars import Selection, tables
from sae.harvest.harvest import HarvestPlan, Reading, UnitReader, new_sketch, norm_limit, read_shard, shards
from sae.harvest.units import sample_units
from sae.subject.model import Subject
from sae.subject.token_text import token_texts

HEADER = (
    "case",
    "features",
    "units",
    "tokens",
    "rounds",
    "harvest s",
    "index s",
    "ratio",
    "reading",
    "bytes a unit",
    "peak MiB",
)
SELECTION = Selection(
    bins=10, per_bin=5, top=8, shown_top=16, spread=8, explain_silent=5, silent=5, min_documents=8
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """Loaded inputs."""

    subject: Subject
    dictionary: Dictionary
    corpus: Corpus


def shipped() -> Work:
    """The quick demo: SmolLM2-135M and the dictionary that is shipped with the program."""
    from autointerp.demo.assets import QUICK, SHIPPED

    subject, corpus = demo()
    return Work(subject, load_dictionary(str(SHIPPED), hook_point=QUICK.hook_point), corpus)


def random_dictionary(subject: Callable[[], tuple[Subject, Corpus]], kind: str, d_sae: int) -> Callable[[], Work]:
    """A case with a dictionary whose features are directions of single tokens."""

    def load() -> Work:
        opened, corpus = subject()
        return Work(opened, make_dictionary(Case(subject, kind, d_sae, 0, 0), opened, corpus), corpus)

    return load


CASES: dict[str, Callable[[], Work]] = {
    "demo": shipped,
    "smollm2-4096": random_dictionary(demo, "jumprelu", 4096),
    "smollm2-topk-4096": random_dictionary(demo, "topk", 4096),
    "tiny": random_dictionary(tiny, "topk", 256),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--case", nargs="+", choices=CASES, default=["demo", "smollm2-4096", "smollm2-topk-4096"])
    parser.add_argument("--tokens", type=int, default=100_000, help="tokens that both read")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=512, help="units of the harvest, half of them neurons")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = [f"--{name}={getattr(arguments, name)}" for name in ("tokens", "rounds", "units")]
    if arguments.row:
        [name] = arguments.case
        cells = measure(name, arguments.tokens, arguments.rounds, arguments.units)
        print("| " + " | ".join(cells) + " |", flush=True)
        return
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for name in arguments.case:
        subprocess.run([sys.executable, Path(__file__), "--case", name, *settings, "--row"], check=True)


def measure(name: str, tokens: int, rounds: int, units: int) -> tuple[str, ...]:
    """A row of the table."""
    work = CASES[name]()
    work = replace(work, corpus=first_tokens(work.corpus, tokens))
    harvest_s, index_s, reading_s, size = [], [], [], 0
    for _ in range(rounds):
        harvest_s.append(timed(lambda: harvest(work, units)))
        with tempfile.TemporaryDirectory() as folder:
            reading: list[float] = []
            index_s.append(timed(lambda folder=folder, reading=reading: index(work, Path(folder), reading)))
            reading_s += reading
            size = sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file())
    d_sae = work.dictionary.d_sae
    return (
        name, f"{d_sae:,}", f"{units}", f"{work.corpus.n_tokens:,}", f"{rounds}",
        f"{statistics.median(harvest_s):.1f}", f"{statistics.median(index_s):.1f}",
        f"{statistics.median(i / h for i, h in zip(index_s, harvest_s, strict=True)):.2f}",
        f"{sum(reading_s) / sum(index_s):.0%}", f"{size / d_sae:,.0f}", f"{peak_mib():.0f}",
    )  # fmt: skip


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def first_tokens(corpus: Corpus, tokens: int) -> Corpus:
    """The first contexts of a corpus, of about so many tokens."""
    rows = int(np.searchsorted(np.cumsum(corpus.contexts["length"]), tokens)) + 1
    contexts = corpus.contexts[:rows]
    n = int(contexts["offset"][-1] + contexts["length"][-1])
    return replace(corpus, contexts=contexts, tokens=corpus.tokens[:n], n_tokens=int(contexts["length"].sum()))


def harvest(work: Work, n: int) -> None:
    """The harvest of a sample of the units, to its tables."""
    subject, dictionary, corpus = work.subject, work.dictionary, work.corpus
    width = subject.width(subject.neuron_hook_point(dictionary.hook_point))
    features = min(n // 2, dictionary.d_sae)
    units = sample_units(dictionary.d_sae, width, features=features, neurons=min(n - features, 2 * width), seed=0)
    plan = HarvestPlan(units, ROOM, 48, skip_positions=1, max_norm_ratio=10.0, seed=0)
    reader = UnitReader(subject, dictionary, units)
    reading = Reading(reader, plan, norm_limit(reader, corpus, plan), new_sketch(plan, subject.device))
    for shard in shards(corpus, 1 << 18, plan.batch_tokens):
        read_shard([reading], corpus, shard)
    hook_points = {"feature": reader.hook_point, "neuron": reader.neuron_hook_point}
    tables(
        reading.sketch, corpus, units, hook_points, SELECTION, lambda ids: token_texts(subject.tokenizer, ids.tolist())
    )
    logit_effects(subject, dictionary, units, 10)


def index(work: Work, folder: Path, reading: list[float]) -> None:
    """The index of all features, in a folder. The seconds of the pass over the text are added to `reading`."""
    read = passes.harvest.read_shard

    def timed_read(*arguments: object) -> None:
        reading.append(timed(lambda: read(*arguments)))  # type: ignore[arg-type]

    inputs = IndexInputs(
        work.subject, work.dictionary, work.corpus, ("benchmark",), Harvest(), 0, IndexSettings(), run=None
    )
    passes.harvest.read_shard = timed_read
    try:
        with Progress(quiet=True) as progress:
            build.make(IndexFolder(folder), inputs, progress)
            feature_map.write(IndexFolder(folder))
    finally:
        passes.harvest.read_shard = read


if __name__ == "__main__":
    main()
