"""Tables of presence: the strongest features at each concept, and which concepts are found by activation and by judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
import pandas as pd
import torch

from autointerp.studies.completeness.concepts import ConceptList
from autointerp.studies.workbench import Studied
from sae.studies.alive_features import Firing
from sae.studies.last_tokens import FIRES, Strongest

MOST_TEMPLATES = 0.5
"""A feature has to be active in more than this share of a concept's templates."""


def candidates(studied: Studied, family: ConceptList, found: Strongest) -> pd.DataFrame:
    """The strongest features at each concept of a family, one row each, those with the activation 0 among them.

    `templates` is the number of the concept's templates whose token counts.
    """
    n, k = found.feature.shape
    feature = found.feature.flatten().numpy()
    activation = found.activation.flatten().numpy().astype(np.float64)
    ids = [f"feature-{index}" for index in feature]
    return pd.DataFrame(
        {
            "dictionary": studied.name,
            "list": family.name,
            "concept": np.repeat(np.array(family.concepts, dtype=object), k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "unit_id": ids,
            "activation": activation,
            "templates": np.repeat(found.counted.numpy(), k),
            "active_templates": found.active.flatten().numpy().astype(np.float64),
            "largest_in_list": found.largest.flatten().numpy().astype(np.float64),
            "fires_on": found.fires_on.flatten().numpy().astype(np.int64),
            "explanation": [studied.explanation(unit_id) for unit_id in ids],
        }
    )


def levels(table: pd.DataFrame, studied: Studied, lists: Sequence[ConceptList]) -> torch.Tensor:
    """The activation from which each feature of a dictionary fires, by list (lists, d_sae); infinite if it is no candidate."""
    found = torch.full((len(lists), studied.dictionary.d_sae), torch.inf)
    for number, family in enumerate(lists):
        rows = table[(table["dictionary"] == studied.name) & (table["list"] == family.name)]
        found[number, _features(rows)] = torch.tensor(FIRES * rows["largest_in_list"].to_numpy(), dtype=torch.float32)
    return found


def in_text(
    table: pd.DataFrame, names: Sequence[str], lists: Sequence[ConceptList], fired: Sequence[Firing], n_tokens: int
) -> pd.DataFrame:
    """The candidates with the share of the text's tokens at which each is active and fires, and their mean as a share of its maximum."""
    dictionary = table["dictionary"].map({name: number for number, name in enumerate(names)})
    family = table["list"].map({each.name: number for number, each in enumerate(lists)})
    rows = list(zip(dictionary, family, _features(table), strict=True))
    largest = np.array([fired[d].largest[i] for d, _, i in rows], dtype=np.float64)
    activation = table["activation"].to_numpy(dtype=np.float64)
    return table.assign(
        active_rate=[fired[d].n_active[i] / n_tokens for d, _, i in rows],
        firing_rate=[fired[d].n_reached[f, i] / n_tokens for d, f, i in rows],
        share_of_maximum=np.divide(activation, largest, out=np.full(len(rows), np.nan), where=largest > 0),
    )


def is_specific(table: pd.DataFrame, others: int, rate: float) -> pd.Series:
    """Whether each candidate is there for its concept.

    It is active in more than half of the templates, it fires on the concept, on at most `others` other concepts of the list, and on at most
    a share `rate` of the text's tokens. It fires where it reaches half of its largest mean activation over the concepts of the list.
    """
    fires_here = table["activation"] >= FIRES * table["largest_in_list"]
    narrow = (table["fires_on"] <= 1 + others) & (table["firing_rate"] <= rate)
    return (table["active_templates"] > MOST_TEMPLATES) & fires_here & narrow


def _features(table: pd.DataFrame) -> list[int]:
    return [int(unit_id.split("-")[1]) for unit_id in table["unit_id"]]


def concepts(
    names: Sequence[str],
    families: Sequence[ConceptList],
    table: pd.DataFrame,
    counts: Mapping[str, int],
    n_tokens: int,
    uncounted: Set[tuple[str, str]] = frozenset(),
) -> pd.DataFrame:
    """One row for each dictionary and concept: its frequency in the corpus, and whether it is found.

    `found`: a feature is specific; not known of the `uncounted`, pairs of a list and a concept, whose token counts in no template.
    `judged`: the judge passes an explanation; False if all of the concept's features have explanations and none passes; otherwise not
    known.
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
                        "found": None if (family.name, concept) in uncounted else bool(len(chosen)),
                        "unit_id": chosen["unit_id"].iloc[0] if len(chosen) else None,
                        "explanation": chosen["explanation"].iloc[0] if len(chosen) else None,
                        "judged": _judged(part),
                    }
                )
    return pd.DataFrame(rows).astype({"found": "boolean", "judged": "boolean"})


def _judged(part: pd.DataFrame) -> bool | None:
    """The judge's verdict on a concept from the verdicts on its features."""
    if part.empty:
        return None
    if (part["judged"] == True).any():  # noqa: E712  # a nullable boolean
        return True
    return None if part["judged"].isna().any() else False
