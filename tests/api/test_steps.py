"""Harvest, explanations and grades one after another, and explanations that were given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
from support.planted_world.small_run import Evaluated, small

import autointerp as ai


def test_steps_reuse_the_harvest_and_grade_the_explanations_that_they_are_given(evaluated: Evaluated) -> None:
    world, arguments = evaluated.world, small(features=[0, 1, 2, 8], neurons=["0+", "4+"])
    harvest = ai.harvest(world.subject, world.dictionary, world.corpus, results=None, **arguments)
    whole = ai.load(evaluated.run)
    own = whole.exemplars.loc[whole.exemplars["unit_id"].isin(harvest.units["unit_id"])]
    assert set(own["exemplar_id"]) & set(harvest.exemplars["exemplar_id"])
    explanations = ai.explain(harvest)
    assert explanations.by == "embedded"
    assert explanations["feature-0"] == whole.unit("feature-0").explanation
    changed = replace(explanations, texts={**explanations, "feature-1": "nothing at all", "feature-2": None}, by="Ann")
    result = ai.score(changed)
    texts = result.units.set_index("unit_id")["explanation"]
    assert texts["feature-1"] == "nothing at all"
    assert pd.isna(texts["feature-2"])
    assert result.summary.explainer == "given: Ann"
    assert "explained by others (Ann)" in (result.path / "report.html").read_text()
    assert result.summary.harvest == harvest.path.name
    assert result.unit("feature-0").mean_score == whole.unit("feature-0").mean_score


def test_units_are_drawn_from_those_that_have_explanations(evaluated: Evaluated, tmp_path: Path) -> None:
    given = tmp_path / "mine.json"
    given.write_text(json.dumps({"3": "words about a glacier", "5": "words about a monsoon", "7": "quarry"}))
    world = evaluated.world
    result = ai.evaluate(
        world.subject, world.dictionary, world.corpus, results=None, explanations=given, **small(features=2, neurons=2)
    )
    assert set(result.units["unit_id"]) < {"feature-3", "feature-5", "feature-7"}
    assert len(result.units) == 2
    assert set(result.units["explanation"]) < {"words about a glacier", "words about a monsoon", "quarry"}
    assert result.summary.explainer == "given: mine.json"
