"""A unit's windows in an index, in the roles of a harvest's: what the explainer is shown, and what is judged.

Half of the documents explain, the other half judges, as in a harvest, so that no document is both shown and judged. A bin's examples are its
strongest ones and a fair sample of the others: the order in which they are used weighs each by the events that it stands for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pyarrow.compute as pc

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.index.schema import HISTOGRAM_PARTS
from autointerp.hashing import content_hash
from autointerp.records import Aids, Exemplar, Unit
from autointerp.spec.spec import Spec
from sae.harvest.bins import bin_of

T = TypeVar("T")
EXPLAIN, JUDGE = 0, 1
"""The two halves of the documents."""
_REMEMBERED = 512
_CANDIDATES = 6
"""Windows of other units that are looked at for each one that is shown as silent."""
Row = Mapping[str, Any]


class Windows:
    """The units of an index as records, with their windows and aids. Threads may share it."""

    def __init__(self, index: IndexFolder, spec: Spec) -> None:
        self.folder, self.spec, self._seed = IndexFolder(index.path), spec, spec.units.seed
        self.bins, self._files = self.folder.about.bins, threading.RLock()
        self.row = lru_cache(maxsize=_REMEMBERED)(self._read_row)
        self.exemplars = lru_cache(maxsize=_REMEMBERED)(self._read_exemplars)
        self._group = lru_cache(maxsize=2)(self.folder.group)

    def unit(self, row: int) -> Unit:
        """A unit. It is `barely_active` if too few documents of either half have examples of it."""
        found = self.row(row)
        documents = {half: {e.document for e in self.exemplars(row) if _half(e) == half} for half in (EXPLAIN, JUDGE)}
        n = [len(of_half) for of_half in documents.values()]
        few = sum(n) < self.spec.explain.min_exemplars or min(n) < 2
        sign: Any = found["unit_id"][-1] if found["kind"] == "neuron" else ""
        return Unit(
            found["unit_id"], found["kind"], found["number"], sign, self.folder.about.dictionary.hook_point,
            found["maximum"], found["density"], "dead" if not found["events"] else "barely_active" if few else "alive",
        )  # fmt: skip

    def unit_id(self, row: int) -> str:
        """The id of a row's unit: features come first, then both signs of each neuron."""
        n = self.folder.about.n_features
        return f"feature-{row}" if row < n else f"neuron-{(row - n) // 2}{'+-'[(row - n) % 2]}"

    def row_of(self, unit_id: str) -> int:
        """The row of a unit of the index."""
        kind, _, number = unit_id.partition("-")
        if kind == "feature":
            return int(number)
        return self.folder.about.n_features + 2 * int(number[:-1]) + (number[-1] == "-")

    def aids(self, row: int) -> Aids:
        """The tokens whose logits the unit raises and lowers most, the one aid that an index has."""
        found = self.row(row)
        return Aids(
            raised=tuple(each["token"] for each in found["promoted"] or ()),
            lowered=tuple(each["token"] for each in found["suppressed"] or ()),
        )

    def _read_row(self, row: int) -> Row:
        with self._files:
            return self.folder.unit(row)

    def _read_exemplars(self, row: int) -> tuple[Exemplar, ...]:
        unit, explain, score = self.row(row), self.spec.explain, self.spec.score
        with self._files:
            examples = self._examples(row)
            others = self._others(row, examples)
        own = [self._exemplar(unit, example, "top") for example in examples]
        ordered = self._in_order(unit, examples, own)
        strongest = [e for e, example in zip(own, examples, strict=True) if example["bin"] == 0]
        top = _first_of_documents((e for e in strongest if _half(e) == EXPLAIN), explain.top)
        documents = {e.document for e in top}
        rest = (e for e in _in_turn(ordered) if _half(e) == EXPLAIN and e.document not in documents)
        spread = _first_of_documents(rest, explain.spread)
        judged = [e for of_bin in ordered for e in [e for e in of_bin if _half(e) == JUDGE][: score.per_bin]]
        silent = self._silent(unit, examples, others)
        quiet = [e for e in silent if _half(e) == JUDGE][: self.spec.controls.base_rate]
        shown_quiet = [e for e in silent if _half(e) == EXPLAIN][: explain.quiet]
        return (
            *_with_role(judged, "score"), *_with_role(quiet, "quiet"), *_with_role(shown_quiet, "explain_quiet"),
            *_with_role(top, "explain_top"), *_with_role(spread, "explain_spread"),
        )  # fmt: skip

    def _examples(self, row: int) -> list[Row]:
        number = self.folder.group_of(row)
        if number is None:
            return []
        group = self._group(number)
        found: list[Row] = group.filter(pc.equal(group["row"], row)).to_pylist()
        return found

    def _others(self, row: int, examples: Sequence[Row]) -> list[Row]:
        """Examples of other units that lie near it in the index, of documents without an example of its own; units that are like it are
        left out. A token of another unit is about as likely to be one of its own as any token of the corpus."""
        number = self.folder.group_of(row)
        wanted = _CANDIDATES * 2 * max(self.spec.explain.quiet, self.spec.controls.base_rate)
        if number is None or not wanted:
            return []
        group, unit = self._group(number), self.row(row)
        alike = {row, *(each["row"] for name in ("nearest", "together") for each in unit[name] or ())}
        taken = {example["document"] for example in examples}
        rows, documents = group["row"].to_numpy(), group["document"].to_numpy()
        free = ~np.isin(rows, list(alike)) & ~np.isin(documents, list(taken))
        rng = np.random.default_rng([self._seed, row])
        places = rng.permutation(np.flatnonzero(free))
        _, first = np.unique(documents[places], return_index=True)
        chosen = places[np.sort(first)][:wanted]
        found: list[Row] = group.take(chosen).to_pylist()
        return found

    def _silent(self, unit: Row, examples: Sequence[Row], others: Sequence[Row]) -> list[Exemplar]:
        """Windows of other units, those first that have the fewest of the tokens at which the unit is active."""
        active = {t for e in examples for t, a in zip(e["tokens"], e["activations"], strict=True) if a > 0}
        scored = [(sum(token in active for token in other["tokens"]), place) for place, other in enumerate(others)]
        return [self._exemplar(unit, _silenced(others[place]), "quiet") for _, place in sorted(scored)]

    def _in_order(self, unit: Row, examples: Sequence[Row], own: Sequence[Exemplar]) -> list[list[Exemplar]]:
        """The examples of each bin from the highest down, in an order in which the first few are a fair sample of the bin's events.

        A strong example stands for itself, and one of the sample for its share of the bin's other events.
        """
        edges = np.round(np.linspace(0, HISTOGRAM_PARTS, self.bins + 1)).astype(int)[:-1]
        events = np.add.reduceat(np.asarray(unit["histogram"], dtype=np.int64), edges)
        ordered = []
        for bin_ in range(self.bins, 0, -1):
            here = [(e, example["bin"] == 0) for e, example in zip(own, examples, strict=True) if e.bin == bin_]
            n_strongest = sum(is_strongest for _, is_strongest in here)
            each = max(1.0, (events[bin_ - 1] - n_strongest) / max(1, len(here) - n_strongest))
            weights = [1.0 if is_strongest else each for _, is_strongest in here]
            ordered.append([here[i][0] for i in fair_order([_uniform(e, self._seed) for e, _ in here], weights)])
        return ordered

    def _exemplar(self, unit: Row, example: Row, role: Any) -> Exemplar:
        """A row of `examples.parquet` as a harvest's exemplar of a unit."""
        unit_id, maximum, activation = unit["unit_id"], unit["maximum"], float(example["activation"])
        return Exemplar(
            exemplar_id=f"{unit_id}@{example['document']}.{example['position']}",
            unit_id=unit_id, role=role, document=example["document"], position=example["position"],
            activation=activation, activation_fraction=activation / maximum if maximum else 0.0,
            bin=int(bin_of(activation, maximum, self.bins)) if activation > 0 else 0, inclusion_probability=1.0,
            mark=example["mark"], tokens=tuple(example["tokens"]), token_activations=tuple(example["activations"]),
        )  # fmt: skip


