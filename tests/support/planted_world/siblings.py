"""A planted world of sixty features in thirty pairs of siblings, whose explanations are exact, swapped between siblings or too broad.

A feature answers to four English words of one class, such as dogs; its sibling, whose decoder direction is the most similar one, to four of
another class of the same theme, such as birds. An explanation names words, so that a judge that knows nothing of the world can read it too.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from support.planted_world import world as planted

from autointerp.league.vocabulary import BETWEEN, THEMES
from autointerp.messages import (
    ExplainMaterial,
    GroupMaterial,
    MarkedText,
    Material,
    Prompt,
    Reply,
    ScoreMaterial,
    TaskMaterial,
    Usage,
)
from autointerp.spec.spec import Spec, parse

UNITS, WORDS = 60, 4
_CLASSES = [words.split() for theme in THEMES.values() for words in theme.values()][: UNITS // 2]
_PLAIN = BETWEEN[:60]
SWAPPED, BROAD = range(20), range(20, 40)
"""Features whose explanations are their siblings', and whose explanations name their siblings' words too. Those of the others are exact."""


def sibling(unit: int) -> int:
    """The other feature of a pair."""
    return unit ^ 1


def words_of(unit: int) -> list[str]:
    """The words that a feature answers to: one half of a class. The other half is that of a feature elsewhere."""
    half, number = divmod(unit, len(_CLASSES))
    return _CLASSES[number][half * WORDS : (half + 1) * WORDS]


_UNIT_OF = {word: unit for unit in range(UNITS) for word in words_of(unit)}


def make(folder: Path, documents: int = 300) -> Path:
    """Write subject, dictionary and corpus."""
    words = {word: (unit, 0.4 + 0.15 * i) for unit in range(UNITS) for i, word in enumerate(words_of(unit))}
    directions = {}
    for word, (unit, length) in words.items():
        directions[word] = torch.zeros(planted.D_MODEL)
        directions[word][0], directions[word][1 + unit] = planted.BIAS, length
    for word in _PLAIN:
        directions[word] = torch.zeros(planted.D_MODEL)
        directions[word][0] = planted.BIAS
    planted._subject(folder / "subject", list(directions), directions, [("harbour",)] * 4)
    _dictionary(folder / "dictionary")
    rng = random.Random(0)
    texts = [" ".join(_sentence(rng, list(words)) for _ in range(12)) for _ in range(documents)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def spec(folder: Path, **sections: Mapping[str, Any]) -> Spec:
    """A small run over all features and no neurons."""
    data: dict[str, Any] = {
        "name": "siblings",
        "subject": {"model": str(folder / "subject"), "precision": "float32"},
        "dictionary": {"path": str(folder / "dictionary"), "check": False},
        "corpus": {"sources": [str(folder / "corpus.jsonl")], "context_tokens": 64, "max_tokens": 60_000},
        "units": {"feature_ids": list(range(UNITS)), "neurons": 0},
        "harvest": {"window_tokens": 16, "bins": 2},
        "studies": {"tokens": 0},
        "explain": {"top": 4, "spread": 2, "quiet": 1},
        "score": {"per_bin": 2, "per_call": 10},
        "controls": {"shuffled": 1, "base_rate": 1, "planted": 0, "repeated": 0, **planted.NO_RANDOM},
    }
    return parse(data | {name: data.get(name, {}) | dict(table) for name, table in sections.items()})


def _sentence(rng: random.Random, words: list[str]) -> str:
    sentence = rng.choices(_PLAIN, k=8)
    sentence.insert(rng.randrange(9), rng.choice(words))
    return " ".join(sentence)


def _dictionary(folder: Path) -> None:
    reading = torch.zeros(UNITS, planted.D_MODEL)
    reading[range(UNITS), range(1, UNITS + 1)] = 1.0
    writing = reading + 0.5 * reading[[sibling(unit) for unit in range(UNITS)]]
    folder.mkdir(parents=True)
    tensors = {
        "W_enc": reading.T.contiguous(),
        "b_enc": torch.full((UNITS,), -0.01),
        "W_dec": torch.nn.functional.normalize(writing, dim=1),
        "b_dec": torch.zeros(planted.D_MODEL),
    }
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {
        "architecture": "standard", "d_in": planted.D_MODEL, "d_sae": UNITS, "hook_name": "blocks.0.hook_resid_post",
        "apply_b_dec_to_input": False, "normalize_activations": "none", "dtype": "float32",
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))


def explanation(words: list[str]) -> str:
    """The explanation that names these words."""
    return "the token " + ", ".join(f'"{word}"' for word in words)


class Explainer(planted.PlantedJudge):
    """Explains features as the world says, and answers by which words an explanation names."""

    def explanation(self, unit: int) -> str:
        """The explanation of a feature."""
        own, other = words_of(unit), words_of(sibling(unit))
        return explanation(other if unit in SWAPPED else own + other if unit in BROAD else own)

    def fits(self, explanation: str, window: MarkedText) -> bool:
        """Whether the explanation names the marked word."""
        return planted.marked_word(window.tokens, window.mark) in re.findall(r'"(\w+)"', explanation)

    def answer(self, material: Material) -> dict[str, Any]:
        """The answer to a question; to one about several items, that to each."""
        if isinstance(material, GroupMaterial):
            return {str(number): self.answer(item) for number, item in enumerate(material.items, 1)}
        if isinstance(material, ExplainMaterial):
            window = material.activating[0]
            unit = _UNIT_OF.get(planted.marked_word(window.tokens, window.mark))
            return {"explanation": "no words in particular" if unit is None else self.explanation(unit)}
        if isinstance(material, ScoreMaterial):
            return {"reason": "by the word", "grade": 3 * self.fits(material.explanation, material.window)}
        assert isinstance(material, TaskMaterial)
        named = [n for n, window in enumerate(material.windows, 1) if self.fits(material.explanation, window)]
        return {"reason": "by the words", "answers": named}

    def ask(self, prompt: Prompt) -> Reply:
        return Reply(json.dumps(self.answer(prompt.material)), "complete", Usage(), "planted")


class Lenient(Explainer):
    """Useless: every window fits every explanation."""

    def fits(self, explanation: str, window: MarkedText) -> bool:
        return True
