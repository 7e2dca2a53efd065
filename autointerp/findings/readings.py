"""The readings of the difference: bins of (0, max] equally, by their events, and at equal rarity. One of them is the headline."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from autointerp.findings.results import EqualRarity, RarityLevel
from autointerp.formatting import plural
from autointerp.records import COMPARED
from autointerp.spec.spec import Spec
from autointerp.stats import comparison, frequency, rarity
from autointerp.stats.bin_uniform import Grades
from autointerp.stats.means import Scale
from autointerp.stats.rarity import LEVELS, NUMBERS, RarityGrades
from autointerp.stats.superiority import superiority

Reading = Callable[[pd.DataFrame], Grades]
"""The grades of a reading from judgements: by kind, a row for each unit, and a column for each bin or level."""


def readings(units: pd.DataFrame, exemplars: pd.DataFrame, spec: Spec, n_tokens: int) -> Mapping[str, Reading]:
    """Every reading, by the names of `report.headline`. `n_tokens` is the number of counted tokens."""

    def by_events(judgements: pd.DataFrame) -> Grades:
        values = frequency.estimates(judgements, units, exemplars).dropna()
        kinds = units.set_index("unit_id")["kind"].reindex(values.index)
        return Grades({kind: values[kinds == kind].to_frame(0) for kind in COMPARED}, (0,), ())

    return {
        "bin_uniform": lambda judgements: comparison.bin_grades(judgements, units, spec.harvest.bins),
        "frequency": by_events,
        "equal_rarity": lambda judgements: rarity.grades(judgements, units, exemplars, n_tokens).grades,
    }


def equal_rarity(found: RarityGrades, n_tokens: int, *, confidence: float, scale: Scale) -> EqualRarity:
    """Features compared with neurons at equal rarity, over all compared levels and in each."""
    figures = comparison.compare_bins(found.grades, confidence=confidence, scale=scale)
    levels = list(found.grades.compared)
    superior = superiority(*(found.means[kind][levels].to_numpy() for kind in COMPARED), confidence=confidence)
    values = figures.model_dump() | {
        "p_superior": superior.p,
        "p_superior_ci_low": superior.low,
        "p_superior_ci_high": superior.high,
        "p_superior_why": superior.why,
    }
    if not levels:
        values["why"] = "no level of rarity has a grade in enough units of each kind"
    return EqualRarity(**values, levels=[_level(found, n, n_tokens, confidence, scale) for n in NUMBERS])


def _level(found: RarityGrades, level: int, n_tokens: int, confidence: float, scale: Scale) -> RarityLevel:
    share, why = LEVELS[level - 1], None
    n_units = {kind: found.n_units(kind, level) for kind in COMPARED}
    if share * n_tokens < 1:
        why = f"the corpus has only {n_tokens:,} counted tokens"
    elif level not in found.grades.compared:
        counts = " and ".join(plural(n_units[kind], kind) for kind in COMPARED)
        why = f"only {counts} are active as often and have a grade there"
    of_kind = {
        f"{kind}s": comparison.mean_estimate(
            found.grades.table[kind][level] if n_units[kind] else [],
            confidence=confidence,
            resamples=0,
            seed=0,
            scale=scale,
        )
        for kind in COMPARED
    }
    figures = comparison.compare_bins(found.grades.only([] if why else [level]), confidence=confidence, scale=scale)
    return RarityLevel(
        **figures.model_dump(include={"difference", "ci_low", "ci_high"}),
        **of_kind,
        why=why or figures.why,
        level=level,
        low=LEVELS[level - 2] if level > 1 else 0.0,
        high=share,
        n_features=n_units["feature"],
        n_neurons=n_units["neuron"],
        n=sum(found.exemplars[kind][level] for kind in COMPARED),
        compared=why is None,
    )
