"""The study `split`: splitting, stability and absorption over several dictionaries of one subject.

*Scaling Monosemanticity* shows families of features over three sizes of dictionary, by decoder cosines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import combinations
from typing import ClassVar

import numpy as np

from autointerp.errors import UsageError
from autointerp.studies.finding import Finding
from autointerp.studies.splits import absorption, judged, pictures, prose, stability, trees, windows
from autointerp.studies.splits.compared import Compared, Pair
from autointerp.studies.splits.probe import Probe, probe_of
from autointerp.studies.workbench import Studied, Workbench
from sae.dictionary import Dictionary
from sae.studies import firing, matching
from sae.studies.firing import Firings, Sampled
from sae.studies.matching import Matches, Side

_TOKENS = 4
"""Tokens that stand for a feature without an explanation."""


@dataclass(frozen=True)
class Split:
    """Settings. Memory: the events of all dictionaries at the tokens read (2 GB at most), and 8 million pairs of features at a
    time, whatever the number of features."""

    name: ClassVar[str] = "split"
    version: ClassVar[int] = 1
    reads_text: ClassVar[bool] = True
    tokens: int = 100_000
    """Tokens of the corpus that are read."""
    cosine: float = 0.7
    """Smallest decoder cosine of a feature and its twin in another dictionary."""
    child_cosine: float = 0.4
    """Smallest decoder cosine of a child and its parent."""
    asked: int = 100
    """Questions to a judge about absorbed tokens, at most."""
    seed: int = 0
    positive: tuple[str, ...] = ()
    """Texts whose last tokens are of a concept; with `negative`, a probe of them is a further witness of absorption."""
    negative: tuple[str, ...] = ()

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` for fewer than two dictionaries or dictionaries of different places."""
        studied = _in_order(bench.studied)
        probe = self._probe(bench, studied[0].dictionary.hook_point)
        compared = self._compared(bench, studied, probe)
        features = stability.features(compared, self.cosine)
        levels = trees.levels(compared, self.child_cosine)
        absorbed = absorption.table(compared, levels, self.cosine, bench.subject, bench.corpus)
        if bench.asking:
            absorbed = judged.held(bench, absorbed, compared.sampled, self.asked)
        pairs = stability.pairs(compared, self.cosine)
        headlines = stability.headlines(compared, features)
        return Finding(
            title=f"Splitting, stability and absorption in {len(studied)} dictionaries of {bench.subject.name}",
            sentences=(
                *prose.sentences(compared, features, headlines, levels, absorbed, self.cosine),
                *prose.of_probe(compared, probe.accuracy if probe else None),
            ),
            listings=(
                trees.splits(compared, levels),
                trees.edges(compared, levels),
                stability.listing(features),
                absorption.listing(absorbed, judged=bench.asking is not None),
                stability.pairs_listing(pairs),
            ),
            pictures=tuple(pictures.pictures(compared, levels, features, partial(_described, bench, compared))),
            values={
                "tokens": len(compared.sampled.context),
                "pairs": pairs.to_dict("records"),
                "headlines": headlines,
                "stability": stability.values(compared, features),
                "splitting": [level.values(compared) for level in levels],
                "absorption": absorption.values(absorbed),
                "probe_accuracy": probe.accuracy if probe else None,
            },
            cautions=tuple(prose.cautions(compared, self.tokens, self.cosine)),
        )

    def _probe(self, bench: Workbench, hook_point: str) -> Probe | None:
        return probe_of(bench.subject, hook_point, self.positive, self.negative) if self.positive else None

    def _compared(self, bench: Workbench, studied: Sequence[Studied], probe: Probe | None) -> Compared:
        """The dictionaries with their firings and matches, which are kept."""
        dictionaries = [each.dictionary.to(bench.subject.device) for each in studied]
        sampled, firings = self._read(bench, [*dictionaries, *([probe.dictionary] if probe else [])])
        sides = [Side(*parts) for parts in zip(dictionaries, firings[: len(studied)], strict=True)]
        matches: dict[Pair, Matches] = {}
        chance: dict[Pair, float] = {}
        numbers = list(combinations(range(len(sides)), 2))
        for done, (i, j) in enumerate(numbers):
            bench.progress.update("pairs of dictionaries", done, len(numbers))

            def measure(one: Side = sides[i], other: Side = sides[j]) -> dict[str, np.ndarray]:
                here, there = matching.match(one, other)
                parts = {
                    f"{side}-{f.name}": getattr(each, f.name)
                    for side, each in (("one", here), ("other", there))
                    for f in fields(each)
                }
                return parts | {"chance": np.array(matching.chance_cosine(one.dictionary, other.dictionary, self.seed))}

            kept = bench.folder.kept_arrays(f"match-{i}-{j}", measure)
            for pair, side in (((i, j), "one"), ((j, i), "other")):
                matches[pair] = Matches(**{f.name: kept[f"{side}-{f.name}"] for f in fields(Matches)})
                chance[pair] = float(kept["chance"])
        bench.progress.update("pairs of dictionaries", len(numbers), len(numbers))
        return Compared(tuple(studied), tuple(sides), sampled, matches, chance, firings[-1] if probe else None)

    def _read(self, bench: Workbench, dictionaries: Sequence[Dictionary]) -> tuple[Sampled, list[Firings]]:
        """The firings of all dictionaries, which are kept."""

        def measure() -> dict[str, np.ndarray]:
            sampled, firings = firing.read(
                bench.subject, [each.to(bench.subject.device) for each in dictionaries], bench.corpus,
                tokens=self.tokens, seed=self.seed, progress=lambda done, total: bench.progress.update("tokens", done, total),
            )  # fmt: skip
            arrays: dict[str, np.ndarray] = {"context": sampled.context, "position": sampled.position}
            for i, each in enumerate(firings):
                arrays |= {f"first-{i}": each.first, f"feature-{i}": each.feature, f"value-{i}": each.value}
            return arrays

        kept = bench.folder.kept_arrays("firings", measure)
        firings = [
            Firings(kept[f"first-{i}"], kept[f"feature-{i}"], kept[f"value-{i}"], each.d_sae)
            for i, each in enumerate(dictionaries)
        ]
        return Sampled(kept["context"], kept["position"]), firings


