"""A subject with known circuits: three layers, hand-written weights, and dictionaries whose features are its concepts.

The subject is a Llama of three blocks. After block 0, each concept word has an axis of its own. Attention of block 1 looks at all tokens
alike and notes on further axes which concepts it has seen; its MLP computes *parts*, each from two concepts that support and one that
inhibits it. The MLP of block 2 computes *wholes*, each from two parts and one concept that is read past the parts. The output head reads
whole m as the word `answer{m}`. The residual stream is turned by a random rotation, so that no feature lies along a basis direction.

There is a dictionary after every block: 0 has the concepts and the fillers, 1 the parts and the fillers, 2 the wholes and the parts. Of
these features only those in `Circuits.edges` matter for an answer; notes on seen concepts are in no dictionary, and are in its error.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae.dictionary import Dictionary
from sae.formats.saelens import writer
from sae.subject.model import Subject, load_subject

LAYERS, WHOLES, FILLERS = 3, 4, 12
PARTS = 2 * WHOLES
CONCEPTS = 3 * PARTS + WHOLES
"""Two concepts support a part and one inhibits it; one more is read by each whole."""
TOKENS = 12
"""Tokens of a prompt."""
_BIAS = 30.0
"""The constant component of every residual, which keeps the norms nearly constant."""
_THRESHOLD, _INHIBITION = 0.2, 0.5

Feature = tuple[int, int, int]
"""Layer, position, and number of a feature in the dictionary of the layer."""


class Recipe(NamedTuple):
    """The numbers of the concepts of a part."""

    supporting: tuple[int, int]
    inhibiting: int


def part(number: int) -> Recipe:
    """The concepts of a part."""
    return Recipe((3 * number, 3 * number + 1), 3 * number + 2)


def skipped(whole: int) -> int:
    """The concept that a whole reads past the parts."""
    return 3 * PARTS + whole


def parts(whole: int) -> tuple[int, int]:
    """The parts of a whole."""
    return 2 * whole, 2 * whole + 1


def concepts(whole: int) -> list[int]:
    """All concepts that support a whole."""
    return [c for p in parts(whole) for c in part(p).supporting] + [skipped(whole)]


@dataclass(frozen=True)
class Circuits:
    """Folders of the subject and of the dictionaries after blocks 0, 1 and 2."""

    subject: Path
    dictionaries: tuple[Path, ...]

    def load(self) -> Subject:
        return load_subject(str(self.subject), precision="float32", device="cpu")

    def prompt(self, whole: int, rng: random.Random, *, also: int | None = None) -> str:
        """A prompt with a whole's concepts, one of its inhibiting concepts, and fillers; with `also`, two concepts of that whole."""
        chosen = [*concepts(whole), part(rng.choice(parts(whole))).inhibiting]
        if also is not None:
            chosen += rng.sample(concepts(also)[:4], 2)
        words = [f"concept{c}" for c in chosen]
        words += [f"filler{rng.randrange(FILLERS)}" for _ in range(TOKENS - 1 - len(words))]
        rng.shuffle(words)
        return " ".join([*words, "filler0"])

    def edges(self, prompt: str, *wholes: int) -> set[tuple[Feature, Feature | None]]:
        """The edges of the circuits of `answer{whole}` after the prompt; None stands for the answers. Silent features have none."""
        words = prompt.split()
        last, seen = len(words), TOKENS / (len(words) + 1)  # after BOS; attention takes the mean over all tokens
        where: dict[int, list[int]] = {concept: [] for concept in range(CONCEPTS)}
        for position, word in enumerate(words, 1):
            if word.startswith("concept"):
                where[int(word.removeprefix("concept"))].append(position)
        found: set[tuple[Feature, Feature | None]] = set()
        for whole in wholes:
            strength = seen * len(where[skipped(whole)]) - _THRESHOLD
            own: set[tuple[Feature, Feature | None]] = {((2, last, whole), None)}
            own |= {((0, position, skipped(whole)), (2, last, whole)) for position in where[skipped(whole)]}
            for number in parts(whole):
                support = sum(len(where[concept]) for concept in part(number).supporting)
                activation = seen * (support - _INHIBITION * len(where[part(number).inhibiting])) - _THRESHOLD
                if activation > 0:
                    strength += activation
                    own.add(((1, last, number), (2, last, whole)))
                    for concept in (*part(number).supporting, part(number).inhibiting):
                        own |= {((0, position, concept), (1, last, number)) for position in where[concept]}
            found |= own if strength > 0 else set()
        return found


