"""Passes over the corpus: each reads as many units as the memory allows, and leaves their statistics, examples and sampled tokens.

A pass that is killed continues from its checkpoint, as a harvest does; a finished one is not read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.explorer.index import marked, schema, tables
from autointerp.explorer.index.folder import EXAMPLES, IndexFolder
from autointerp.explorer.index.inputs import IndexInputs
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.checkpoints import Checkpoint, Timer
from autointerp.places import writing
from autointerp.progress import OnProgress
from sae.errors import NOTHING_COUNTED, SaeError
from sae.explorer.examples import examples
from sae.explorer.statistics import Statistics, statistics
from sae.explorer.token_strings import TokenStrings
from sae.explorer.whole_sketch import WholeReader, WholeReading, WholeSketch
from sae.files import written_whole
from sae.harvest import harvest
from sae.harvest.harvest import UnitReader

_ARRAYS = "pass.npz"


@dataclass(frozen=True)
class Pass:
    """The pass of the rows from `first` up to `end`, with the folder that it leaves."""

    path: Path
    number: int
    first: int
    end: int

    @property
    def is_read(self) -> bool:
        """Whether the pass is finished."""
        return (self.path / _ARRAYS).is_file()

    @property
    def examples(self) -> IndexFolder:
        """The folder with the examples: a row group for each `EXAMPLE_UNITS` units."""
        return IndexFolder(self.path)

    def array(self, name: str) -> np.ndarray:
        """An array of a finished pass: those of `Statistics`, those of `WholeSketch.sample`, and `n_counted`."""
        with np.load(self.path / _ARRAYS) as stored:
            return np.asarray(stored[name])

    def marked(self, first: int, end: int) -> pa.Array:
        """The tokens at which the units of the rows from `first` up to `end` are strongest; `first` begins a row group of the examples."""
        size = schema.EXAMPLE_UNITS
        with pq.ParquetFile(self.path / EXAMPLES) as file:
            return pa.concat_arrays(
                marked.of_examples(
                    file.read_row_group((low - self.first) // size, columns=list(marked.NEEDED)),
                    low,
                    min(low + size, end),
                )
                for low in range(first, end, size)
            )

    def statistics(self) -> Statistics:
        """The statistics of a finished pass."""
        with np.load(self.path / _ARRAYS) as stored:
            return Statistics(*(stored[name] for name in Statistics._fields))


def passes(path: Path, inputs: IndexInputs) -> list[Pass]:
    """The passes of an index, whose parts are kept below `path`."""
    size = inputs.settings.units_per_pass(inputs.harvest.window_tokens, schema.UNIT_ROWS)
    return [
        Pass(path / f"pass-{number:03d}", number, first, min(first + size, inputs.n_units))
        for number, first in enumerate(range(0, inputs.n_units, size))
    ]


def read(inputs: IndexInputs, one: Pass, limit: float, on_progress: OnProgress, which: str = "") -> None:
    """Read a pass, unless it is finished. `limit` is the largest norm of a counted token; `which` says in the progress which pass it is.

    Raises `SaeError` if no token is counted, and `SubjectError` if the subject computes values that are not finite.
    """
    if one.is_read:
        return
    subject, corpus = inputs.subject, inputs.corpus
    plan = inputs.plan(one.first, one.end)
    artifacts, width = Artifacts(one.path), inputs.neuron_width
    reads_neurons = one.number == 0 and width  # every pass has the same sample of tokens
    reader = (WholeReader if reads_neurons else UnitReader)(subject, inputs.dictionary, plan.units)
    checkpoint = Checkpoint(
        artifacts, "checkpoint", f"pass {one.number + 1}", [inputs.identity(), limit], plan, subject.device, on_progress,
        lambda _plan, device: WholeSketch(plan, width, device),
    )  # fmt: skip
    reading = WholeReading(reader, plan, limit, checkpoint.sketch, checkpoint.tokens)
    shard = [rows for part in harvest.shards(corpus, corpus.n_tokens, plan.batch_tokens) for rows in part]
    with Timer([checkpoint]) as timer:

        def progress(done: int) -> None:
            timer.batch_ended(done)
            on_progress(f"reading{which}", done, corpus.n_tokens)

        harvest.read_shard([reading], corpus, shard, progress)
    assert isinstance(checkpoint.sketch, WholeSketch)
    _write(inputs, one, checkpoint.sketch, on_progress)
    checkpoint.remove()


def _write(inputs: IndexInputs, one: Pass, sketch: WholeSketch, on_progress: OnProgress) -> None:
    if not sketch.n_counted:
        raise SaeError(NOTHING_COUNTED)
    strings = TokenStrings(inputs.subject.tokenizer)
    with one.examples.writer(EXAMPLES) as writer:
        for chunk in examples(sketch, inputs.corpus, inputs.settings.choice, strings):
            on_progress("choosing examples", chunk.end, one.end - one.first)
            for table in tables.example_groups(chunk, strings.strings, one.first):
                writer.write_table(table)
    cells = sketch.histogram.sum(dim=1)[:, 1:].cpu().numpy()
    maximum, total = sketch.maximum.cpu().numpy(), sketch.total.cpu().numpy()
    arrays = statistics(cells, maximum, total, sketch.n_counted, schema.HISTOGRAM_PARTS)._asdict()
    arrays |= sketch.sample() | {"n_counted": np.array(sketch.n_counted)}
    with writing(one.path), written_whole(one.path / _ARRAYS) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)
