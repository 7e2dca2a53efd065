"""What a planted provider answers: it reads the prompt's text alone, as a language model would, and knows the planted truth.

For `python -m tests.support.providers.server --brain support.planted_world.provider_replies:think`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

from support.planted_world.world import grade, strength

_CASE = re.compile(r"<explanation>\n(.*)\n</explanation>\n<text>\n(.*)\n</text>", re.DOTALL)
_ITEM = re.compile(r"<item (\d+)>\n(.*?)\n</item \1>", re.DOTALL)
_MARKED = re.compile(r"<<(.*?)>>", re.DOTALL)


def think(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The answer that `planted.answer` gives to the same question as material, in the form that is asked for."""
    if not schema:
        said = str(_graded(user.rpartition("\n")[0])["grade"])
        return {"said": said, "probabilities": {str(g): 0.97 if str(g) == said else 0.01 for g in range(4)}}
    if "$defs" in schema:
        graded = {number: _graded(case) for number, case in _ITEM.findall(user)}
        with_reason = "properties" in schema["$defs"]["item"]
        return graded if with_reason else {number: answer["grade"] for number, answer in graded.items()}
    if "grade" in schema["properties"]:
        answer = _graded(user)
        return {name: answer[name] for name in schema["properties"]}
    activating = user.partition("</activating>")[0]
    marked = [word.strip() for word in _MARKED.findall(activating)]
    concepts = Counter(known[0] for word in marked if (known := strength(word)))
    if not concepts:
        return {"explanation": "filler words without a common theme"}
    return {"explanation": f"words about a {concepts.most_common(1)[0][0]}"}


def _graded(case: str) -> dict[str, Any]:
    found = _CASE.fullmatch(case)
    assert found is not None, case
    [word] = _MARKED.findall(found[2])
    return {"reason": f"the marked word is {word.strip()}", "grade": grade(found[1], word.strip())}


def think_apart(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The same truth, no two explanations alike, as with real models."""
    answer = think(system, user, schema)
    if "explanation" in answer:
        answer["explanation"] += f", case {hashlib.sha256(user.encode()).hexdigest()[:6]}"
    return answer
