"""Completeness: for which concepts of lists a dictionary has features, by activation and by judge, and at which frequency half of them.

The curve follows Scaling Monosemanticity, section "Feature Completeness", which finds half of the concepts at a frequency slightly below
1 / (alive features). The paper takes the 5 most active features on one prompt and has people read their explanations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from autointerp.errors import UsageError
from autointerp.studies.completeness import presence, prose
from autointerp.studies.completeness.concepts import ConceptList, available, load, shipped
from autointerp.studies.completeness.curves import NamedCurve, curves
from autointerp.studies.completeness.drawing import pictures
from autointerp.studies.completeness.judged_presence import DEFAULT, Claim, PresenceRubric, judge, load_rubric
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.workbench import Workbench
from sae.corpus.name_counts import name_counts
from sae.studies.alive_features import Firing, firing
from sae.studies.last_tokens import last_token_values, strongest

_CONCEPTS = {
    "dictionary": "dictionary", "list": "list", "concept": "concept", "count": "count", "found": "found",
    "unit_id": "feature", "judged": "judged", "explanation": "explanation",
}  # fmt: skip
_CANDIDATES = {
    "concept": "concept", "unit_id": "feature", "activation": "activation", "fires_on": "fires on", "specific": "specific",
    "firing_rate": "firing rate", "share_of_maximum": "share of maximum", "judged": "judged", "explanation": "explanation",
}  # fmt: skip
_CURVES = {
    "curve": "curve", "by": "by", "concepts": "concepts", "present": "present", "midpoint": "midpoint",
    "midpoint_low": "low", "midpoint_high": "high", "times_alive": "times alive", "times_alive_low": "low ",
    "times_alive_high": "high ", "shape": "shape",
}  # fmt: skip

_FIRING = ("n_active", "largest", "n_reached")
"""Arrays of `Firing`, in its order."""


@dataclass(frozen=True)
class Cover:
    """Which concepts the dictionaries cover."""

    name: ClassVar[str] = "cover"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = True
    lists: tuple[ConceptList, ...]
    top: int = 5
    """Most active features of each concept that are looked at."""
    others: int = 2
    """Other concepts of the list on which a specific feature may fire."""
    rate: float = 0.001
    """Largest share of the text's tokens on which a specific feature may fire."""
    tokens: int = 200_000
    """Tokens of the corpus on which a feature has to fire to be alive."""
    seed: int = 0
    rubric: dict[str, Any] = field(default_factory=dict)
    """The judge's rubric."""

    def carry_out(self, bench: Workbench) -> Finding:
        """Presence, frequencies and curves.

        Needs memory for the values at the last tokens of a list's prompts, (prompts, d_in), for a chunk of activations, and for two numbers and
        one for each list a feature.
        """
        names = [each.name for each in bench.studied]
        read = self._candidates(bench)
        table = read[read["activation"] > 0].reset_index(drop=True)
        fired, n_tokens = self._firing(bench, table)
        table = presence.in_text(table, names, self.lists, fired, n_tokens)
        table["specific"] = presence.is_specific(table, self.others, self.rate)
        counts = self._counts(bench)
        table["judged"] = self._judged(bench, table)
        unread = read[read["templates"] == 0]
        uncounted = set(zip(unread["list"], unread["concept"], strict=True))
        found = presence.concepts(names, self.lists, table, counts, bench.corpus.n_tokens, uncounted)
        alive = {name: int((each.n_active > 0).sum()) for name, each in zip(names, fired, strict=True)}
        fitted = [curve for way in self._ways(bench) for curve in curves(found, alive, way)]
        return self._finding(bench, found, table, fitted, n_tokens)

    def _ways(self, bench: Workbench) -> list[str]:
        return ["found", "judged"] if bench.asking else ["found"]

    def _firing(self, bench: Workbench, table: pd.DataFrame) -> tuple[list[Firing], int]:
        """How often each dictionary's features fire, and the number of tokens read for that."""

        def make() -> dict[str, np.ndarray]:
            each, n = firing(
                bench.subject, [one.dictionary.to(bench.subject.device) for one in bench.studied], bench.corpus,
                [presence.levels(table, one, self.lists) for one in bench.studied], tokens=self.tokens, seed=self.seed, progress=partial(bench.progress.update, "firing"),
            )  # fmt: skip
            arrays = {f"{part}_{i}": getattr(one, part) for i, one in enumerate(each) for part in _FIRING}
            return arrays | {"n": np.array(n)}

        arrays = bench.folder.kept_arrays("firing", make)
        fired = [Firing(*(arrays[f"{part}_{i}"] for part in _FIRING)) for i in range(len(bench.studied))]
        return fired, int(arrays["n"])

    def _candidates(self, bench: Workbench) -> pd.DataFrame:
        """The strongest features at every concept, silent ones among them."""

        def make() -> pd.DataFrame:
            hook_points = list(dict.fromkeys(each.dictionary.hook_point for each in bench.studied))
            frames = []
            for family in self.lists:
                progress = partial(bench.progress.update, f"prompts of {family.name}")
                values, counted = last_token_values(bench.subject, family.prompts, hook_points, progress)
                counted = counted.reshape(len(family.concepts), -1)
                for each in bench.studied:
                    x = values[each.dictionary.hook_point]
                    x = x.reshape(len(family.concepts), len(family.templates), -1)
                    top = strongest(each.dictionary.to(x.device), x, counted, self.top)
                    frames.append(presence.candidates(each, family, top))
            return pd.concat(frames, ignore_index=True)

        return bench.folder.kept_frame("candidates", make)

    def _counts(self, bench: Workbench) -> dict[str, int]:
        """The count of each concept in the corpus."""
        names = list(dict.fromkeys(concept for family in self.lists for concept in family.concepts))

        def make() -> pd.DataFrame:
            progress = partial(bench.progress.update, "counting names")
            counted = name_counts(bench.corpus, bench.subject.tokenizer, names, progress)
            return pd.DataFrame({"concept": names, "count": counted})

        frame = bench.folder.kept_frame("counts", make)
        return {str(name): int(n) for name, n in zip(frame["concept"], frame["count"], strict=True)}

    def _judged(self, bench: Workbench, table: pd.DataFrame) -> pd.Series:
        """The judge's verdict on each row with an explanation; not known elsewhere."""
        blank = pd.Series(pd.NA, index=table.index, dtype="boolean")
        if not bench.asking:
            return blank
        nouns = {family.name: family.noun for family in self.lists}
        explained = table[table["explanation"] != ""]
        if explained.empty:
            raise UsageError(
                "no feature that is active on these concepts has an explanation to judge: leave --judge out, or name a run (--from) whose"
                " units.feature_ids are the candidates of study.json"
            )
        claims = [
            Claim(str(concept), nouns[str(name)], str(explanation))
            for concept, name, explanation in zip(explained["concept"], explained["list"], explained["explanation"], strict=True)
        ]  # fmt: skip
        verdicts = judge(bench, PresenceRubric.model_validate(self.rubric), claims)
        blank.loc[explained.index] = pd.array([verdicts[claim] for claim in claims], dtype="boolean")
        return blank

    def _finding(
        self, bench: Workbench, found: pd.DataFrame, table: pd.DataFrame, fitted: Sequence[NamedCurve], n_tokens: int
    ) -> Finding:
        shown = found.sort_values(["found", "count"], ascending=False, kind="stable").reset_index(drop=True)
        first = table.sort_values("specific", ascending=False, kind="stable").reset_index(drop=True)
        records = pd.DataFrame([curve.record for curve in fitted])
        listings = (
            Listing("curves", "Where half of the concepts are present, with 95% intervals; an end that is n/a is open", records, _CURVES),
            Listing("concepts", "Concepts, found ones first", shown, _CONCEPTS, rows=40),
            Listing("candidates", "The strongest features at each concept, specific ones first", first, _CANDIDATES),
        )  # fmt: skip
        values = {
            "curves": records.astype(object).where(records.notna(), None).to_dict("records"),
            "found": {
                name: {
                    family: [int(part["found"].sum()), int(part["found"].count())]
                    for family, part in of.groupby("list", sort=False)
                }
                for name, of in found.groupby("dictionary", sort=False)
            },
            "tokens": n_tokens,
            "candidates": sorted({int(unit_id.split("-")[1]) for unit_id in table["unit_id"]}),
        }
        own = [curve for curve in fitted if curve.way == "found"]
        nouns = {family.name: family.noun for family in self.lists}
        return Finding(
            "Completeness",
            tuple(prose.sentences(found, nouns, fitted, self.top, self.others, self.rate)),
            listings,
            tuple(pictures(own)),
            values,
            tuple(prose.cautions(found, own, n_tokens, bench.corpus.n_tokens)),
        )


def cover(lists: Sequence[str] = (), files: Sequence[Path] = (), rubric: Path | None = None, **settings: Any) -> Cover:
    """The study of lists by name and of files; of all lists that come with the program if neither is given. Raises `UsageError`."""
    chosen = [shipped(name) for name in (lists or (() if files else available()))] + [load(path) for path in files]
    names = [family.name for family in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"there are two lists with the name {twice[0]!r}: rename one, or leave it out")
    return Cover(tuple(chosen), rubric=load_rubric(rubric or DEFAULT).model_dump(mode="json"), **settings)
