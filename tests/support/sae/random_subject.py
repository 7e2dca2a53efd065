"""A subject whose words depend on one another: three blocks with large random weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from sae.subject.model import Subject


def random_subject(tokenizer: Any) -> Subject:
    """A GPT-2 of width 16 over the tokenizer's words, in memory."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=3, n_head=2, n_positions=64)
    config.bos_token_id = config.eos_token_id = None
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return Subject(model, tokenizer, name="deep", fingerprint="x")
