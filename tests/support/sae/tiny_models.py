"""Tiny subjects of random weights, with tokenizers, in memory and as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf as gguf_format
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from sae.errors import SubjectError

TOKENS = torch.arange(3, 23).reshape(2, 10)
hf: Any = transformers
D, LAYERS, MLP, VOCAB = 16, 4, 40, 64
LLAMA = {
    "hidden_size": D,
    "num_hidden_layers": LAYERS,
    "intermediate_size": MLP,
    "vocab_size": VOCAB,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny_tokenizer() -> Any:
    words = ["<pad>", "<s>", "</s>", *(f"w{i}" for i in range(VOCAB - 3))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def refused(ask: Callable[[], Any], *needles: str) -> None:
    with pytest.raises(SubjectError) as caught:
        ask()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for needle in needles:
        assert needle in text


def write_gguf(file: Path) -> Any:
    """A float32 GGUF file of the tiny Llama, with a byte-level BPE tokenizer; returns the model it came from."""
    model = tiny_model(hf.LlamaConfig(**{**LLAMA, "num_key_value_heads": 2, "tie_word_embeddings": False}))
    w = gguf_format.GGUFWriter(file, "llama")
    w.add_context_length(32)
    w.add_embedding_length(D)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(MLP)
    w.add_head_count(2)
    w.add_head_count_kv(2)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("gpt2")
    w.add_token_list(["<pad>", "<s>", "</s>", "AB", *(chr(65 + i) for i in range(VOCAB - 4))])
    w.add_token_types([3, 3, 3] + [1] * (VOCAB - 3))
    w.add_token_merges(["A B"])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    names = gguf_format.get_tensor_name_map(gguf_format.MODEL_ARCH.LLAMA, LAYERS)
    for name, tensor in model.state_dict().items():
        array = tensor.numpy().astype(np.float32)
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # llama.cpp pairs rotary halves the other way round
            array = array.reshape(2, 2, D // 4, D).swapaxes(1, 2).reshape(D, D)
        w.add_tensor(names.get_name(name, try_suffixes=(".weight",)) or "", array)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return model


def tiny_model(config: Any) -> Any:
    torch.manual_seed(0)
    return hf.AutoModelForCausalLM.from_config(config).eval()
