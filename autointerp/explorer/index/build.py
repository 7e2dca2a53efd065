"""Makes the index of a dictionary: reads the corpus, computes what the units write and which are alike, and writes the folder.

An index that is finished is not made again, unless its inputs have changed. An interrupted one continues: its parts are kept in `parts/`
until it is finished.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.explorer.index import feature_map, labels, marked, schema, tables
from autointerp.explorer.index.folder import ABOUT, EXAMPLES, MAP, UNITS, IndexFolder
from autointerp.explorer.index.inputs import IndexInputs, open_inputs, source_names
from autointerp.explorer.index.passes import Pass, passes, read
from autointerp.explorer.index.schema import About, DictionaryAbout, SubjectAbout
from autointerp.explorer.index.settings import IndexSettings
from autointerp.formatting import count
from autointerp.locks import locked
from autointerp.places import open_folder, writing
from autointerp.progress import Progress
from autointerp.studies.given import Given
from sae.explorer.statistics import Statistics
from sae.explorer.together import Active, Ranked, correlated, together
from sae.explorer.written_tokens import WrittenTokens
from sae.files import write_text
from sae.harvest import harvest
from sae.harvest.harvest import UnitReader
from sae.studies.nearest_directions import Directions, nearest_of_all

FOLDER, OF_OTHERS = "index", "indexes"
"""The index's folder in that of its run, and the folder of those without a run in the results folder."""
_PARTS = "parts"
_DISK_BYTES = 6_000
"""Of a unit's rows in the files, about."""


def build(given: Given, progress: Progress, **settings: Any) -> IndexFolder:
    """The index of the dictionary that a command line names, made or continued if it is not finished. `settings` are those of
    `IndexSettings`.

    Raises `UsageError` and `SaeError` if something is missing, broken or does not fit, and `PlaceFailed`.
    """
    inputs = open_inputs(given, IndexSettings(**settings), progress)
    identity = inputs.identity()
    own = inputs.run / FOLDER if inputs.run else given.results / OF_OTHERS / f"{inputs.name}-{identity[:8]}"
    folder = IndexFolder(open_folder(given.out or own))
    with locked(folder.path / ".lock", "this index"):
        known = folder.about_if_readable()
        if known is None or known.identity != identity:
            labels.keep_those_of(folder, _dictionary_about(inputs), known, inputs.n_units)
            for name in (ABOUT, MAP):
                (folder.path / name).unlink(missing_ok=True)
            make(folder, inputs, progress)
        shutil.rmtree(folder.path / _PARTS, ignore_errors=True)
        if not folder.is_current(UNITS):
            marked.add(folder)
        labels.write(folder, inputs)
        if not folder.is_current(MAP):
            feature_map.write(folder, lambda done, total: progress.update("map", done, total))
    return IndexFolder(folder.path)


def make(folder: IndexFolder, inputs: IndexInputs, progress: Progress) -> None:
    """Make what is missing of an index, and finish it."""
    parts = folder.path / _PARTS / f"{inputs.identity()[:16]}"
    all_passes = passes(parts, inputs)
    limit = _norm_limit(parts, inputs, len(all_passes), progress)
    for one in all_passes:
        phase = f" {one.number + 1} of {len(all_passes)}" if len(all_passes) > 1 else ""
        read(inputs, one, limit, progress.update, phase)
    _write_units(folder, parts, inputs, all_passes, progress)
    groups = _write_examples(folder, all_passes)
    folder.finish(_about(inputs, groups, int(all_passes[0].array("n_counted"))))


def _norm_limit(parts: Path, inputs: IndexInputs, n_passes: int, progress: Progress) -> float:
    """The largest norm of a counted token, kept in `plan.json`. When it is measured the cost of the passes is told."""
    path = parts / "plan.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["norm_limit"])
    plan = inputs.plan(0, 1)
    reader = UnitReader(inputs.subject, inputs.dictionary, plan.units)
    started = time.monotonic()
    limit = harvest.norm_limit(reader, inputs.corpus, plan)
    seconds = time.monotonic() - started
    lengths = inputs.corpus.contexts["length"]
    read_tokens = min(32, len(lengths)) * float(np.mean(lengths))
    progress.note(_cost(inputs, n_passes, seconds / read_tokens))
    with writing(parts):
        write_text(path, json.dumps({"norm_limit": limit}))
    return limit


def _cost(inputs: IndexInputs, n_passes: int, token_s: float) -> str:
    tokens, settings = inputs.corpus.n_tokens, inputs.settings
    in_memory = min(inputs.n_units, settings.units_per_pass(inputs.harvest.window_tokens, schema.UNIT_ROWS))
    megabytes = in_memory * settings.unit_bytes(inputs.harvest.window_tokens) / 1e6
    return (
        f"index of {count(inputs.n_units)} units: {n_passes} {'pass' if n_passes == 1 else 'passes'} over {count(tokens)} tokens,"
        f" about {n_passes * tokens * token_s:,.0f} s; about {megabytes:,.0f} MB of memory beside the model,"
        f" and {inputs.n_units * _DISK_BYTES / 1e6:,.0f} MB on disk"
    )


