"""The verdict on the judge: every check at its threshold, and with every part of the evidence missing."""

from __future__ import annotations

import copy
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.results import summaries as report_data

from autointerp.findings import judge_checks, judge_verdict
from autointerp.findings import summary as summary_model
from autointerp.findings.caveats import caveats
from autointerp.stats.agreement import coefficients

Summary = dict[str, Any]
NO_EXEMPLARS = pd.DataFrame({"role": pd.Series(dtype=str), "token_activations": pd.Series(dtype=object)})


def figure(value: float | None, low: float | None = None, high: float | None = None, why: str | None = None) -> Summary:
    return {"value": value, "ci_low": low, "ci_high": high, "why": why}


def pair(name: str, kappa: Summary, n: int = 60) -> Summary:
    same = figure(0.8, 0.7, 0.9)
    others = dict.fromkeys(("exact", "adjacent", "ac2", "alpha", "difference"), same)
    return {"a": "judge", "b": name, "n": n, "n_units": 20, "grades": [0], "confusion": [[n]], "kappa": kappa, **others}


def planted(hits: tuple[int, int], misses: tuple[int, int], *, separates: bool = True, n_units: int = 6) -> Summary:
    """Planted units; `hits` and `misses` are the numbers of items graded 0 and graded 3."""

    def part(given: tuple[int, int]) -> Summary:
        total = sum(given)
        mean = 3 * given[1] / total if total else None
        return {
            "mean": mean,
            "ci_low": mean,
            "ci_high": mean,
            "n": n_units,
            "given": {"0": given[0], "1": 0, "2": 0, "3": given[1]},
        }

    separation = {"mean": 2.0, "ci_low": 1.5 if separates else -0.1, "ci_high": 2.4, "n": n_units}
    parts = {"hits": part(hits), "near": part((9, 9)), "misses": part(misses)}
    return {"n_units": n_units, **parts, "right": 0.9, "separation": separation, "separates": separates}


def corrected(value: float | None, low: float | None, high: float | None, why: str | None = None) -> Summary:
    return {"difference": figure(value, low, high, why)}


def trusted() -> Summary:
    """A run in which everything was measured and the judge passes every check."""
    contrast = {"difference": 1.0, "ci_low": 0.8, "ci_high": 1.2, "n_units": 40}
    noise = {"n": 20, "flip_rate": figure(0.1, 0.0, 0.2), "icc_single": figure(0.9, 0.8, 0.95)}
    agreeing = figure(0.7, 0.55, 0.8)
    claim = {"difference": 0.5, "ci_low": 0.2, "ci_high": 0.8}
    unscored = {"unscored_share": 0.01, "main_unscored_share": {"feature": 0.01, "neuron": 0.0}}
    return unscored | {
        "judge": "openai/gpt-5-mini",
        "judge_is_llm": True,
        "explainer": "anthropic/claude-haiku-4-5",
        "explainer_is_llm": True,
        "rubric": {"levels": [{"grade": g, "text": ""} for g in range(4)]},
        "headline": dict(claim),
        "weightings": {"bin_uniform": dict(claim)},
        "headline_bounds": {"low": 0.4, "high": 0.6},
        "denominator": {},
        "density": {"ratio": None},
        "difference_if_unscored_units_are_zero": None,
        "controls": {
            "main": {"all": {"mean": 2.0, "n": 900, "n_unscored": 9}},
            "base_rate": {"all": {"mean": 0.2, "n": 90, "n_unscored": 0}},
            "main_minus_shuffled": dict(contrast),
            "main_minus_base_rate": dict(contrast),
        },
        "distinction": {
            kind: {"value": 0.71, "ci_low": 0.66, "ci_high": 0.76, "chance": 0.2, "n_units": 40, "n_undefined": 0}
            for kind in ("feature", "neuron")
        },
        "evidence": {
            "planted": planted((1, 35), (30, 0)),
            "repeats": noise,
            "random": {"random_dictionary": dict.fromkeys(("mean", "ci_low", "ci_high", "dead", "density"), 0.2) | dict.fromkeys(("n", "n_units", "n_alive", "n_explained"), 20) | {"features_minus": {"difference": 1.0, "ci_low": 0.8, "ci_high": 1.2}}},
            "second": {"judge": "openai-compatible/Qwen2.5-7B", "n": 60, "agreement": pair("qwen", agreeing), "corrected": corrected(0.4, 0.1, 0.7)},
            "people": {"agreement": [pair("ada", agreeing)], "corrected": corrected(0.4, 0.1, 0.7)},
        },
    }  # fmt: skip