def make(folder: Path, *, seed: int = 0) -> Circuits:
    """Write a subject and its dictionaries."""
    axes = _Axes()
    words = ["<s>", *(f"concept{c}" for c in range(CONCEPTS)), *(f"filler{f}" for f in range(FILLERS))]
    words += [f"answer{w}" for w in range(WHOLES)]
    number = {word: i for i, word in enumerate(words)}
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(axes.width, axes.width, generator=generator))[0]
    _write_subject(folder / "subject", axes, number, turn, generator)
    rows = (
        [*axes.concepts, *axes.fillers],
        [*axes.parts, *axes.fillers],
        [*axes.wholes, *axes.parts],
    )
    dictionaries = tuple(folder / f"dictionary-{layer}" for layer in range(LAYERS))
    for layer, path in enumerate(dictionaries):
        writer.save(path, _dictionary(turn[list(rows[layer])], layer), model_name="circuits")
    return Circuits(folder / "subject", dictionaries)


class _Axes:
    """The axes of the residual stream before it is turned."""

    def __init__(self) -> None:
        sizes = (1, CONCEPTS, FILLERS, CONCEPTS, PARTS, WHOLES)
        starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        spans = [range(*pair) for pair in pairwise(starts)]
        (self.constant,), self.concepts, self.fillers, self.seen, self.parts, self.wholes = spans
        self.width = starts[-1] + starts[-1] % 2


def _write_subject(path: Path, axes: _Axes, number: dict[str, int], turn: Tensor, generator: torch.Generator) -> None:
    width = axes.width
    config = LlamaConfig(
        vocab_size=len(number), hidden_size=width, intermediate_size=PARTS, num_hidden_layers=LAYERS, num_attention_heads=1,
        num_key_value_heads=1, hidden_act="relu", max_position_embeddings=64, tie_word_embeddings=False, rms_norm_eps=1e-6,
        bos_token_id=0, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    unit = _BIAS / width**0.5  # a norm divides by this, up to the small axes
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.zero_()
        table = torch.zeros(len(number), width)
        table[:, axes.constant] = _BIAS
        for prefix, own in (("concept", axes.concepts), ("filler", axes.fillers)):
            for i, axis in enumerate(own):
                table[number[f"{prefix}{i}"], axis] = 1.0
        model.model.embed_tokens.weight.copy_(table @ turn)
        values, out = torch.zeros(width, width), torch.zeros(width, width)
        for i in range(CONCEPTS):  # attention is uniform, because queries and keys are 0
            values[i, axes.concepts[i]] = unit
            out[axes.seen[i], i] = float(TOKENS)
        attention = model.model.layers[1].self_attn
        attention.v_proj.weight.copy_(values @ turn)
        attention.o_proj.weight.copy_(turn.T @ out)
        recipes: dict[int, list[dict[int, float]]] = {1: [], 2: []}
        for p in range(PARTS):
            first, second = part(p).supporting
            inhibiting = part(p).inhibiting
            recipes[1].append({axes.seen[first]: 1.0, axes.seen[second]: 1.0, axes.seen[inhibiting]: -_INHIBITION})
        for w in range(WHOLES):
            recipes[2].append({axes.parts[p]: 1.0 for p in parts(w)} | {axes.seen[skipped(w)]: 1.0})
        for layer, written in ((1, axes.parts), (2, axes.wholes)):
            _write_mlp(model.model.layers[layer].mlp, recipes[layer], written, axes, turn, unit)
        head = 0.01 * torch.randn(len(number), width, generator=generator)
        head[:, axes.constant] = 0
        for w in range(WHOLES):
            head[number[f"answer{w}"], axes.wholes[w]] = 2.0
        model.lm_head.weight.copy_(unit * head @ turn)
    model.save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel(number, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<s>", bos_token="<s>").save_pretrained(path)


def _write_mlp(
    mlp: torch.nn.Module, recipes: list[dict[int, float]], written: range, axes: _Axes, turn: Tensor, unit: float
) -> None:
    """Neuron i is relu of the recipe's sum less the threshold, and is written to axis `written[i]`."""
    gate, up, down = (torch.zeros(PARTS, axes.width) for _ in range(3))
    for i, recipe in enumerate(recipes):
        for axis, weight in recipe.items():
            gate[i, axis] = weight * unit
        gate[i, axes.constant] = -_THRESHOLD * unit / _BIAS
        up[i, axes.constant] = unit / _BIAS
        down[i, written[i]] = 1.0
    for module, weight in ((mlp.gate_proj, gate @ turn), (mlp.up_proj, up @ turn), (mlp.down_proj, (down @ turn).T)):
        module.weight.copy_(weight)


def _dictionary(directions: Tensor, layer: int) -> Dictionary:
    return Dictionary(
        W_enc=directions, b_enc=torch.full((len(directions),), -0.02), W_dec=directions, b_dec=torch.zeros(directions.shape[1]),
        activation="relu", hook_point=f"resid_post.{layer}", path=f"circuits-{layer}",
    )  # fmt: skip