@dataclass(frozen=True)
class _Lists:
    """Which features are alike, for all features (F, k)."""

    active: Active
    nearest: Ranked
    neurons: Ranked

    @classmethod
    def of(cls, inputs: IndexInputs, all_passes: list[Pass], progress: Progress) -> _Lists:
        d_sae = inputs.dictionary.d_sae
        token = np.concatenate([one.array("active.token") for one in all_passes])
        unit = np.concatenate([one.array("active.unit") + one.first for one in all_passes])
        value = np.concatenate([one.array("active.value") for one in all_passes])
        neurons_at, neurons = all_passes[0].array("neurons.token"), all_passes[0].array("neurons.values")
        progress.update("correlations", 0, 0)
        best = correlated(token, unit, value, neurons_at, neurons, d_sae, schema.NEURONS)
        return cls(Active.of(token, unit, value, d_sae), _nearest(inputs, progress), best)


def _nearest(inputs: IndexInputs, progress: Progress) -> Ranked:
    dictionary, most = inputs.dictionary, min(schema.NEIGHBOURS, inputs.dictionary.d_sae - 1)
    if dictionary.W_dec.ndim != 2 or most < 1:  # features that write to several layers have no one direction
        return Ranked(np.full((dictionary.d_sae, 1), -1), np.zeros((dictionary.d_sae, 1), dtype=np.float32))
    directions = Directions.of([dictionary], inputs.subject.device)
    numbers, cosines = nearest_of_all(directions, most, lambda done, total: progress.update("neighbours", done, total))
    return Ranked(numbers.numpy(), cosines.numpy())


def _write_units(
    folder: IndexFolder, parts: Path, inputs: IndexInputs, all_passes: list[Pass], progress: Progress
) -> None:
    """Write `units.parquet`, row group by row group, each of which is kept once it is computed."""
    groups = [
        (IndexFolder(parts / f"rows-{number:05d}"), first, min(first + schema.UNIT_ROWS, inputs.n_units))
        for number, first in enumerate(range(0, inputs.n_units, schema.UNIT_ROWS))
    ]
    missing = [group for group in groups if not group[0].is_current(UNITS)]
    if missing:
        lists, written = _Lists.of(inputs, all_passes, progress), WrittenTokens(inputs.subject, inputs.dictionary)
        found = Statistics.joined(one.statistics() for one in all_passes)
        for own, first, end in missing:
            progress.update("units", first, inputs.n_units)
            [strongest] = [one.marked(first, end) for one in all_passes if one.first <= first < one.end]
            own.write_table(UNITS, _unit_rows(inputs, lists, written, found, strongest, first, end))
    with folder.writer(UNITS) as writer:
        for own, _, _ in groups:
            writer.write_table(own.table(UNITS))
    progress.update("units", inputs.n_units, inputs.n_units)


def _unit_rows(
    inputs: IndexInputs,
    lists: _Lists,
    written: WrittenTokens,
    found: Statistics,
    strongest: pa.Array,
    first: int,
    end: int,
) -> pa.Table:
    units, d_sae = inputs.units(first, end), inputs.dictionary.d_sae
    low, high = min(first, d_sae), min(end, d_sae)
    by_kind = [written.of(part, schema.TOKENS) for part in (units[: high - low], units[high - low :])]
    promoted, suppressed = ([effects for kind in by_kind for effects in kind[side]] for side in (0, 1))
    return tables.unit_rows(
        first,
        units,
        found.rows(first, end),
        promoted,
        suppressed,
        lists.nearest.rows(low, high),
        together(lists.active, low, high, schema.NEIGHBOURS),
        lists.neurons.rows(low, high),
        strongest,
    )


def _write_examples(folder: IndexFolder, all_passes: list[Pass]) -> list[tuple[int, int, int]]:
    """Write `examples.parquet` from those of the passes, and return which units' examples each row group has."""
    groups: list[tuple[int, int, int]] = []
    with folder.writer(EXAMPLES) as writer:
        for one in all_passes:
            with pq.ParquetFile(one.path / EXAMPLES) as examples:
                for number in range(examples.num_row_groups):
                    table = examples.read_row_group(number)
                    first = one.first + number * schema.EXAMPLE_UNITS
                    if len(table):
                        groups.append((first, min(schema.EXAMPLE_UNITS, one.end - first), len(groups)))
                        writer.write_table(table)
    return groups


def _about(inputs: IndexInputs, groups: list[tuple[int, int, int]], n_counted: int) -> About:
    subject, dictionary, corpus, choice = inputs.subject, inputs.dictionary, inputs.corpus, inputs.settings.choice
    return About(
        identity=inputs.identity(),
        name=inputs.name,
        run=inputs.run.name if inputs.run else None,
        subject=SubjectAbout(
            name=subject.name,
            precision=subject.precision,
            n_layers=subject.n_layers,
            model=inputs.model,
            fingerprint=subject.fingerprint,
        ),
        dictionary=_dictionary_about(inputs),
        corpus=f"{source_names(inputs)}: {corpus.contents.statement}",
        n_tokens=n_counted,
        n_documents=corpus.n_documents,
        n_features=dictionary.d_sae,
        n_neurons=inputs.n_neurons,
        bins=choice.bins,
        top=choice.top,
        per_bin=choice.per_bin,
        groups=groups,
    )


def _dictionary_about(inputs: IndexInputs) -> DictionaryAbout:
    dictionary = inputs.dictionary
    return DictionaryAbout(
        path=dictionary.path,
        hook_point=dictionary.hook_point,
        d_sae=dictionary.d_sae,
        architecture=dictionary.activation,
        fingerprint=dictionary.fingerprint,
    )
