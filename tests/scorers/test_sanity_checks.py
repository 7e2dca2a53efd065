"""Which figures notice missing and extra labels: compared with the published verdicts and with the docs."""

from __future__ import annotations

import pytest
from support.locations import ROOT
from support.scorers import sanity_checks
from support.scorers.scripted_judge import active_tokens, case

from autointerp.scorers.registry import SCORERS

DOCS = ROOT / "docs" / "scorers.md"


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], sanity_checks.Sanity]:
    return sanity_checks.every()


def test_a_perfect_explanation_scores_1() -> None:
    unit = case(20, 20, seed=1, length=48, most=1)
    for evaluation in ("rubric", "detection", "fuzzing", "embedding"):
        values = sanity_checks.EVALUATIONS[evaluation](unit, active_tokens(unit))
        assert values == pytest.approx(dict.fromkeys(values, 1.0))


def test_every_figure_of_these_scorers_is_tested(results: dict[tuple[str, str], sanity_checks.Sanity]) -> None:
    for name in ("detection", "fuzzing", "simulation", "embedding"):
        assert {figure for evaluation, figure in results if evaluation == name} == set(SCORERS[name].figures)


def test_verdicts_agree_with_the_published_ones(results: dict[tuple[str, str], sanity_checks.Sanity]) -> None:
    """The paper's table: F1, IoU, correlation, cosine and AUPRC pass both tests; recall fails extra labels, precision missing ones."""
    for passing in (
        ("detection", "f1"), ("detection", "iou"), ("simulation", "pearson"), ("simulation", "cosine"), ("embedding", "auprc"),
    ):  # fmt: skip
        assert results[passing].verdict == "passes", passing
    assert results["detection", "recall"].verdict == "fails extra"
    assert results["detection", "precision"].verdict == "fails missing"


def test_the_rubric_notices_missing_labels_and_no_extra_ones(
    results: dict[tuple[str, str], sanity_checks.Sanity],
) -> None:
    """It asks whether the concept is present when the unit is active, which an explanation of everything satisfies."""
    assert results["rubric", "mean_score"].missing == 1
    assert results["rubric", "mean_score"].extra == (0, 0, 0)
    assert results["rubric", "less_base_rate"].verdict == "fails extra"


def test_few_silent_windows_hide_extra_labels_from_every_figure(
    results: dict[tuple[str, str], sanity_checks.Sanity],
) -> None:
    assert all(s.extra[2] < sanity_checks.SHARE for s in results.values())


def test_the_docs_show_these_results(results: dict[tuple[str, str], sanity_checks.Sanity]) -> None:
    page = DOCS.read_text(encoding="utf-8").splitlines()
    assert [row for names, value in results.items() if (row := sanity_checks.row(*names, value)) not in page] == []
