"""The study `categories`: features that respond to probe texts of a category more than to matched controls, and their generality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from autointerp.formatting import number, percent, plural
from autointerp.hashing import content_hash
from autointerp.studies.categories import drawing, evidence, generality
from autointerp.studies.categories.discoveries import discovered, tested
from autointerp.studies.categories.probe_lists import Category, parallel_lists, probe_lists
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.search.contexts import described
from autointerp.studies.search.text_ways import read_values
from autointerp.studies.workbench import Studied, Workbench

WARNING = (
    "Finding a feature is not finding the behaviour: a feature that is active on texts about deception does not show that the model"
    " deceives, and a model can deceive without it. The paper shows no feature to be useful for safety (Scaling Monosemanticity,"
    " “Safety-Relevant Features”)."
)
_FEATURES = {
    "unit_id": "feature",
    "category": "category",
    "auroc": "AUROC",
    "q": "q",
    "mean_probe": "mean on probes",
    "mean_control": "on controls",
    "explanation": "explanation",
    "context": "strongest context in the probes",
}


@dataclass(frozen=True)
class Categories:
    """Settings of the study. Memory grows with the tokens of the texts, and with the features that are tested."""

    name: ClassVar[str] = "categories"
    version: ClassVar[int] = 2
    reads_text: ClassVar[bool] = False
    texts: str
    """Hash of all texts."""
    file: str | None = None
    """A file of categories; by default those of the package."""
    chosen: tuple[str, ...] = ()
    """Names of categories; by default all."""
    fdr: float = 0.05

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` and `SaeError`; each dictionary's tests are kept."""
        chosen = probe_lists(Path(self.file) if self.file else None).named(self.chosen)
        listed, rows, texts, general = [], [], [], []
        for order, studied in enumerate(bench.studied):
            values = read_values(bench, studied, [text for each in chosen for text in (*each.probes, *each.controls)])
            tests = bench.folder.kept_frame(f"tests-{order}", partial(tested, studied.dictionary, values, chosen))
            found = discovered(tests, self.fdr)
            found = described(found, studied, values)
            listed.append(found)
            rows += [_summary(each, studied, tests, found) for each in chosen]
            texts.append(evidence.evidence(found, studied, values, chosen))
            general.append(generality.generality(bench, studied, parallel_lists().set))
        features, summary = pd.concat(listed, ignore_index=True), pd.DataFrame(rows)
        several = {"dictionary": "dictionary"} if len(bench.studied) > 1 else {}
        return Finding(
            "Features of categories",
            (*_sentences(summary, self.fdr), *(line for each in general for line in each.sentences)),
            (
                Listing("categories", "Categories", summary, {"category": "category", **several, **_SUMMARY}),
                Listing("features", "Features that respond to a category more than to its controls", features, _FEATURES | several, 60),
                Listing("evidence", "Texts with the activations of the first features", pd.concat(texts, ignore_index=True), evidence.COLUMNS, 60),
                *generality.listings(general, several),
            ),
            pictures=(drawing.picture(general, several=bool(several)),),
            values={"categories": summary.to_dict("records"), "generality": [each.figures for each in general]},
            cautions=(WARNING,),
        )  # fmt: skip


_SUMMARY = {
    "group": "group",
    "found": "features found",
    "tested": "tested",
    "first": "first feature",
    "auroc": "AUROC",
    "explanation": "explanation",
}


def categories(file: str | None = None, chosen: tuple[str, ...] = (), fdr: float = 0.05) -> Categories:
    """The study of a file's categories, or of the package's. Raises `UsageError`."""
    lists = probe_lists(Path(file) if file else None).named(chosen)
    texts: list[Any] = [each.model_dump() for each in (*lists, *parallel_lists().set)]
    return Categories(content_hash(texts), file, tuple(chosen), fdr)


def _summary(category: Category, studied: Studied, tests: pd.DataFrame, found: pd.DataFrame) -> dict[str, Any]:
    own = found[found["category"] == category.name]
    first = own.iloc[0] if len(own) else None
    return {
        "category": category.name,
        "group": category.group,
        "dictionary": studied.name,
        "found": len(own),
        "tested": int((tests["category"] == category.name).sum()),
        "first": None if first is None else str(first["unit_id"]),
        "auroc": None if first is None else float(first["auroc"]),
        "explanation": None if first is None else str(first["explanation"]),
    }


def _sentences(summary: pd.DataFrame, fdr: float) -> list[str]:
    """One sentence for each category and dictionary."""
    lines = [f"Of the features called found in a category, at most {percent(fdr)} are false on average."]
    for row in summary.to_dict("records"):
        which = f"{row['category']}, {row['dictionary']}: "
        if not row["found"]:
            lines.append(
                f"{which}no feature is more active on the probes than on the controls, of {row['tested']:,} tested."
            )
            continue
        explanation = f" ({row['explanation']})" if row["explanation"] else ""
        lines.append(
            f"{which}{plural(row['found'], 'feature')} of {row['tested']:,} tested, first {row['first']}{explanation}"
            f" with an AUROC of {number(row['auroc'])}."
        )
    return lines
