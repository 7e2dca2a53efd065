"""A world whose truth is known: a subject, a dictionary and a corpus in which every unit answers to words we chose.

The subject is a Llama whose blocks pass the embedding through: a word's residual is its own embedding. Each word of a concept
points along that concept's direction, its five strong words with more than half of the largest activation and its five weak
ones with less. Strong words *are* the concept (grade 3); weak ones are only related to it (grade 1). Units of kind `pure`
answer to one concept, `pair` to two unrelated ones, `noise` to a random handful of filler words, `rare` to a word of three
documents, `absent` to one that never occurs, and `strange` to the words that a test added.

The tokenizer is a Llama's in kind: words are pieces of a unigram vocabulary, everything else falls back to bytes.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from autointerp.messages import (
    ExplainMaterial,
    GroupMaterial,
    Material,
    Prompt,
    Reply,
    ScoreMaterial,
    TaskMaterial,
    Usage,
)
from autointerp.spec.spec import Spec, parse
from sae.corpus.sources import clean

CONCEPTS = ("harbour", "orchard", "furnace", "glacier", "theatre", "monsoon", "bakery", "quarry")
STRONG, WEAK, FILLERS = 5, 5, 60
_WORD = re.compile(rf"(near)?({'|'.join(CONCEPTS)})([0-4])")
BIAS = 8.0
"""The constant component that keeps RMSNorm from rescaling words differently."""
STRANGE, PLAIN = "strange", "plain"
IDLE = ("rare", "absent")
NO_RANDOM = {"random_dictionary": False, "random_subject": False}
"""Controls of a spec without random weights, which tests about other things need not read and judge."""
SPACE = "\u2581"
"""What the tokenizer's pieces have in place of a space."""


def strong_word(concept: str, i: int) -> str:
    return f"{concept}{i}"


def weak_word(concept: str, i: int) -> str:
    return f"near{concept}{i}"


def vocabulary(extra: Sequence[str] = ()) -> list[str]:
    """All words; those of `extra` texts come last."""
    words: list[str] = []
    for concept in CONCEPTS:
        words += [strong_word(concept, i) for i in range(STRONG)] + [weak_word(concept, i) for i in range(WEAK)]
    return words + [f"filler{i}" for i in range(FILLERS)] + list(IDLE) + strange_words(extra)


def strange_words(extra: Sequence[str]) -> list[str]:
    """The words of added texts that are neither planted nor long, in order of appearance."""
    known = set(vocabulary()) if extra else set()
    return list(
        dict.fromkeys(w for text in extra for w in clean(text).split(" ") if 0 < len(w) <= 80 and w not in known)
    )


def plain(extra: Sequence[str]) -> tuple[str, ...]:
    """The same texts with every strange word replaced by a harmless one that the subject cannot tell from it."""
    harmless = {word: f"{PLAIN}{i}" for i, word in enumerate(strange_words(extra))}
    return tuple(" ".join(harmless.get(word, word) for word in clean(text).split(" ")) for text in extra)


def strength(word: str) -> tuple[str, float] | None:
    """A word's concept and how strongly it is that: 0.55..0.95 strong, 0.05..0.45 weak; none lies near a bin's edge."""
    found = _WORD.fullmatch(word)
    return (found[2], (0.05 if found[1] else 0.55) + 0.1 * int(found[3])) if found else None


