"""Units as a command line names them: `641`, `feature-641`, `neuron-12+`, with `NAME:` of the dictionary before it if there are several."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autointerp.errors import UsageError
from autointerp.studies.workbench import Studied
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

_UNIT = re.compile(r"(?:(feature|neuron)-)?(\d+)([+-]?)")


def find_unit(name: str, studied: Sequence[Studied], subject: Subject) -> tuple[Studied, UnitKey]:
    """The dictionary and the unit that a name stands for. Raises `UsageError` if there is no such unit, or if it is not clear which."""
    dictionary_name, _, unit = name.rpartition(":")
    of = [each for each in studied if each.name == dictionary_name] if dictionary_name else list(studied)
    if len(of) != 1:
        names = ", ".join(each.name for each in studied)
        wrong = f"has no dictionary {dictionary_name!r}" if dictionary_name else "does not say of which dictionary"
        raise UsageError(f"unit {name!r} {wrong}: write NAME:{unit or '641'}, with one of {names}")
    match = _UNIT.fullmatch(unit.strip())
    if match is None:
        raise UsageError(f"unit {name!r} is unknown: write 641 or feature-641 for a feature, neuron-12+ for a neuron")
    kind, index, sign = match[1] or "feature", int(match[2]), match[3]
    if (kind == "neuron") != bool(sign):
        raise UsageError(
            f"unit {name!r}: "
            + (
                "a neuron needs its sign, such as neuron-12+"
                if kind == "neuron"
                else "a feature has no sign: remove it"
            )
        )
    dictionary = of[0].dictionary
    n = dictionary.d_sae if kind == "feature" else subject.width(subject.neuron_hook_point(dictionary.hook_point))
    if index >= n:
        owner = of[0].name if kind == "feature" else f"the layer of {of[0].name}"
        raise UsageError(f"unit {name!r} does not exist: {owner} has {kind}s 0 to {n - 1}")
    return of[0], UnitKey(kind, index, sign)
