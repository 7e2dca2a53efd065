"""The tables and sentences of a steering study, from the continuations of all prompts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from autointerp.formatting import NOT_AVAILABLE, number, plural
from autointerp.stats import means
from autointerp.studies.finding import Listing
from autointerp.studies.steering.measurement import FEW_SHOT, PROBE, RANDOM, STEERED, UNSTEERED, Arms
from autointerp.studies.steering.units import SteeredUnit

HEADINGS = {STEERED: "Steered", RANDOM: "Random direction", FEW_SHOT: "Few-shot direction", PROBE: "Probe direction"}
_SHOWN, _FIRST = 3, 5
"""Tokens that a sentence names, and tokens of each factor that the page shows."""


def joined(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def amount(value: float) -> str:
    """A positive number of any size: `4.81`, `1,040`, `n/a`."""
    return NOT_AVAILABLE if math.isnan(value) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def by_factor(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per arm and factor: changed continuations, perplexity of the unsteered text, and mean grades if there are any.

    `damage` is the mean over prompts of the increase of the loss per token, with a 95% t interval if there are 3 prompts.
    """
    plain = frame[frame["arm"] == UNSTEERED].set_index("prompt")
    rows = []
    for arm, factor, part in _groups(frame, "arm"):
        before = plain.loc[part["prompt"]]
        read = part["n_tokens"].to_numpy() > 0
        tokens = part["n_tokens"].to_numpy()[read]
        increase = (part["loss"].to_numpy()[read] - before["loss"].to_numpy()[read]) / tokens
        low, high = _interval(increase)
        row: dict[str, Any] = {
            "factor": factor,
            "arm": arm,
            "n_prompts": len(part),
            "n_changed": int((part["continuation"].to_numpy() != before["continuation"].to_numpy()).sum()),
            "perplexity": _perplexity(part),
            "unsteered_perplexity": _perplexity(before),
            "damage": float(increase.mean()) if len(increase) else math.nan,
            "damage_low": low,
            "damage_high": high,
        }
        if "on_target" in frame:
            for name in ("on_target", "coherence"):
                row[name] = _mean(part[name])
                row[f"unsteered_{name}"] = _mean(before[name])
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["factor"], kind="stable", ignore_index=True)


def listings(frame: pd.DataFrame, factors: pd.DataFrame) -> Iterator[Listing]:
    """The tables that readers are shown, and the whole table of continuations."""
    columns = {
        "factor": "Factor", "arm": "Arm", "n_changed": "Continuations changed", "perplexity": "Perplexity of the unsteered text",
        "damage": "Loss added, nats per token", "damage_low": "95% from", "damage_high": "to",
    }  # fmt: skip
    if "on_target" in factors:
        columns |= {"on_target": "On target (0-3)", "coherence": "Coherence (0-3)"}
    yield Listing(
        "factors",
        "Each factor, beside the baselines; intervals over prompts, from 3 prompts on",
        factors,
        columns,
        rows=40,
    )
    side = side_by_side(frame)
    shown = {"prompt": "Prompt", "factor": "Factor", UNSTEERED: "Unsteered"}
    shown |= {arm: heading for arm, heading in HEADINGS.items() if arm in side}
    yield Listing("side_by_side", "Continuations side by side", side, shown, rows=50)
    risen = risen_tokens(frame)
    columns = {
        "token": "Token", "factor": "Factor", "arm": "Arm", "n_prompts": "Prompts", "change": "Change of log-probability",
        "before": "Probability before", "after": "Probability after",
    }  # fmt: skip
    caption = "Tokens after the prompt whose log-probability rose most, among those that reach 0.001; means over the prompts named"
    yield Listing("risen", caption, risen, columns, rows=int((risen["rank"] <= _FIRST).sum()))
    columns = {"prompt": "Prompt", "arm": "Arm", "factor": "Factor", "continuation": "Continuation"}
    yield Listing("continuations", "All continuations, with their losses and tokens that rose", frame, columns, rows=5)