def changed(**parts: Any) -> Summary:
    """`trusted`, with keys such as `evidence__repeats__n` set."""
    summary = copy.deepcopy(trusted())
    for path, value in parts.items():
        at: Any = summary
        *names, last = path.split("__")
        for name in names:
            at = at[int(name)] if isinstance(at, list) else at[name]
        at[last] = value
    return summary


@cache
def whole() -> Summary:
    with tempfile.TemporaryDirectory() as folder:
        return report_data.make(Path(folder) / "run", n_features=3, n_neurons=3, bins=2, per_bin=2, knows="sharp")


def complete(part: Summary, whole: Summary) -> Summary:
    """`whole` with the values of `part`; a value of another type replaces."""
    both = dict(whole)
    for key, value in part.items():
        old = whole.get(key)
        both[key] = complete(value, old) if isinstance(value, dict) and isinstance(old, dict) and old else value
    return both


def model(summary: Summary) -> summary_model.Summary:
    """A summary of which a test describes only a part; the rest is taken from a complete one."""
    return summary_model.Summary.model_validate(complete(summary, whole()))


def verdict_of(summary: Summary) -> Any:
    return judge_verdict.of(model(summary)).model_dump()


def cautions_of(summary: Summary) -> list[str]:
    return caveats(model(summary), NO_EXEMPLARS)


def answers(summary: Summary) -> dict[str, bool | None]:
    return {check["name"]: check["passed"] for check in verdict_of(summary)["checks"]}


def test_a_judge_that_passes_every_check_is_reliable() -> None:
    found = verdict_of(trusted())
    assert found["verdict"] == "believe"
    assert set(answers(trusted()).values()) == {True}
    assert found["sentence"] == (
        "97% of the texts that synthetic units fire on, and 100% of other texts, are graded correctly; its grades repeat (10%"
        " differ); people confirm it (kappa 0.70 [0.55, 0.80])."
    )


