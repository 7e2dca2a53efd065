"""A planted world of sixty features in thirty pairs of siblings, whose explanations are exact, swapped between siblings or too broad.

A feature answers to the words of one group; a sibling's decoder direction is the most similar one. The judge knows which words a group has.
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
SWAPPED, BROAD = range(20), range(20, 40)
"""Features whose explanations are their siblings', and whose explanations name their siblings' words too. Those of the others are exact."""


def sibling(unit: int) -> int:
    """The other feature of a pair."""
    return unit ^ 1


def make(folder: Path, documents: int = 150) -> Path:
    """Write subject, dictionary and corpus."""
    words = {f"group{unit}word{i}": (unit, 0.4 + 0.15 * i) for unit in range(UNITS) for i in range(WORDS)}
    directions = {}
    for word, (unit, length) in words.items():
        directions[word] = torch.zeros(planted.D_MODEL)
        directions[word][0], directions[word][1 + unit] = planted.BIAS, length
    for i in range(planted.FILLERS):
        directions[f"filler{i}"] = torch.zeros(planted.D_MODEL)
        directions[f"filler{i}"][0] = planted.BIAS
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
    filler = [f"filler{rng.randrange(planted.FILLERS)}" for _ in range(8)]
    filler.insert(rng.randrange(9), rng.choice(words))
    return " ".join(filler)


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


def _group(window: MarkedText) -> int | None:
    """The group of the marked word."""
    found = re.fullmatch(r"group(\d+)word\d", planted.marked_word(window.tokens, window.mark))
    return int(found[1]) if found else None


class Explainer(planted.PlantedJudge):
    """Explains features as the world says, and answers by which groups an explanation names."""

    def explanation(self, unit: int) -> str:
        """The explanation of a feature."""
        if unit in SWAPPED:
            return f"words of group {sibling(unit)}"
        if unit not in BROAD:
            return f"words of group {unit}"
        return f"words of group {unit} and of group {sibling(unit)}"

    def fits(self, explanation: str, window: MarkedText) -> bool:
        """Whether the explanation names the group of the marked word."""
        return str(_group(window)) in re.findall(r"group (\d+)", explanation)

    def answer(self, material: Material) -> dict[str, Any]:
        """The answer to a question; to one about several items, that to each."""
        if isinstance(material, GroupMaterial):
            return {str(number): self.answer(item) for number, item in enumerate(material.items, 1)}
        if isinstance(material, ExplainMaterial):
            unit = _group(material.activating[0])
            return {"explanation": "words without a group" if unit is None else self.explanation(unit)}
        if isinstance(material, ScoreMaterial):
            return {"reason": "by the group", "grade": 3 * self.fits(material.explanation, material.window)}
        assert isinstance(material, TaskMaterial)
        named = [n for n, window in enumerate(material.windows, 1) if self.fits(material.explanation, window)]
        return {"reason": "by the groups", "answers": named}

    def ask(self, prompt: Prompt) -> Reply:
        return Reply(json.dumps(self.answer(prompt.material)), "complete", Usage(), "planted")


class Lenient(Explainer):
    """Useless: every window fits every explanation."""

    def fits(self, explanation: str, window: MarkedText) -> bool:
        return True
