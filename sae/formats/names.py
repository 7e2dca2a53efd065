"""The names by which a spec may call a file format: those of `sae.formats.ADAPTERS`, for programs that must not import torch."""

from __future__ import annotations

NAMES = (
    *("saelens", "gemma_scope", "gemma_scope_2", "sparsify", "dictionary_learning", "llama_scope", "llamascopium"),
    *("circuit_tracer", "qwen_scope", "crosscoder", "temporal", "openai", "goodfire", "r1_distill"),
)
