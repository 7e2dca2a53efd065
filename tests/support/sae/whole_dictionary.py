"""A small subject with text and dictionaries of all kinds, and every activation of its units in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from support.planted_world import world as planted
from support.sae.tiny_dictionaries import dictionary as any_dictionary
from transformers import GPT2Config, GPT2LMHeadModel

from sae.corpus.corpus import Corpus, open_corpus
from sae.dictionary import Dictionary
from sae.explorer.whole_sketch import WholePlan, WholeReader, WholeReading, WholeSketch
from sae.harvest import harvest
from sae.harvest.sketch import Quota
from sae.harvest.units import UnitKey
from sae.subject.model import Subject, load_subject

HOOK, WINDOW, D = "resid_post.1", 16, 16
QUOTA = Quota(explain=4, judge=0, silent=0, top=9)


@dataclass(frozen=True)
class Whole:
    """A subject, a dictionary and text; `units` are all features, and all signed neurons of the layer."""

    subject: Subject
    dictionary: Dictionary
    corpus: Corpus

    @property
    def neuron_hook_point(self) -> str:
        return self.subject.neuron_hook_point(self.dictionary.hook_point)

    @property
    def units(self) -> tuple[UnitKey, ...]:
        features = [UnitKey("feature", i, "") for i in range(self.dictionary.d_sae)]
        width = self.subject.width(self.neuron_hook_point)
        return (*features, *(UnitKey("neuron", i, sign) for i in range(width) for sign in "+-"))

    def plan(
        self, batch_tokens: int = 512, sampled: float = 0.5, units: tuple[UnitKey, ...] | None = None
    ) -> WholePlan:
        return WholePlan(
            self.units if units is None else units, QUOTA, WINDOW, skip_positions=1, max_norm_ratio=10.0, seed=3,
            batch_tokens=batch_tokens, sampled=sampled, neuron_sampled=sampled / 2,
        )  # fmt: skip

    def reading(self, plan: WholePlan) -> WholeReading:
        reader = WholeReader(self.subject, self.dictionary, plan.units)
        limit = harvest.norm_limit(reader, self.corpus, plan)
        return WholeReading(reader, plan, limit, self.new_sketch(plan))

    def read(self, plan: WholePlan, shard_tokens: int = 1 << 30) -> WholeSketch:
        """The sketch of all shards, saved, restored and merged from the last to the first."""
        merged: WholeSketch | None = None
        for shard in reversed(harvest.shards(self.corpus, shard_tokens, plan.batch_tokens)):
            reading = self.reading(plan)
            harvest.read_shard([reading], self.corpus, shard)
            sketch = self.new_sketch(plan)
            sketch.restore(reading.sketch.state())
            if merged is not None:
                sketch.merge(merged)
            merged = sketch
        assert merged is not None
        return merged

    def new_sketch(self, plan: WholePlan) -> WholeSketch:
        return WholeSketch(plan, self.subject.width(self.neuron_hook_point), "cpu")

    @cached_property
    def sketch(self) -> WholeSketch:
        """The sketch of the text read at once."""
        return self.read(self.plan())

    @cached_property
    def everything(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Activations of all units at all tokens (units, n_tokens), which tokens count (n_tokens,), and the neurons' values."""
        plan = self.plan()
        values, text = harvest.run_contexts(
            self.subject, self.corpus, np.arange(len(self.corpus.contexts)), [HOOK, self.neuron_hook_point]
        )
        column = np.concatenate([np.arange(n) for n in self.corpus.contexts["length"]])
        limit = self.reading(plan).limit
        counted = text.numpy() & (values[HOOK].norm(dim=1).numpy() <= limit) & (column >= plan.skip_positions)
        m = values[self.neuron_hook_point].numpy()
        with torch.inference_mode():
            features = self.dictionary.activations(values[HOOK].float()).numpy().T
        signed = np.stack([m.T, -m.T], axis=1).reshape(-1, len(m)).clip(min=0)
        return np.concatenate([features, signed]) * counted, counted, m


def make(folder: Path, activation: str = "topk", documents: int = 60) -> Whole:
    """A GPT-2 of random weights over the planted world's text. `activation` is that of the dictionary, or `transcoder`."""
    world = planted.make(folder, documents=documents)
    tokenizer = load_subject(str(world.subject), precision="float32", device="cpu").tokenizer
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=D, n_layer=2, n_head=2, n_positions=64)
    config.bos_token_id = config.eos_token_id = None
    subject = Subject(GPT2LMHeadModel(config), tokenizer, name="gpt2", fingerprint="random")
    dictionary = any_dictionary("jumprelu" if activation == "transcoder" else activation)
    if activation == "transcoder":
        dictionary = _transcoder(dictionary)
    corpus = open_corpus(
        [str(world.corpus)], tokenizer=tokenizer, tokenizer_fingerprint="planted", context_tokens=48, max_tokens=60_000,
        bos_id=subject.bos_id, special_ids=subject.special_ids,
    )  # fmt: skip
    return Whole(subject, dictionary, corpus)


def _transcoder(dictionary: Dictionary) -> Dictionary:
    return replace(dictionary, hook_point="resid_post.1", hook_point_out="mlp_out.1", apply_b_dec_to_input=False)
