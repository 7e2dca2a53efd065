"""Tables of presence: the strongest features at each concept, and which concepts are found by activation and by judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from autointerp.studies.completeness.concepts import ConceptList
from autointerp.studies.workbench import Studied
from sae.studies.alive_features import Firing
from sae.studies.last_tokens import FIRES, Strongest

MOST_TEMPLATES = 0.5
"""A feature has to be active in more than this share of a concept's templates."""


def candidates(
    studied: Studied, family: ConceptList, found: Strongest, firing: Firing, n_tokens: int, others: int
) -> pd.DataFrame:
    """The strongest features at each concept of a family, one row each, and whether each is specific: by `is_specific`."""
    n, k = found.feature.shape
    feature = found.feature.flatten().numpy()
    activation = found.activation.flatten().numpy().astype(np.float64)
    largest = firing.largest[feature].astype(np.float64)
    ids = [f"feature-{index}" for index in feature]
    frame = pd.DataFrame(
        {
            "dictionary": studied.name,
            "list": family.name,
            "concept": np.repeat(np.array(family.concepts, dtype=object), k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "unit_id": ids,
            "activation": activation,
            "active_templates": found.active.flatten().numpy().astype(np.float64),
            "largest_in_list": found.largest.flatten().numpy().astype(np.float64),
            "fires_on": found.fires_on.flatten().numpy().astype(np.int64),
            "firing_rate": firing.n_active[feature] / n_tokens,
            "share_of_maximum": np.divide(activation, largest, out=np.full(n * k, np.nan), where=largest > 0),
            "explanation": [studied.explanation(unit_id) for unit_id in ids],
        }
    )
    frame = frame[frame["activation"] > 0].reset_index(drop=True)
    return frame.assign(specific=is_specific(frame, others))


def is_specific(frame: pd.DataFrame, others: int) -> pd.Series:
    """Whether each feature is there for its concept.

    It is active in more than half of the templates, and it fires on the concept and on at most `others` other concepts of the list. It fires
    on a concept if its mean activation there is at least half of its largest one over the list.
    """
    fires_here = frame["activation"] >= FIRES * frame["largest_in_list"]
    return (frame["active_templates"] > MOST_TEMPLATES) & fires_here & (frame["fires_on"] <= 1 + others)


def concepts(
    names: Sequence[str], families: Sequence[ConceptList], table: pd.DataFrame, counts: Mapping[str, int], n_tokens: int
) -> pd.DataFrame:
    """One row for each dictionary and concept: its frequency in the corpus, and whether it is found.

    `found`: a feature is specific. `judged`: the judge passes an explanation; False if all of the concept's features have
    explanations and none passes; otherwise not known.
    """
    by_concept = dict(iter(table.groupby(["dictionary", "list", "concept"], sort=False)))
    rows = []
    for name in names:
        for family in families:
            for concept in family.concepts:
                part = by_concept.get((name, family.name, concept), table.iloc[:0])
                chosen = part[part["specific"]].head(1)
                rows.append(
                    {
                        "dictionary": name,
                        "list": family.name,
                        "concept": concept,
                        "ambiguous": concept in family.ambiguous,
                        "count": counts[concept],
                        "frequency": counts[concept] / n_tokens,
                        "found": bool(len(chosen)),
                        "unit_id": chosen["unit_id"].iloc[0] if len(chosen) else None,
                        "explanation": chosen["explanation"].iloc[0] if len(chosen) else None,
                        "judged": _judged(part),
                    }
                )
    return pd.DataFrame(rows).astype({"judged": "boolean"})


def _judged(part: pd.DataFrame) -> bool | None:
    """The judge's verdict on a concept from the verdicts on its features."""
    if part.empty:
        return None
    if (part["judged"] == True).any():  # noqa: E712  # a nullable boolean
        return True
    return None if part["judged"].isna().any() else False