@dataclass(frozen=True)
class World:
    """Folders of a planted subject and dictionary, the corpus file, and what each feature and neuron answers to."""

    subject: Path
    dictionary: Path
    corpus: Path
    features: tuple[tuple[str, ...], ...]
    neurons: tuple[tuple[str, ...], ...]
    """The words' concepts, or filler words, that each unit answers to."""

    def answers(self, unit_id: str) -> tuple[str, ...]:
        """The concepts, or words, that a unit answers to."""
        name, number = unit_id.rstrip("+-").split("-")[:2]
        return (self.features if name == "feature" else self.neurons)[int(number)]

    def kind(self, unit_id: str) -> str:
        """`pure`, `pair`, `noise`, `rare`, `absent` or `strange`."""
        answers = self.answers(unit_id)
        if answers[0] in (*IDLE, STRANGE):
            return answers[0]
        return "noise" if answers[0].startswith("filler") else "pure" if len(answers) == 1 else "pair"

    def spec(self, **sections: Mapping[str, Any]) -> Spec:
        """A spec over this world; `sections` replace keys of its tables."""
        data: dict[str, Any] = {
            "name": "planted",
            "subject": {"model": str(self.subject), "precision": "float32"},
            "dictionary": {"path": str(self.dictionary)},
            "corpus": {"sources": [str(self.corpus)], "context_tokens": 64, "max_tokens": 60_000},
            "units": {
                "feature_ids": list(range(len(self.features))),
                "neuron_ids": [f"{i}+" for i in range(len(self.neurons))],
            },
            "harvest": {"window_tokens": 16},
            "explain": {"top": 6, "spread": 4, "quiet": 3},
            "score": {"per_bin": 4},
            "controls": {"shuffled": 4, "base_rate": 4, "planted": 0, "repeated": 0, "neighbours": 0, **NO_RANDOM},
        }
        for name, table in sections.items():
            data[name] = data.get(name, {}) | dict(table)
        return parse(data)


def units(pure: int, pair: int, noise: int, seed: int) -> tuple[tuple[str, ...], ...]:
    rng = random.Random(seed)
    found = [(CONCEPTS[i % len(CONCEPTS)],) for i in range(pure)]
    found += [tuple(rng.sample(CONCEPTS, 2)) for _ in range(pair)]
    found += [tuple(f"filler{i}" for i in rng.sample(range(FILLERS), 8)) for _ in range(noise)]
    return tuple(found)


def make(folder: Path, *, documents: int = 300, extra: Sequence[str] = (), idle: bool = False, seed: int = 0) -> World:
    """Write a planted world.

    `extra` are documents to add to the corpus, such as hostile ones: their words join the vocabulary, and one feature answers to
    them. `idle` adds a feature whose word stands in three documents and one whose word stands in none.
    """
    words = vocabulary(extra)
    features, neurons = units(8, 4, 4, seed=1), units(4, 6, 6, seed=2)
    features += tuple((word,) for word in IDLE) if idle else ()
    features += ((STRANGE,),) if extra else ()
    directions = {word: _embedding(word, i) for i, word in enumerate(words)}
    _subject(folder / "subject", words, directions, neurons)
    write_dictionary(folder / "dictionary", features)
    rng = random.Random(seed)
    texts = [" ".join(_sentence(rng) for _ in range(12)) for _ in range(documents)]
    if idle:
        texts[3:6] = [f"{text} rare" for text in texts[3:6]]
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, *extra]))
    return World(folder / "subject", folder / "dictionary", corpus, features, neurons)


def _sentence(rng: random.Random) -> str:
    filler = [f"filler{rng.randrange(FILLERS)}" for _ in range(8)]
    concept = rng.choice(CONCEPTS)
    word = strong_word if rng.random() < 0.5 else weak_word
    filler.insert(rng.randrange(9), word(concept, rng.randrange(5)))
    return " ".join(filler)


_AXES = {name: 1 + i for i, name in enumerate([*CONCEPTS, *(f"filler{i}" for i in range(FILLERS)), *IDLE, STRANGE])}
D_MODEL = 80


def _embedding(word: str, number: int) -> torch.Tensor:
    """(D_MODEL,): along a word's axis its strength, and along axis 0 the constant that all words share."""
    row = torch.zeros(D_MODEL)
    row[0] = BIAS
    axis, length = _loudness(word, number)
    row[_AXES[axis]] = length
    return row


def _loudness(word: str, number: int) -> tuple[str, float]:
    if word in _AXES:
        return word, 0.3 + 0.7 * (_AXES[word] * 37 % 11) / 10
    return strength(word) or (STRANGE, 0.2 + 0.7 * (number * 37 % 11) / 10)


def loudness(word: str) -> tuple[str, float]:
    """What a planted word belongs to, a concept or itself, and its length along that axis."""
    return _loudness(word, 0)


def reading(answers: Sequence[str]) -> torch.Tensor:
    """(D_MODEL,): the sum of the axes of what a unit answers to."""
    row = torch.zeros(D_MODEL)
    row[[_AXES[answer] for answer in answers]] = 1.0
    return row