def _described(bench: Workbench, compared: Compared, number: int, feature: int) -> str:
    """A feature's explanation, or else the tokens at which it is most active."""
    firings = compared.sides[number].firings
    return compared.explanation(number, feature) or " ".join(
        f"“{token.strip()}”"
        for token in windows.strongest(bench.subject, bench.corpus, compared.sampled, firings, feature, _TOKENS)
    )


def _in_order(studied: tuple[Studied, ...]) -> list[Studied]:
    """The dictionaries from the smallest to the largest. Raises `UsageError` if they cannot be compared."""
    if len(studied) < 2:
        raise UsageError("split compares dictionaries: give two or more, each with --from RUN or --dictionary PATH")
    first = studied[0].dictionary
    for each in studied:
        if not each.dictionary.reconstructs:
            raise UsageError(
                f"{each.name} writes to several layers, so its decoder rows cannot be compared: leave it out"
            )
        if _place(each) != _place(studied[0]):
            raise UsageError(
                f"split compares dictionaries of one place: {studied[0].name} reads {first.hook_point} and writes"
                f" {first.reconstructed_hook_point}, {each.name} reads {each.dictionary.hook_point} and writes"
                f" {each.dictionary.reconstructed_hook_point}"
            )
    for one, other in combinations(studied, 2):
        if one.dictionary.fingerprint == other.dictionary.fingerprint:
            raise UsageError(f"{one.dictionary.path} and {other.dictionary.path} are the same dictionary: name it once")
    return sorted(studied, key=lambda each: each.dictionary.d_sae)


def _place(each: Studied) -> tuple[str, str]:
    return each.dictionary.hook_point, each.dictionary.reconstructed_hook_point
