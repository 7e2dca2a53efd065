"""A world whose features have known sides: what makes them fire, and what they make the subject say.

The subject is a GPT-2 whose blocks pass word and position embeddings through, so that a residual holds a word's concept and the pattern
of its position. Features of class `input` and `both` fire on the five words of a concept. The others fire at positions drawn at random,
which no word foretells. Features of class `output` and `both` write along an axis that the output head reads as ten words of its own;
the others write along an axis that it reads as noise, like a random direction.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from support.planted_world.world import NO_RANDOM
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from autointerp.spec.spec import Spec, parse

CLASSES = ("input", "output", "both", "neither")
WORDS, SAID, FILLERS, TOKENS = 5, 10, 60, 64
"""Words of a concept, words that an output feature makes more probable, filler words, and tokens of a context."""
POSITIONS = 7
"""Positions at which a feature without words fires."""
BIAS, NOISE = 8.0, 0.1
"""The constant component of every residual, and the deviation of the output head's weights."""


@dataclass(frozen=True)
class TwoSidedWorld:
    """Folders of the subject and the dictionary, and the corpus. Feature i has the class `classes[i]`."""

    subject: Path
    dictionary: Path
    corpus: Path
    classes: tuple[str, ...]

    def said(self, feature: int) -> set[str]:
        """The words that an output feature makes more probable."""
        return {_said(feature, i) for i in range(SAID)}

    def spec(self, **sections: dict[str, Any]) -> Spec:
        """A spec over all features; `sections` replace keys of its tables."""
        data: dict[str, Any] = {
            "name": "sides",
            "subject": {"model": str(self.subject), "precision": "float32"},
            "dictionary": {"path": str(self.dictionary), "check": False},
            "corpus": {"sources": [str(self.corpus)], "context_tokens": TOKENS, "max_tokens": 60_000},
            "units": {"feature_ids": list(range(len(self.classes))), "neurons": 0},
            "harvest": {"window_tokens": 16},
            "studies": {"tokens": 0, "two_sided": True},
            "controls": {"planted": 0, **NO_RANDOM},
        }
        for name, table in sections.items():
            data[name] = data.get(name, {}) | table
        return parse(data)


def make(folder: Path, *, each: int = 30, documents: int = 300, seed: int = 0) -> TwoSidedWorld:
    """Write a world with `each` features of every class."""
    classes = tuple(side for side in CLASSES for _ in range(each))
    n, rng = len(classes), random.Random(seed)
    concept = [_concept(f, i) for f in range(n) for i in range(WORDS)]
    said = [_said(f, i) for f in range(n) for i in range(SAID)]
    words = ["<unk>", *concept, *said, *(f"filler{i}" for i in range(FILLERS))]
    number = {word: i for i, word in enumerate(words)}
    # Axis 0 is the constant; then one axis for each feature to read, and one for it to write.
    d_model = 2 + 2 * n
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(words), n_embd=d_model, n_layer=2, n_head=1, n_inner=8, n_positions=2 * TOKENS, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        table, places = torch.zeros(len(words), d_model), torch.zeros(2 * TOKENS, d_model)
        head = NOISE * torch.randn(len(words), d_model)
        table[:, 0] = BIAS
        head[:, 0] = 0
        for f, side in enumerate(classes):
            reads, writes = 1 + f, 1 + n + f
            if side in ("input", "both"):
                for i in range(WORDS):
                    table[number[_concept(f, i)], reads] = 0.5 + 0.1 * i
            else:
                for place in rng.sample(range(1, TOKENS), POSITIONS):
                    places[place, reads] = rng.uniform(0.5, 1)
            if side in ("output", "both"):
                head[[number[word] for word in (_said(f, i) for i in range(SAID))], writes] = 1.0
        model.transformer.wte.weight.copy_(table)
        model.transformer.wpe.weight.copy_(places)
        model.lm_head.weight.copy_(head)
        for block in model.transformer.h:
            for layer in (block.attn.c_proj, block.mlp.c_proj):
                layer.weight.zero_()
    model.save_pretrained(folder / "subject")
    tokenizer = Tokenizer(models.WordLevel(number, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder / "subject")
    _dictionary(folder / "dictionary", n, d_model)
    corpus = folder / "corpus.jsonl"
    fired = [_concept(f, i) for f, side in enumerate(classes) if side in ("input", "both") for i in range(WORDS)]
    fillers = words[-FILLERS:]
    texts = [
        " ".join(rng.choice(fired if rng.random() < 0.5 else fillers) for _ in range(TOKENS)) for _ in range(documents)
    ]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return TwoSidedWorld(folder / "subject", folder / "dictionary", corpus, classes)


def _concept(feature: int, i: int) -> str:
    return f"concept{feature}.{i}"


def _said(feature: int, i: int) -> str:
    return f"said{feature}.{i}"


def _dictionary(folder: Path, n: int, d_model: int) -> None:
    folder.mkdir()
    rows = torch.arange(n)
    W_enc, W_dec = torch.zeros(n, d_model), torch.zeros(n, d_model)
    W_enc[rows, 1 + rows] = 1.0
    W_dec[rows, 1 + n + rows] = 1.0
    tensors = {
        "W_enc": W_enc.T.contiguous(), "b_enc": torch.full((n,), -0.01), "W_dec": W_dec, "b_dec": torch.zeros(d_model),
    }  # fmt: skip
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {
        "architecture": "standard", "d_in": d_model, "d_sae": n, "hook_name": "blocks.0.hook_resid_post",
        "apply_b_dec_to_input": False, "normalize_activations": "none", "dtype": "float32",
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))
