"""A subject whose layers differ, and dictionaries that explain a known share of one of them.

The subject is the planted world's with four blocks of random weights. Its output head predicts each word by how often it occurs,
so that its loss is far below chance and any damage to the residual stream shows. A dictionary keeps the first principal
components of what a hook point holds, each as two features, one a sign: what it explains of it is the share of their eigenvalues.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from support.planted_world import world as planted
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from sae.corpus.corpus import Corpus, open_corpus
from sae.dictionary import Dictionary
from sae.formats.saelens import writer
from sae.subject.model import Subject, load_subject

LAYERS = 4
RANK = 24


@dataclass(frozen=True)
class Deep:
    """A folder with a subject of `LAYERS` blocks, and its corpus."""

    folder: Path
    text: Path

    def subject(self) -> Subject:
        return load_subject(str(self.folder), precision="float32", device="cpu")

    def corpus(self, subject: Subject) -> Corpus:
        return open_corpus(
            [str(self.text)],
            tokenizer=subject.tokenizer,
            tokenizer_fingerprint=subject.fingerprint,
            context_tokens=64,
            max_tokens=60_000,
            bos_id=subject.bos_id,
            special_ids=subject.special_ids,
        )


def make(folder: Path, *, seed: int = 0) -> Deep:
    """Write a subject and its text. Another seed makes another model of the same shape and tokenizer."""
    world = planted.make(folder, documents=200)
    shallow = LlamaForCausalLM.from_pretrained(world.subject)
    config = LlamaConfig.from_pretrained(world.subject)
    config.num_hidden_layers = LAYERS
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        turned = torch.linalg.qr(torch.randn(planted.D_MODEL, planted.D_MODEL, generator=generator))[0]
        model.model.embed_tokens.weight.copy_(shallow.model.embed_tokens.weight @ turned)
        for parameter in model.model.layers.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        tokenizer = AutoTokenizer.from_pretrained(world.subject)
        texts = [json.loads(line)["text"] for line in world.corpus.read_text().splitlines()]
        counts = np.bincount(np.concatenate(tokenizer(texts).input_ids), minlength=config.vocab_size) + 0.1
        hidden = model.model(torch.tensor(tokenizer(texts[:4]).input_ids))[0].mean(dim=(0, 1))
        frequency = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)
        noise = torch.randn(config.vocab_size, planted.D_MODEL, generator=generator) * 0.4
        aside = noise - noise @ torch.outer(hidden, hidden) / hidden.square().sum()
        model.lm_head.weight.copy_(aside + torch.outer(frequency, hidden) / hidden.square().sum())
    model.save_pretrained(folder / "deep")
    tokenizer.save_pretrained(folder / "deep")
    return Deep(folder / "deep", world.corpus)


def values(subject: Subject, corpus: Corpus, hook_point: str) -> torch.Tensor:
    """What a hook point holds at the corpus's tokens, the first position of each context left out: (n, width)."""
    tokens, counted = corpus.batch(np.arange(len(corpus.contexts)))
    counted[:, :1] = False
    return subject.run(torch.as_tensor(tokens), [hook_point])[hook_point][torch.as_tensor(counted)]


def principal(x: torch.Tensor, hook_point: str, *, rank: int = RANK, scale: float = 1.0, silent: int = 0) -> Dictionary:
    """The dictionary of x's first `rank` principal components, trained as it were on `scale * x`.

    `silent` features more never fire.
    """
    mean = scale * x.mean(dim=0)
    directions = torch.linalg.eigh((x - x.mean(dim=0)).T.double().cov())[1].flip(1).T[:rank].float()
    both = torch.cat([directions, -directions, torch.zeros(silent, x.shape[1])])
    b_enc = torch.cat([torch.zeros(2 * rank), torch.full((silent,), -1.0)])
    return Dictionary(
        W_enc=both, b_enc=b_enc, W_dec=both, b_dec=mean, activation="relu", hook_point=hook_point,
        apply_b_dec_to_input=True, path="principal",
    )  # fmt: skip


def explained(x: torch.Tensor, rank: int = RANK) -> float:
    """The share of x's variance that its first `rank` principal components carry."""
    eigenvalues = torch.linalg.eigvalsh((x - x.mean(dim=0)).T.double().cov()).flip(0)
    return float(eigenvalues[:rank].sum() / eigenvalues.sum())


def save(folder: Path, dictionary: Dictionary) -> Path:
    writer.save(folder, dictionary, model_name="deep")
    return folder
