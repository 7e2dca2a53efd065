"""Which tokens of an exemplar are not counted: as the harvest stored it, or derived for harvests of earlier versions.

Those stored activations at uncounted tokens and no mask. Of these tokens the first positions of a context are known by their number
in the document, and special tokens by their text. Not known are tokens of massive norm elsewhere, and those of a chat template. So a
figure of such a run leaves out nearly all uncounted tokens, but its questions stay as they were asked, and the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.spec.spec import Spec

_SPECIAL = re.compile(
    r"<\|[^|<>\s]+\|>|</?s>|<(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>|\[(?:CLS|SEP|PAD|UNK|MASK|BOS|EOS)\]"
)


@dataclass(frozen=True)
class ContextStarts:
    """Where contexts begin in a document: at multiples of one of `strides`. The first `skip` tokens of each are not counted."""

    strides: Sequence[int]
    skip: int

    @classmethod
    def of(cls, spec: Spec, facts: Mapping[str, Any]) -> ContextStarts:
        """Of a harvest with these facts. If they do not say whether contexts had BOS, both lengths are tried."""
        bos, length = facts["corpus"].get("bos"), spec.corpus.context_tokens
        return cls([length - n for n in ((0, 1) if bos is None else (int(bos),))], spec.harvest.skip_positions)


def derived(tokens: Sequence[str], mark: int, position: int, starts: ContextStarts) -> frozenset[int]:
    """Indices of the tokens of a window that are known not to be counted, given the mark's position in the document."""
    special = {i for i, token in enumerate(tokens) if _SPECIAL.fullmatch(token)}
    # `position` is that of the event, which lies before `mark` if its character spans several tokens: those have the empty text.
    moved = next((n for n in range(mark) if tokens[mark - 1 - n]), mark)
    first = range(position - mark, position - mark + moved + 1)
    skipped = {
        i
        for i in range(len(tokens))
        if any(start % stride + i < starts.skip for start in first for stride in starts.strides)
    }
    return frozenset(special | skipped)
