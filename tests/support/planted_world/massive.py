"""A planted subject in which one word has a massive norm, as some tokens of trained subjects have."""

from __future__ import annotations

from pathlib import Path

import torch
from support.planted_world import world as planted
from transformers import AutoTokenizer, LlamaForCausalLM

TIMES = 100.0


def subject_with(world: planted.World, word: str, folder: Path) -> Path:
    """Write a copy of the world's subject in which a word's embedding is `TIMES` as long."""
    model, tokenizer = LlamaForCausalLM.from_pretrained(world.subject), AutoTokenizer.from_pretrained(world.subject)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(planted.SPACE + word)] *= TIMES
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
