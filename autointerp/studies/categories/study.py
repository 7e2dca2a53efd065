"""The study `categories`: features that respond to probe texts of a category more than to matched controls, and their generality.

Each feature's maxima over the texts are compared by a rank-sum test, and within each category the false discovery rate is controlled
(Benjamini and Hochberg 1995). Features that fire in too few texts to be found whatever their order are not tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from autointerp.formatting import number, percent, plural
from autointerp.hashing import content_hash
from autointerp.studies.categories import drawing, evidence, generality, rank_sums
from autointerp.studies.categories.probe_lists import Category, parallel_lists, probe_lists
from autointerp.studies.finding import Finding, Listing
from autointerp.studies.search.contexts import described
from autointerp.studies.search.text_ways import read_values
from autointerp.studies.workbench import Studied, Workbench
from sae.dictionary import Dictionary
from sae.studies.readings import TextValues, readings

WARNING = (
    "Finding a feature is not finding the behaviour: a feature that is active on texts about deception does not show that the model"
    " deceives, and a model can deceive without it. The paper shows no feature to be useful for safety (Scaling Monosemanticity,"
    " “Safety-Relevant Features”)."
)
SMALLEST_P = 0.001
"""Features that cannot have a p as small as this, because they fire in too few texts, are not tested."""
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
    version: ClassVar[int] = 1
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


def tested(dictionary: Dictionary, values: TextValues, chosen: tuple[Category, ...]) -> pd.DataFrame:
    """A row for each test: columns `category`, `feature`, `auroc`, `p`, `mean_probe` and `mean_control` (means of the texts' maxima)."""
    parts = []
    for chunk in readings(dictionary, values):
        maximum, first = chunk.maximum.numpy(), 0
        for each in chosen:
            n, m = len(each.probes), len(each.controls)
            own = maximum[first : first + n + m]
            first += n + m
            least = max(SMALLEST_P, float(rank_sums.smallest_p(np.array([n]), n, m)[0]))
            columns = np.flatnonzero(rank_sums.smallest_p((own > 0).sum(axis=0), n, m) <= least)
            auroc, p = rank_sums.higher(own[:, columns], np.arange(n + m) < n)
            means = {"mean_probe": own[:n, columns].mean(axis=0), "mean_control": own[n:, columns].mean(axis=0)}
            parts.append(pd.DataFrame({"category": each.name, "feature": columns + chunk.start, "auroc": auroc, "p": p, **means}))  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"category": "str", "feature": "int64"})


def discovered(tests: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """The tests with a false discovery rate `q` of at most `fdr` within their category, by category, the smallest p first."""
    if tests.empty:
        return tests.assign(q=np.zeros(0))
    q = tests.groupby("category", sort=False)["p"].transform(lambda p: stats.false_discovery_control(p))
    order = {name: place for place, name in enumerate(dict.fromkeys(tests["category"]))}
    found = tests.assign(q=q, order=tests["category"].map(order), contrast=tests["mean_probe"] - tests["mean_control"])
    found = found[found["q"] <= fdr]
    return found.sort_values(
        ["order", "p", "contrast"], ascending=[True, True, False], kind="stable", ignore_index=True
    ).drop(columns=["order", "contrast"])


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
    lines = [f"Of the features called found, {percent(fdr)} are expected to be false in each category."]
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