OPPOSITE, SILENT = corrected(-0.4, -0.7, -0.1), corrected(0.1, -0.2, 0.4)
UNSURE = corrected(None, None, None, "only 9 labels of both kinds, and at least 15 are needed")
CASES: list[tuple[str, Summary, str, str, bool | None]] = [
    ("nothing planted", {"evidence__planted": None}, "with_care", "planted", None),
    ("too few planted", {"evidence__planted": planted((0, 6), (5, 0), n_units=2)}, "with_care", "planted", None),
    ("not separated", {"evidence__planted": planted((0, 36), (30, 0), separates=False)}, "do_not", "planted", False),
    ("right on all but a tenth", {"evidence__planted": planted((0, 36), (24, 6))}, "believe", "planted", True),
    ("right on less than nine tenths", {"evidence__planted": planted((0, 36), (23, 7))}, "with_care", "planted", False),
    ("right on three quarters", {"evidence__planted": planted((0, 36), (15, 15))}, "with_care", "planted", False),
    ("right on less", {"evidence__planted": planted((0, 36), (14, 16))}, "do_not", "planted", False),
    ("many hits cannot outweigh misses", {"evidence__planted": planted((0, 360), (10, 20))}, "do_not", "planted", False),
    ("misses unscored", {"evidence__planted": planted((0, 36), (0, 0))}, "with_care", "planted", None),
    ("no floor", {"controls__main_minus_shuffled__difference": None}, "with_care", "floor", None),
    ("floor without interval", {"controls__main_minus_shuffled__ci_low": None}, "with_care", "floor", None),
    ("at the floor", {"controls__main_minus_shuffled__ci_low": 0.0}, "do_not", "floor", False),
    ("below it, no interval", {"controls__main_minus_shuffled": {"difference": 0.0, "ci_low": None, "ci_high": None, "n_units": 2}}, "do_not", "floor", False),
    ("no base rate", {"controls__main_minus_base_rate": {"difference": None, "ci_low": None, "ci_high": None, "n_units": 0}}, "believe", "base_rate", None),
    ("at the base rate", {"controls__main_minus_base_rate__ci_low": -0.1}, "do_not", "base_rate", False),
    ("no windows of neighbours", {"distinction": None}, "believe", "distinction", None),
    ("neighbours without interval", {"distinction__feature__ci_low": None}, "believe", "distinction", None),
    ("told no better than chance", {"distinction__feature__ci_low": 0.2}, "do_not", "distinction", False),
    ("told worse than chance, no interval", {"distinction__feature": {"value": 0.2, "ci_low": None, "ci_high": None, "chance": 0.2, "n_units": 2, "n_undefined": 0}}, "do_not", "distinction", False),
    ("neurons told no better than chance", {"distinction__neuron__ci_low": 0.1}, "believe", "distinction", True),
    ("no random weights", {"evidence__random": None}, "believe", "random", None),
    ("random weights graded as high", {"evidence__random__random_dictionary__features_minus__ci_low": -1.1}, "do_not", "random", False),
    ("few random weights", {"evidence__random__random_dictionary__features_minus__ci_low": -0.1}, "believe", "random", None),
    ("no repeats", {"evidence__repeats": None}, "with_care", "noise", None),
    ("few repeats", {"evidence__repeats__n": 9}, "with_care", "noise", None),
    ("all grades alike", {"evidence__repeats__icc_single": figure(None, why="undefined: all grades are 0")}, "with_care", "noise", None),
    ("grades flip", {"evidence__repeats__flip_rate": figure(0.21, 0.1, 0.3)}, "with_care", "noise", False),
    ("unreliable", {"evidence__repeats__icc_single": figure(0.74, 0.5, 0.9)}, "with_care", "noise", False),
    ("no people", {"evidence__people": None}, "believe", "people", None),
    ("few labels", {"evidence__people__agreement": [pair("ada", figure(0.9, 0.8, 1.0), n=14)]}, "believe", "people", None),
    ("people disagree", {"evidence__people__agreement__0__kappa": figure(0.6, 0.39, 0.7)}, "with_care", "people", False),
    ("one of two people disagrees", {"evidence__people__agreement": [pair("ada", figure(0.7, 0.6, 0.8)), pair("bob", figure(0.1, 0.0, 0.2))]}, "with_care", "people", False),
    ("kappa undefined", {"evidence__people__agreement__0__kappa": figure(None, why="undefined: all grades are 3")}, "believe", "people", None),
    ("kappa without interval", {"evidence__people__agreement__0__kappa": figure(0.9, why="no interval: fewer than 3 units")}, "believe", "people", None),
    ("people give no headline", {"evidence__people__corrected": UNSURE}, "believe", "people", None),
    ("people show no difference", {"evidence__people__corrected": SILENT}, "with_care", "people", False),
    ("people say the opposite", {"evidence__people__corrected": OPPOSITE}, "do_not", "people", False),
    ("no second judge", {"evidence__second": None}, "believe", "second", None),
    ("second judge disagrees", {"evidence__second__agreement__kappa": figure(0.2, 0.0, 0.3)}, "with_care", "second", False),
    ("second judge says the opposite", {"evidence__second__corrected": OPPOSITE}, "do_not", "second", False),
    ("second judge of the judge's family", {"evidence__second__judge": "openai/gpt-5"}, "believe", "second", None),
    ("much is unscored", {"unscored_share": 0.11}, "with_care", "unscored", False),
    ("much of one kind is unscored", {"main_unscored_share__neuron": 0.11}, "with_care", "unscored", False),
    ("the unscored could undo it", {"headline_bounds__low": -0.01}, "with_care", "unscored", False),
    ("nothing was judged", {"controls__main__all": {"mean": None, "n": 0, "n_unscored": 0}}, "believe", "unscored", None),
    ("one family", {"explainer": "openai/o3"}, "believe", "families", False),
    ("no LLM", {"judge": "embedded", "judge_is_llm": False}, "with_care", "llm", False),
]  # fmt: skip


