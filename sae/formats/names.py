"""The names of the file formats in a spec, the keys of `sae.formats.load.ADAPTERS`, for programs that must not import torch."""

from __future__ import annotations

NAMES = (
    *("saelens", "gemma_scope", "gemma_scope_2", "sparsify", "dictionary_learning", "llama_scope", "llamascopium"),
    *("circuit_tracer", "qwen_scope", "crosscoder", "temporal", "openai", "goodfire", "r1_distill"),
)