def _subject(
    folder: Path, words: Sequence[str], directions: Mapping[str, torch.Tensor], neurons: Sequence[Sequence[str]]
) -> None:
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), SPACE, *(SPACE + word for word in words)]
    config = LlamaConfig(
        vocab_size=len(pieces), hidden_size=D_MODEL, intermediate_size=len(neurons), num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        table = torch.zeros(len(pieces), D_MODEL)
        table[:, 0] = BIAS
        table[-len(words) :] = torch.stack([directions[word] for word in words])
        model.model.embed_tokens.weight.copy_(table)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
            layer.mlp.gate_proj.weight.zero_()
            layer.mlp.gate_proj.weight[:, 0] = 1.0
            layer.mlp.up_proj.weight.copy_(torch.stack([reading(answers) for answers in neurons]))
    model.save_pretrained(folder)
    scores = [(piece, -20.0 if i < 258 else -1.0) for i, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


def write_dictionary(folder: Path, features: Sequence[Sequence[str]]) -> None:
    """A dictionary whose feature i answers to `features[i]`."""
    rows = torch.stack([reading(answers) for answers in features])
    folder.mkdir(parents=True)
    tensors = {
        "W_enc": rows.T.contiguous(),
        "b_enc": torch.full((len(features),), -0.01),
        "W_dec": torch.nn.functional.normalize(rows, dim=1),
        "b_dec": torch.zeros(D_MODEL),
    }
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {
        "architecture": "standard", "d_in": D_MODEL, "d_sae": len(features), "hook_name": "blocks.0.hook_resid_post",
        "apply_b_dec_to_input": False, "normalize_activations": "none", "dtype": "float32",
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))


def marked_word(tokens: tuple[str, ...], mark: int) -> str:
    return tokens[mark].strip()


def said(explanation: str) -> str | None:
    """The concept that an explanation names."""
    return next((concept for concept in CONCEPTS if concept in explanation), None)


def grade(explanation: str, word: str) -> int:
    """The truth: 3 when the marked word is the concept, 1 when it is only related, else 0."""
    known = strength(word)
    if known is None or known[0] != said(explanation):
        return 0
    return 3 if known[1] > 0.5 else 1


class PlantedJudge:
    """A judge that knows the concepts. It is no LLM, and reads the material alone."""

    name = "planted"
    is_llm = False

    def identity(self) -> Mapping[str, Any]:
        return {"judge": self.name}

    def count_tokens(self, prompt: Prompt) -> int | None:
        return None

    def close(self) -> None:
        pass

    def ask(self, prompt: Prompt) -> Reply:
        if prompt.choices:
            return digit(answer(prompt.material)["grade"])
        return Reply(json.dumps(answer(prompt.material)), "complete", Usage(), "planted")


def digit(grade: int) -> Reply:
    """A sure judge's reply of one digit."""
    probabilities = {str(g): 0.97 if g == grade else 0.01 for g in range(4)}
    return Reply(str(grade), "complete", Usage(), "planted", probabilities=probabilities)


class SwappedJudge(PlantedJudge):
    """Explains every unit as a concept that it does not answer to."""

    def ask(self, prompt: Prompt) -> Reply:
        if not isinstance(prompt.material, ExplainMaterial):
            return super().ask(prompt)
        seen = {known[0] for w in prompt.material.activating if (known := strength(marked_word(w.tokens, w.mark)))}
        wrong = next(concept for concept in CONCEPTS if concept not in seen)
        return Reply(json.dumps({"explanation": f"words about a {wrong}"}), "complete", Usage(), "planted")


def answer(material: Material) -> dict[str, Any]:
    """The true answer to a question; to one about several items, that to each."""
    if isinstance(material, GroupMaterial):
        return {str(number): answer(item) for number, item in enumerate(material.items, 1)}
    if isinstance(material, TaskMaterial):
        raise NotImplementedError(material.task)
    if isinstance(material, ScoreMaterial):
        word = marked_word(material.window.tokens, material.window.mark)
        return {"reason": f"the marked word is {word}", "grade": grade(material.explanation, word)}
    marked = [marked_word(window.tokens, window.mark) for window in material.activating]
    concepts = Counter(known[0] for word in marked if (known := strength(word)))
    if not concepts:
        return {"explanation": "filler words without a common theme"}
    return {"explanation": f"words about a {concepts.most_common(1)[0][0]}"}