@pytest.mark.parametrize(("change", "verdict", "name", "passed"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_every_check_at_its_threshold(change: Summary, verdict: str, name: str, passed: bool | None) -> None:
    summary = changed(**change)
    found = verdict_of(summary)
    assert answers(summary)[name] is passed
    assert found["verdict"] == verdict
    others = {key: answer for key, answer in answers(summary).items() if key != name and answer is not True}
    assert not others


@pytest.mark.parametrize("second", ["openai/gpt-5", "anthropic/claude-opus-5", "embedded"])
def test_a_reliable_judge_needs_people_or_a_second_judge_of_another_family(second: str) -> None:
    summary = changed(evidence__people=None, evidence__second__judge=second)
    assert answers(summary)["second"] is None
    assert verdict_of(summary)["verdict"] == "with_care"
    assert verdict_of(summary)["sentence"] == "Neither people nor a second judge of another family confirm it."
    assert verdict_of(changed(evidence__people=None))["verdict"] == "believe"


def test_without_planted_units_a_judge_at_the_floor_is_not_reliable() -> None:
    summary = changed(evidence__planted=None, controls__main_minus_shuffled__ci_low=-0.1)
    found = verdict_of(summary)
    assert found["verdict"] == "do_not"
    assert found["sentence"].startswith("Own explanations are graded no higher than those of other units")
    unmeasured = changed(evidence__planted=None, controls__main_minus_shuffled__difference=None)
    assert verdict_of(unmeasured)["sentence"].startswith("No check shows that it reads the explanations")


def test_a_baseline_is_at_most_to_be_interpreted_with_caution() -> None:
    baseline = {"judge": "embedded", "judge_is_llm": False, "explainer": "embedded"}
    assert verdict_of(changed(**baseline))["verdict"] == "with_care"
    poor = verdict_of(changed(**baseline, evidence__planted=planted((30, 6), (30, 0))))
    assert poor["verdict"] == "do_not"
    assert (
        poor["sentence"]
        == "Only 17% of the texts that synthetic units fire on, and 100% of other texts, are graded correctly; it is not a"
        " language model."
    )


def test_a_withheld_headline_is_neither_repeated_nor_corrected() -> None:
    summary = changed(headline__withheld="too few units", evidence__people__corrected=OPPOSITE)
    found = verdict_of(summary)
    assert answers(summary)["people"] is True
    said = " ".join(check["said"] for check in found["checks"])
    assert "0.50 [0.20, 0.80]" not in said
    assert "\u22120.40" not in said


def test_two_headlines_without_a_difference_have_the_same_conclusion() -> None:
    none = {"difference": 0.1, "ci_low": -0.2, "ci_high": 0.4}
    summary = changed(weightings={"bin_uniform": none}, evidence__people__corrected=SILENT)
    assert answers(summary)["people"] is True
    no_interval = changed(weightings={"bin_uniform": none | {"ci_low": None}})
    assert answers(no_interval)["people"] is None


def test_an_old_summary_without_evidence_is_to_be_interpreted_with_caution() -> None:
    summary = changed(evidence=None)
    found = verdict_of(summary)
    assert found["verdict"] == "with_care"
    assert {name for name, passed in answers(summary).items() if passed is None} == {
        "planted",
        "random",
        "noise",
        "people",
        "second",
    }


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("anthropic/claude-haiku-4-5", "claude"),
        ("openai/gpt-5-mini", "gpt"),
        ("openai/o3", "gpt"),
        ("openai-compatible/meta-llama/Llama-3.1-8B", "llama"),
        ("openai-compatible/gpt-oss-20b", "gpt"),
        ("openai-compatible/Qwen2.5-7B", "qwen"),
        ("openai-compatible/7b-model", "7b-model"),
        ("embedded", "embedded"),
    ],
)
def test_families_are_recognised_by_model_names(model: str, family: str) -> None:
    assert judge_checks.family(model) == family


