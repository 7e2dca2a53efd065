"""The study `find`, as its command gives it: one way to find features, carried out on each dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from autointerp.errors import UsageError
from autointerp.harvest.input_paths import stamps
from autointerp.hashing import content_hash
from autointerp.spec.study_sections import FIND_WAYS
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.search import drawing
from autointerp.studies.search.contexts import described
from autointerp.studies.search.firing_shift import FiringShift
from autointerp.studies.search.other_ways import ByAttribution, ByMeaning, ByNeighbour, ByWords
from autointerp.studies.search.text_ways import BySets, ByText, ByTexts
from autointerp.studies.search.way import KEPT, Way
from autointerp.studies.study import Study
from autointerp.studies.workbench import Workbench

NOT_A_CAUSE = "An active feature is not yet one that the model uses for its answer: autointerp steer and autointerp attribute test that."


@dataclass(frozen=True)
class Find:
    """Features found in one way, in every dictionary given."""

    name: ClassVar[str] = "find"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = False
    by: str
    """Name of the way."""
    way: Way

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` and `SaeError`."""
        frames, sentences, pictures, figures = [], [], [], {}
        for number, studied in enumerate(bench.studied, 1):
            found = self.way.find(bench, studied)
            if found.values is not None and found.n_first and len(found.frame):
                name = "texts" if len(bench.studied) == 1 else f"texts-{number}"
                features = found.frame["feature"].astype(int).tolist()
                pictures.append(drawing.picture(studied, features, found.values, found.n_first, name))
            frames.append(described(found.frame.head(KEPT), studied, found.values))
            sentences.append(found.sentence)
            figures[studied.name] = {"listed": len(found.frame), **found.figures}
        frame = pd.concat(frames, ignore_index=True).sort_values(
            "score", ascending=False, kind="stable", ignore_index=True
        )
        several = {"dictionary": "dictionary"} if len(bench.studied) > 1 else {}
        columns = {
            "unit_id": "feature",
            **several,
            **self.way.columns,
            "explanation": "explanation",
            "context": "strongest context",
        }
        if frame["grade"].notna().any():
            columns["grade"] = "mean grade"
        return Finding(
            self.way.title,
            (*_first(frame), *sentences),
            (Listing("features", self.way.title, frame, columns),),
            pictures=tuple(pictures),
            values={"dictionaries": figures},
            cautions=(NOT_A_CAUSE,) if self.way.name in ("--text", "--on", "--with") else (),
        )


def find(**settings: Any) -> Study:
    """The study that these options of the command choose. Raises `UsageError` unless they choose one way."""
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    seed, ways = given.pop("seed", 0), _WAYS
    chosen = [name for name in ways if name in given]
    options = ", ".join(f"--{name}" for name in ways)
    if len(chosen) != 1:
        problem = (
            f"{' and '.join(f'--{name}' for name in chosen)} exclude each other"
            if chosen
            else "no way to find features"
        )
        raise UsageError(f"{problem}: give one of {options}")
    allowed = {chosen[0], *FIND_WAYS[chosen[0]]}
    if strange := [name for name in given if name not in allowed]:
        belongs = next(way for way, names in FIND_WAYS.items() if strange[0] in names)
        raise UsageError(f"--{strange[0]} belongs to --{belongs}, not to --{chosen[0]}: remove one of them")
    return ways[chosen[0]](given, seed)


def _study(way: Way) -> Find:
    return Find(way.name, way)


def _attributed(given: Mapping[str, Any]) -> ByAttribution:
    if "target" not in given:
        raise UsageError("--prompt needs an answer: give --target with its token")
    return ByAttribution(given["prompt"], given["target"], given.get("against"))


_WAYS: dict[str, Callable[[Mapping[str, Any], int], Study]] = {
    "text": lambda given, seed: _study(ByText(given["text"], given.get("at"))),
    "on": lambda given, seed: _study(ByTexts(given["on"], given.get("off", ()))),
    "with": lambda given, seed: _study(BySets(given["with"], given.get("without", ()), seed)),
    "prompt": lambda given, seed: _study(_attributed(given)),
    "like": lambda given, seed: _study(ByNeighbour(given["like"])),
    "words": lambda given, seed: _study(ByWords(given["words"])),
    "meaning": lambda given, seed: _study(ByMeaning(given["meaning"])),
    "new": lambda given, seed: FiringShift(
        given["new"],
        content_hash([stamps(source) for source in given["new"]]),
        seed=seed,
        **{k: given[k] for k in FIND_WAYS["new"] if k in given},
    ),
}
"""The study of each option that chooses a way."""


def _first(frame: pd.DataFrame) -> list[str]:
    """A sentence on the first feature."""
    if frame.empty:
        return ["No feature was found."]
    first = frame.iloc[0]
    explanation = f" ({first['explanation']})" if first["explanation"] else ""
    return [f"First is {first['unit_id']} of {first['dictionary']}{explanation}."]
