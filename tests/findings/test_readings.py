"""The difference is read in three ways; each is in the summary, and the spec says which is the headline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from findings.test_summary import facts, make_spec
from support.results.tables import judgement, judgement_table, unit_table

from autointerp.findings.summarise import summarise
from autointerp.findings.summary import Summary
from autointerp.report import differences, tables
from autointerp.stats.rarity import LEVELS

N = 8
PARTS = [*((share * 0.5, share * 0.6) for share in LEVELS), (0.05, 0.06)]
"""Ranges of rarity, one in each level and one beyond them."""


def run(reading: str | None = None, n_counted: int = 1_000_000, features_fill: float = 0.02) -> Summary:
    """Features and neurons whose grades are equal at equal rarity (3 at the rarest, 1 at the most common level), while bins of the
    maximum favour the features: none of their bins holds activations as common as the neurons'."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    exemplars: list[tuple[str, str, float, float, float]] = []
    densities = {f"feature-{i}": features_fill for i in range(N)} | {f"neuron-{i}+": 0.4 for i in range(N)}
    for unit in densities:
        is_feature = unit.startswith("feature")
        for level, (low, high) in enumerate(PARTS[: 4 if is_feature else 5]):
            for item in range(3):
                score = max(0, 3 - level) if rng.random() < 0.8 else int(rng.integers(0, 4))
                row = judgement(unit, 10 - 2 * level, score, item=item)
                rows.append(row)
                exemplars.append((row["exemplar_id"], unit, low, high, 0.25))
    columns = ["exemplar_id", "unit_id", "rarity_low", "rarity_high", "inclusion_probability"]
    table = pd.DataFrame(exemplars, columns=columns).assign(role="score", token_activations=[[1.0]] * len(exemplars))
    values = facts()
    values["corpus"] = values["corpus"] | {"n_counted": n_counted}
    return summarise(
        units=unit_table(list(densities), density=list(densities.values())),
        judgements=judgement_table(rows),
        exemplars=table.assign(counted=[[True]] * len(table)),
        spec=make_spec(**({"report": {"resamples": 200, "headline": reading}} if reading else {})),
        rubric_levels=(0, 1, 2, 3),
        facts=values,
    )


def test_grades_that_depend_on_rarity_alone_do_not_differ_at_equal_rarity() -> None:
    found = run().equal_rarity
    assert found is not None
    assert (found.ci_low or 1) < 0 < (found.ci_high or -1)
    assert [level.compared for level in found.levels] == [True] * 4
    rarest, commonest = (found.levels[i].features.mean or 0.0 for i in (0, 3))
    assert rarest > commonest + 1


@pytest.mark.parametrize("reading", ["bin_uniform", "frequency", "equal_rarity"])
def test_the_headline_is_the_reading_that_the_spec_names(reading: str) -> None:
    found = run(reading)
    assert found.headline.weighting == reading
    assert found.headline.difference == found.reading.difference
    assert found.headline.ci_low == found.reading.ci_low
    low, high = found.headline_bounds.low, found.headline_bounds.high
    assert low == pytest.approx(found.headline.difference) == high, "nothing is unscored"
    named = [name for name, *_ in tables.weightings(found).rows if "(headline)" in name]
    assert len(named) == 1


def test_a_spec_without_the_key_keeps_its_hash() -> None:
    assert make_spec(report={"headline": "bin_uniform"}).hash() == make_spec(report={}).hash()
    assert make_spec(report={"headline": "equal_rarity"}).hash() != make_spec(report={}).hash()


def test_a_level_that_cannot_be_compared_says_why() -> None:
    found = run(n_counted=50_000, features_fill=0.002).equal_rarity
    assert found is not None
    reasons = [level.why for level in found.levels]
    assert reasons[0] == "the corpus has only 50,000 counted tokens"
    assert reasons[1:3] == [None, None]
    assert reasons[3] == "only 0 features and 8 neurons are active as often and have a grade there"
    assert (found.levels[3].difference, found.levels[3].compared) == (None, False)


def test_without_rarities_there_is_a_reason_and_no_number() -> None:
    found = run("equal_rarity", n_counted=50)
    assert found.equal_rarity is not None
    assert found.equal_rarity.difference is None
    assert found.equal_rarity.why == "no level of rarity has a grade in enough units of each kind"
    assert found.headline.withheld == "no level of rarity has a grade in enough features and neurons"


def test_the_difference_at_equal_rarity_stands_beside_the_headline() -> None:
    found = run()
    assert found.equal_rarity is not None
    [(name, shown, meaning)] = differences.alternative_differences(found)
    assert name == "difference at equal rarity"
    assert shown.startswith(f"{found.equal_rarity.difference:.2f}".replace("-", "\u2212")[:4])
    assert meaning == "4 levels of equally rare activations"
    table = tables.rarity_levels(found)
    assert table is not None
    assert [row[0] for row in table.rows] == [f"1 in {n} tokens" for n in ("100,000", "10,000", "1,000", "100")]
    [(name, *_)] = differences.alternative_differences(run("equal_rarity"))
    assert name == "difference with all bins equal"


def test_a_caveat_on_density_states_the_difference_at_equal_rarity() -> None:
    [caveat] = [caution for caution in run().cautions if "differ in density" in caution]
    assert "At equal rarity the difference is" in caveat