def test_every_failed_check_is_one_caveat() -> None:
    summary = changed(
        evidence__planted=planted((0, 36), (14, 16)),
        evidence__repeats__flip_rate=figure(0.5, 0.4, 0.6),
        judge_is_llm=False,
    )
    found = cautions_of(summary)
    assert sum("At least 90% should be correct" in caution for caution in found) == 1
    assert sum("differ in 50% of cases" in caution for caution in found) == 1
    assert sum("not a language model" in caution for caution in found) == 1
    assert not any("hardly uses the mark" in caution for caution in found)


@pytest.mark.parametrize(("near", "said"), [((1, 8), True), ((9, 9), False)])
def test_a_judge_that_ignores_the_mark_gives_a_caveat(near: tuple[int, int], said: bool) -> None:
    summary = trusted()
    summary["evidence"]["planted"]["near"] = planted(near, (1, 1))["hits"]
    found = cautions_of(summary)
    assert any("hardly uses the mark" in caution for caution in found) is said


@pytest.mark.parametrize(("ceiling", "said"), [(0.9, True), (1.1, False)])
def test_a_ceiling_that_is_not_above_the_floor_gives_a_caveat(ceiling: float, said: bool) -> None:
    summary = trusted()
    summary["evidence"]["normalised"] = {"floor": 1.0, "ceiling": ceiling}
    found = cautions_of(summary)
    assert any("ceiling is not above the floor" in caution for caution in found) is said


@pytest.mark.parametrize("uneven", [True, False])
def test_a_rater_who_skips_unevenly_gives_a_caveat(uneven: bool) -> None:
    shares = {"main/feature/0": 0.0, "main/feature/1": 0.5}
    skipped = {"rater": "ada", "n": 12, "n_seen": 60, "shares": shares, "uneven": uneven}
    found = cautions_of(changed(evidence__people__passed_over=[skipped]))
    sentence = "ada skipped 12 of 60 items, unevenly: 50% of main/feature/1 and 0% of main/feature/0."
    assert any(sentence in caution for caution in found) is uneven


def test_strata_of_equal_labels_give_a_caveat_if_there_is_an_interval() -> None:
    equal = {"difference": figure(0.4, 0.1, 0.7) | {"uncertain": "main/neuron/0"}}
    [caution] = [
        c for c in cautions_of(changed(evidence__people__corrected=equal)) if "all labels there are equal" in c
    ]
    assert "The correction by people counts the items of main/neuron/0 as certain" in caution
    none = {"difference": figure(0.4, why="no interval") | {"uncertain": "main/neuron/0"}}
    assert not any("labels there are equal" in c for c in cautions_of(changed(evidence__people__corrected=none)))


def test_perfect_agreement_with_people_confirms_the_headline() -> None:
    perfect = coefficients.pair(
        pd.DataFrame(
            {"item": i, "unit_id": i // 4, "rater": rater, "score": i // 4 % 4}
            for i in range(80)
            for rater in ("judge", "ada")
        ),
        *("judge", "ada"),
        grades=(0, 1, 2, 3),
        confidence=0.95,
    )
    summary = changed(evidence__people__agreement=[pair("ada", perfect.kappa.model_dump(), n=80)])
    assert answers(summary)["people"] is True
