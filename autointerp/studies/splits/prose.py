"""The sentences of the study `split`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from autointerp.formatting import count, estimate, number, percent, plural
from autointerp.studies.splits import absorption
from autointerp.studies.splits.compared import Compared, unit_id
from autointerp.studies.splits.trees import Level
from sae.studies.matching import FEWEST, TOGETHER


def sentences(
    compared: Compared,
    features: pd.DataFrame,
    headlines: list[dict[str, Any]],
    levels: list[Level],
    absorbed: pd.DataFrame,
    cosine: float,
) -> Iterator[str]:
    """Stability, grades, splitting and absorption."""
    for studied in compared.studied:
        own = features[features["dictionary"] == studied.name]
        everywhere, nowhere = int((own["found_in"] == own["of"]).sum()), int((own["found_in"] == 0).sum())
        others = "the other dictionary" if len(compared) == 2 else f"all {len(compared) - 1} others"
        if len(own):
            yield (
                f"{studied.name}: of {plural(len(own), 'feature')} that fire, {_share(everywhere, len(own))} are found again in"
                f" {others} and {_share(nowhere, len(own))} in none."
            )
    for row in headlines:
        stable = (
            f"{_grade(row['stable'])} over the {count(row['stable']['n'])} that are found again in every other dictionary"
            if row["stable"]["n"]
            else "none of them is found again in every other dictionary"
        )
        graded = plural(row["all"]["n"], "graded feature")
        yield f"{row['dictionary']}: the mean grade is {_grade(row['all'])} over {graded}, and {stable}."
    for level in levels:
        yield from _splitting(level.values(compared))
    if not levels:
        yield "The dictionaries have one size, so there is no tree."
    yield from _absorption(compared, absorbed)
    yield (
        f"Found again: each other's nearest by decoder cosine, at {number(cosine)} or more, and a Jaccard index of firing of at least"
        f" {number(TOGETHER)} if both fire at {FEWEST} tokens or more. {plural(len(compared.sampled.context), 'token')} were read."
    )


def of_probe(compared: Compared, accuracy: float | None) -> Iterator[str]:
    """How well the probe of the user's texts works, if there is one, and which features it is the witness of."""
    if compared.probe is None:
        return
    tested = (
        "there are too few texts to test it" if accuracy is None
        else f"on texts that it was not fitted to it has a balanced accuracy of {number(accuracy)}"
    )  # fmt: skip
    mains = [
        f"{unit_id(main)} of {compared.name(i)}"
        for i, main in enumerate(absorption.main_features(compared)) if main is not None
    ]  # fmt: skip
    yield (
        f"The probe of the texts says that its concept holds at {plural(int(compared.probe.counts[0]), 'token')}; {tested}. It is a witness of"
        f" the feature whose firing agrees best with it: {', '.join(mains) or 'none'}."
    )


def cautions(compared: Compared, tokens: int, cosine: float) -> Iterator[str]:
    """A sample cut short, many features too rare for it, and a cosine that chance reaches."""
    read = len(compared.sampled.context)
    if read < tokens / 2:
        yield f"Only {count(read)} of {count(tokens)} tokens were read: rare features are missing from every table."
    for studied, side in zip(compared.studied, compared.sides, strict=True):
        rare = 1 - side.fires.mean()
        if rare > 0.5:
            yield (
                f"{percent(rare)} of the features of {studied.name} fire at fewer than {FEWEST} of the tokens and are left out: raise"
                " --tokens."
            )
    highest = max(compared.chance.values())
    if highest >= cosine:
        yield (
            f"After a random rotation, 1% of features have a nearest one with a cosine above {number(highest)}: raise --cosine, which is"
            f" {number(cosine)}."
        )


def _splitting(values: dict[str, Any]) -> Iterator[str]:
    most = len(values["children"]) - 1
    yield (
        f"From {values['smaller']} to {values['larger']}: of {plural(values['features'], 'feature')}, {count(values['split'])} split into two"
        f" or more (at most {most}), {count(values['one'])} stay one, and {count(values['lost'])} have no child; {count(values['new'])} of"
        f" {plural(values['larger_features'], 'feature')} of the larger have no parent."
    )


def _absorption(compared: Compared, absorbed: pd.DataFrame) -> Iterator[str]:
    if absorbed.empty:
        yield "No feature is absorbed by another."
    for name, values in absorption.values(absorbed).items():
        yield (
            f"{name}: {plural(values['features'], 'feature')} with {plural(values['absorbers'], 'absorber')}; at the median, an absorbed"
            f" feature is silent at {percent(values['median_missed'])} of the tokens at which its concept holds."
        )
    if "held" in absorbed and absorbed["held"].notna().any():
        rows = absorbed["held"].dropna()
        yield (
            f"The judge says that the explanation holds at {percent(float(rows.mean()))} of the absorbed tokens it was shown, of"
            f" {plural(len(rows), 'pair')} of a feature and an absorber."
        )


def _share(n: int, of: int) -> str:
    return f"{count(n)} ({percent(n / of)})"


def _grade(interval: dict[str, Any]) -> str:
    return estimate(interval["mean"], interval["low"], interval["high"])
