"""A subject with a dictionary, open for questions about texts of a few tokens, and what is remembered between the questions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from autointerp.explorer.live.questions import Ready
from autointerp.spec.sections import Harvest
from autointerp.studies.unit_names import find_unit
from autointerp.studies.workbench import Studied
from sae.analysis.unit_probe import as_corpus, encode_texts
from sae.harvest.harvest import check_finite, run_contexts
from sae.harvest.units import UnitKey
from sae.studies.intervention import Intervention, Target, intervene, random_directions
from sae.subject.model import Subject

K = TypeVar("K")
V = TypeVar("V")
RANDOM = "random"
_KEPT = 8
_SAMPLE = (
    "In the spring of the following year the two companies agreed to build a new railway between the harbour and the old town, which"
    " opened to passengers in 1907."
)


class LiveModel:
    """The subject and the dictionary. `harvest` says which tokens count."""

    def __init__(self, subject: Subject, studied: Studied, harvest: Harvest) -> None:
        self.subject, self.dictionary, self.harvest = subject, studied.dictionary, harvest
        self.continuations: OrderedDict[object, list[int]] = OrderedDict()
        """Finished continuations without any unit set, by their question."""
        self._studied = studied
        self._interventions: OrderedDict[tuple[str, ...], Intervention] = OrderedDict()
        self._norm_limit = float("inf")
        values, counted = self.values(encode_texts(subject, [_SAMPLE])[0], [self.dictionary.hook_point])
        if counted.any():  # the median of a text of its own: a text of a word or two has no typical norm
            norms = values[self.dictionary.hook_point].norm(dim=1)
            self._norm_limit = harvest.max_norm_ratio * float(norms.median())

    @property
    def about(self) -> Ready:
        """What the pages are told of it."""
        subject = self.subject
        return Ready(
            chat=bool(subject.tokenizer.chat_template), precision=subject.precision, device=subject.device.type
        )

    @torch.inference_mode()
    def values(self, ids: Sequence[int], hook_points: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Values (T, width) by hook point at the tokens of a text, and a mask (T,) of those that count, as in the run's harvest.

        Raises `SubjectError` if values are not finite.
        """
        values, text = run_contexts(self.subject, as_corpus(self.subject, [ids]), np.zeros(1, np.int64), hook_points)
        norms = values[self.dictionary.hook_point].norm(dim=1)
        check_finite(norms[text], self.dictionary.hook_point)
        place = torch.arange(len(ids), device=norms.device)
        return values, text & (norms <= self._norm_limit) & (place >= self.harvest.skip_positions)

    def unit(self, name: str) -> UnitKey:
        """The unit of that id. Raises `UsageError` if there is none."""
        return find_unit(name, [self._studied], self.subject)[1]

    def intervention(self, values: Mapping[str, float]) -> Intervention:
        """Sets units to activations; its direction `RANDOM` is a random one. Raises `SubjectError` for units that cannot be set."""
        key = tuple(values)
        known = self._interventions.get(key)
        if known is None:
            known = intervene(self.subject, [Target(self.dictionary, self.unit(name), 1.0) for name in values])
            known = replace(known, directions={RANDOM: random_directions(known, seed=0)})
        remember(self._interventions, key, known)
        sites = [
            replace(site, targets=tuple(replace(each, value=values[each.unit.unit_id]) for each in site.targets))
            for site in known.sites
        ]
        return replace(known, sites=tuple(sites))


def remember(kept: OrderedDict[K, V], key: K, value: V) -> None:
    """Keep a value as the one that was used last, and drop the one that was not used for the longest time."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
