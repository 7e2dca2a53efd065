"""Adds evidence on the judge to a synthetic results folder: random judgements, summarised by the real code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from autointerp.findings import judge_evidence, judge_verdict
from autointerp.findings.summary import Summary
from autointerp.json_values import plain
from autointerp.stats import aid_effects

Row = dict[str, Any]

OPTIONS: dict[str, Any] = {"confidence": 0.95, "resamples": 200, "seed": 0}
KNOWN = [
    ("names of colours, such as red, blue and green", " red", " painted"),
    ("members of a family, such as mother, brother and aunt", " aunt", " visited"),
    ("numbers written in digits", " 42", " roughly"),
    ("question words: who, why, where, how", " why", " asked"),
]
GIVEN = {"sharp": {"main": 2.8, "near": 1.4, "base_rate": 0.1}, "blind": {"main": 1.1, "near": 1.0, "base_rate": 1.0}}
"""Mean grades that a judge gives to hits, near items and misses of planted units."""
N_RANDOM = 3
SECOND = "anthropic/claude-sonnet-5"
RATERS = ("ada", "grace")


def add(draw: Any, units: list[Row], summary: Row, knows: str, names: list[str] | None) -> list[Row]:
    """Add evidence, scorers and variants to the summary, and the judgements behind them to the draw; return the control units.

    `knows` is `sharp` or `blind`. `names`, if given, replace every name that a reader could see.
    """
    second, *raters = names[:3] if names else (SECOND, *RATERS)
    compared = names[3:5] if names else ["contrast", "revise"]
    base = pd.DataFrame(draw.judgements)
    main = [row for row in draw.judgements if row["arm"] == "main" and row["score"] is not None]
    known = [
        _control(draw, "planted", number, said, (word, beside), GIVEN[knows])
        for number, (said, word, beside) in enumerate(KNOWN)
    ]
    known += [
        _control(
            draw, "random_dictionary", number, "all kinds of words", (" and", " of"), {"main": 0.05, "base_rate": 0.05}
        )
        for number in range(N_RANDOM)
    ]
    draw.judgements += [row | {"repeat": n, "score": _near(draw, row, 0.25)} for row in main[::17][:20] for n in (1, 2)]
    own = pd.DataFrame(draw.judgements)
    drawn = [row | {"judge": second, "score": _near(draw, row, 0.5), "stratum": 0} for row in main[::3]]
    again = pd.DataFrame(drawn).assign(probability=1 / 3)
    draw.judgements += [{k: v for k, v in row.items() if k != "stratum"} for row in drawn]
    labels = _labels(draw, main, raters)
    for aid in compared:
        for row in main:
            draw.judgements.append(
                row
                | {"arm": "variant", "explanation_unit_id": f"{row['unit_id']}#{aid}", "score": _near(draw, row, 0.6)}
            )
    table = pd.DataFrame(units)
    everything = pd.concat([table, pd.DataFrame(known)], ignore_index=True)
    everything["bin_events"] = [[10] * draw.bins] * len(everything)
    scored = [_typed(frame) for frame in (own, again, labels)]
    found = judge_evidence.gather(scored[0], everything, *scored[1:], grades=range(4), options=OPTIONS, second=second)
    asked = _typed(pd.DataFrame([row for row in draw.judgements if row["judge"] == base["judge"].iloc[0]]))
    variants = aid_effects.effects(asked, table, scale=(0, 3), **OPTIONS)
    summary |= plain({"evidence": found, "scorers": _scorers(names), "variants": variants})
    summary["belief"] = plain(judge_verdict.of(Summary.model_validate(summary)))
    return known


def explanations(units: list[Row], aids: list[str], hostile: str = "") -> pd.DataFrame:
    """The table of explanations that were made with an aid."""
    rows = [
        (unit["unit_id"], aid, f"{unit['explanation']}, told apart by {aid}{hostile}")
        for unit in units
        if unit["explanation"]
        for aid in aids
    ]
    return pd.DataFrame(rows, columns=["unit_id", "aid", "explanation"])


def write(folder: Path, table: pd.DataFrame) -> None:
    table.to_parquet(folder / "explanations.parquet")


def _control(draw: Any, kind: str, number: int, said: str, words: tuple[str, str], given: dict[str, float]) -> Row:
    """A control unit and its judgements. `words` are marked where it is active and where it is silent."""
    unit: Row = {
        "unit_id": f"{kind}-{number}", "kind": kind, "index": number, "sign": "", "hook_point": "",
        "explanation": said, "explanation_outcome": "scored", "max_activation": 1.0, "density": 0.004, "status": "alive",
        "n_exemplars": 14, "histogram": [0] * 19 + [4000], "concept": 0,
    }  # fmt: skip
    for arm, n in (("main", 6), ("near", 3), ("base_rate", 5)):
        for place in range(n if arm in given else 0):
            exemplar = draw.exemplar(unit, len(arm) * 100 + place, draw.bins if arm == "main" else 0)
            exemplar["role"] = "near" if arm == "near" else exemplar["role"]
            exemplar["tokens"][exemplar["mark"]] = words[arm != "main"]
            draw.judgement(unit, exemplar, arm, unit["unit_id"], given[arm])
    draw.finish(unit)
    return unit


def _labels(draw: Any, main: list[Row], raters: list[str]) -> pd.DataFrame:
    rows = []
    for number, row in enumerate(main[::5]):
        item = {"number": number, "stratum": 0, "probability": 0.2} | {
            key: row[key] for key in ("exemplar_id", "unit_id", "arm", "explanation_unit_id")
        }
        rows += [item | {"rater": rater, "score": _near(draw, row, 0.55)} for rater in raters]
    return pd.DataFrame(rows)


def _near(draw: Any, row: Row, spread: float) -> int:
    return int(max(0, min(3, round(row["score"] + draw.rng.gauss(0, spread)))))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(score=frame["score"].astype("Int64"))


def _scorers(names: list[str] | None) -> list[Row]:
    def cell(mean: float | None, n: int = 12) -> Row:
        sure = mean is not None and n > 2
        return {
            "mean": mean,
            "ci_low": mean - 0.06 if sure and mean else None,
            "ci_high": mean + 0.07 if sure and mean else None,
            "n": n,
        }

    def figure(name: str, meaning: str, values: tuple[float | None, ...], undefined: int = 0) -> Row:
        feature, neuron = values[:2]
        difference = None if feature is None or neuron is None else feature - neuron
        limits = (None, None) if difference is None else (difference - 0.08, difference + 0.08)
        kinds = dict(zip(("feature", "neuron", "planted"), map(cell, values), strict=True))
        return {"figure": name, "meaning": meaning, "undefined": undefined, **kinds, "difference": difference,
                "ci_low": limits[0], "ci_high": limits[1], "p_superior": 0.7}  # fmt: skip

    def scorer(name: str, source: str, chance: float | None, figures: list[Row], unscored: Row) -> Row:
        return {"scorer": name, "source": source, "needs_explanation": name != "intruder", "chance": chance, "n": 480,
                "n_unscored": sum(unscored.values()), "unscored": unscored, "figures": figures}  # fmt: skip

    found = [
        scorer("detection", "Paulo et al. 2024", 0.5, [
            figure("balanced_accuracy", "mean of two shares", (0.81, 0.66, 0.95)),
            figure("f1", "harmonic mean of precision and recall", (0.79, 0.6, 0.94), 2)], {"parse_failure": 3, "refusal": 1}),
        scorer("simulation", "Bills et al. 2023", 0.0, [figure("correlation", "of true and simulated", (0.31, -0.04, None), 4)], {}),
        scorer("sensitivity", "ours", None, [figure("sensitivity", "share of texts that fire", (0.4, 0.2, 0.9))], {"gave_up": 2}),
    ]  # fmt: skip
    for place, (row, name) in enumerate(zip(found, names or [], strict=False)):
        row |= {"scorer": name, "source": names[-1 - place] if names else ""}
        row["figures"][0] |= {"figure": name, "meaning": name}
        row["unscored"] = {name: 2}
    return found