class ByUnit(Mapping[str, T]):
    """Something of each unit of an index, made when it is looked up. Its keys are the units that were asked for; it has those of all."""

    def __init__(self, make: Callable[[int], T], row_of: Callable[[str], int], asked: Sequence[str]) -> None:
        self._make, self._row_of, self._asked = make, row_of, asked

    def __getitem__(self, unit_id: str) -> T:
        return self._make(self._row_of(unit_id))

    def __iter__(self) -> Iterator[str]:
        return iter(self._asked)

    def __len__(self) -> int:
        return len(self._asked)


def fair_order(uniform: Sequence[float], weights: Sequence[float]) -> list[int]:
    """Places in an order in which the first few are a sample without replacement by the weights, given a uniform number for each.

    The keys are u^(1/w), the largest first (Efraimidis and Spirakis 2006).
    """
    keys = [u ** (1 / w) for u, w in zip(uniform, weights, strict=True)]
    return sorted(range(len(keys)), key=lambda i: -keys[i])


def _half(exemplar: Exemplar) -> int:
    """The half of the documents that an exemplar's belongs to, the same for all units of an index."""
    return int(content_hash(["half", exemplar.document])[:1], 16) & 1


def _uniform(exemplar: Exemplar, seed: int) -> float:
    return (int(content_hash([seed, exemplar.exemplar_id])[:13], 16) + 1) / (16**13 + 1)


def _in_turn(ordered: Sequence[Sequence[Exemplar]]) -> Iterator[Exemplar]:
    """One exemplar of each bin in turn."""
    for turn in range(max((len(of_bin) for of_bin in ordered), default=0)):
        yield from (of_bin[turn] for of_bin in ordered if turn < len(of_bin))


def _first_of_documents(exemplars: Iterator[Exemplar], n: int) -> list[Exemplar]:
    """The first `n`, one from a document."""
    by_document: dict[int, Exemplar] = {}
    for exemplar in exemplars:
        if len(by_document) < n:
            by_document.setdefault(exemplar.document, exemplar)
    return list(by_document.values())


def _with_role(exemplars: Sequence[Exemplar], role: Any) -> list[Exemplar]:
    return [Exemplar(**{**vars(exemplar), "role": role}) for exemplar in exemplars]


def _silenced(example: Row) -> Row:
    """Another unit's example, without its activations."""
    return {**example, "activation": 0.0, "activations": [0.0] * len(example["tokens"])}
