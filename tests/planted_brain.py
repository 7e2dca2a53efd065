"""What a planted provider answers: it reads the prompt's text alone, as a language model would, and knows the planted truth.

For `provider_server --brain planted_brain:think`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

from planted import grade, strength

_EXPLANATION = re.compile(r"<explanation>\n(.*)\n</explanation>\n<text>\n(.*)\n</text>", re.DOTALL)
_MARKED = re.compile(r"<<(.*?)>>", re.DOTALL)


def think(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The answer that `planted.answer` gives to the same question as material."""
    if "grade" in schema["properties"]:
        case = _EXPLANATION.fullmatch(user)
        assert case is not None, user
        [word] = _MARKED.findall(case[2])
        return {"reason": f"the marked word is {word.strip()}", "grade": grade(case[1], word.strip())}
    activating = user.partition("</activating>")[0]
    marked = [word.strip() for word in _MARKED.findall(activating)]
    concepts = Counter(known[0] for word in marked if (known := strength(word)))
    if not concepts:
        return {"explanation": "filler words without a common theme"}
    return {"explanation": f"words about a {concepts.most_common(1)[0][0]}"}


def think_apart(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The same truth, no two explanations alike, as with real models."""
    answer = think(system, user, schema)
    if "explanation" in answer:
        answer["explanation"] += f", case {hashlib.sha256(user.encode()).hexdigest()[:6]}"
    return answer