def side_by_side(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per prompt and factor, with a column of continuations for every arm."""
    plain = frame[frame["arm"] == UNSTEERED].set_index("prompt")["continuation"]
    rows = []
    for prompt, factor, part in _groups(frame, "prompt"):
        texts = dict(zip(part["arm"], part["continuation"], strict=True))
        rows.append({"prompt": prompt, "factor": factor, UNSTEERED: plain[prompt]} | texts)
    return pd.DataFrame(rows)


def risen_tokens(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, factor and token: in how many prompts it is among those that rose most, and its mean change there.

    The first tokens of every arm and factor come before all others.
    """
    rows = []
    for arm, factor, part in _groups(frame, "arm"):
        counts: Counter[str] = Counter()
        sums: dict[str, np.ndarray] = {}
        for text in part["risen"]:
            for token, before, after, change in json.loads(text):
                counts[token] += 1
                sums[token] = sums.get(token, np.zeros(3)) + np.array([before, after, change])
        for token, n in counts.items():
            before, after, change = sums[token] / n
            rows.append({"token": token, "factor": factor, "arm": arm, "n_prompts": n, "change": change, "before": before, "after": after})  # fmt: skip
    columns = ["token", "factor", "arm", "n_prompts", "change", "before", "after"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.sort_values(["n_prompts", "change"], ascending=False, kind="stable")
    table["rank"] = table.groupby(["arm", "factor"]).cumcount() + 1
    keys = table.assign(_later=table["rank"] > _FIRST, _baseline=table["arm"] != STEERED)
    order = keys.sort_values(
        ["_later", "_baseline", "arm", "factor", "rank"], ascending=[True, True, True, False, True], kind="stable"
    )
    return order[[*columns, "rank"]].reset_index(drop=True)


def _groups(frame: pd.DataFrame, by: str) -> Iterator[tuple[str, float, pd.DataFrame]]:
    """The changed rows of each value of `by` and each factor, in the order of the frame."""
    for key, part in frame[frame["arm"] != UNSTEERED].groupby([by, "factor"], sort=False):
        value, factor = cast("tuple[str, float]", key)
        yield value, float(factor), part


def sentences(
    units: Sequence[SteeredUnit], arms: Arms, frame: pd.DataFrame, factors: pd.DataFrame, expected: str
) -> Iterator[str]:
    """What was done, and what it changed at the highest and the lowest factor."""
    values = factors["factor"].drop_duplicates().tolist()
    verb = "raised by" if arms.intervention.added else "set to"
    means_of = joined([f"{u.name} (maximum {u.maximum:.3g}, {u.source}{_explained(u)})" for u in units])
    beside = joined([HEADINGS[arm].lower() for arm in arms.names[1:]])
    yield (
        f"{means_of} {'was' if len(units) == 1 else 'were'} {verb} {joined([_minus(value) for value in values])} times the maximum in"
        f" {plural(frame['prompt'].nunique(), 'prompt')}, beside a {beside} of the same norm."
    )
    for factor in dict.fromkeys([max(values), min(values)]):
        yield _effect(frame, factors, factor)
    if arms.concept:
        for hook_point, accuracy in arms.concept.accuracy.items():
            if accuracy is not None:
                yield f"The probe at {hook_point} tells held-out texts of the two sets apart with balanced accuracy {number(accuracy)}."
    if "on_target" in factors:
        yield _graded(factors, expected)


def _effect(frame: pd.DataFrame, factors: pd.DataFrame, factor: float) -> str:
    own, random = (_row(factors, arm, factor) for arm in (STEERED, RANDOM))
    risen = risen_tokens(frame)
    tokens = risen[(risen["arm"] == STEERED) & (risen["factor"] == factor)].head(_SHOWN)["token"].tolist()
    text = (
        f"At factor {_minus(factor)}, {own['n_changed']} of {plural(own['n_prompts'], 'continuation')} changed (random direction:"
        f" {random['n_changed']}), and the unsteered text's perplexity went from {amount(own['unsteered_perplexity'])} to"
        f" {amount(own['perplexity'])}{_times(own)} (random direction: {amount(random['perplexity'])})"
    )
    return text + (f"; the tokens that rose most are {joined([repr(token) for token in tokens])}." if tokens else ".")


def _graded(factors: pd.DataFrame, expected: str) -> str:
    own = factors[factors["arm"] == STEERED]
    if own["on_target"].isna().all():
        return "No continuation could be graded."
    best = own.iloc[int(own["on_target"].fillna(-1).to_numpy().argmax())]
    random = _row(factors, RANDOM, float(best["factor"]))
    highest = "highest " if len(own) > 1 else ""
    return (
        f"For “{expected}” the judge grades continuations {highest}at factor {_minus(float(best['factor']))}: on target"
        f" {number(best['on_target'])} of 3 (random direction {number(random['on_target'])}, unsteered"
        f" {number(best['unsteered_on_target'])}), coherence {number(best['coherence'])} of 3 (random direction"
        f" {number(random['coherence'])}, unsteered {number(best['unsteered_coherence'])})."
    )


def _row(factors: pd.DataFrame, arm: str, factor: float) -> pd.Series[Any]:
    return factors[(factors["arm"] == arm) & (factors["factor"] == factor)].iloc[0]


def _explained(unit: SteeredUnit) -> str:
    return f", “{unit.explanation}”" if unit.explanation else ""


def _minus(factor: float) -> str:
    return f"{factor:g}".replace("-", "\u2212")


def _times(row: pd.Series[Any]) -> str:
    if math.isnan(row["damage_low"]):
        return ""
    low, mean, high = (math.exp(min(row[name], 700.0)) for name in ("damage_low", "damage", "damage_high"))
    return f", {amount(mean)}-fold [{amount(low)}, {amount(high)}]"


def _perplexity(rows: pd.DataFrame) -> float:
    tokens = int(rows["n_tokens"].sum())
    return math.exp(min(float(rows["loss"].sum()) / tokens, 700.0)) if tokens else math.nan


def _interval(values: np.ndarray) -> tuple[float, float]:
    sample = means.finite(values)
    if means.no_spread(sample, "prompts"):
        return math.nan, math.nan
    spread = means.spread(sample)
    return means.limits(spread, means.quantile(spread.freedom, 0.95), None)


def _mean(values: pd.Series[Any]) -> float:
    known = values.dropna()
    return float(known.mean()) if len(known) else math.nan
