"""Names of hook points in the notations of TransformerLens 2 and 3, transformers and nnsight."""

from __future__ import annotations

import pytest
import torch
from support.sae.tiny_models import LLAMA, VOCAB, D, hf, tiny_model, tiny_tokenizer

from sae.errors import SubjectError
from sae.subject.hook_points import to_hook_point
from sae.subject.model import Subject

NAMES = {
    # TransformerLens 2
    "blocks.3.hook_resid_pre": "resid_post.2",
    "blocks.3.hook_mlp_in": "resid_mid.3",
    "blocks.0.attn.hook_z": "attn_z.0",
    "hook_embed": "embed.0",
    # TransformerLens 3
    "blocks.3.hook_in": "resid_post.2",
    "blocks.0.hook_in": "resid_pre.0",
    "blocks.3.hook_out": "resid_post.3",
    "blocks.2.ln1.hook_in": "resid_post.1",
    "blocks.3.ln2.hook_in": "resid_mid.3",
    "blocks.3.ln2.hook_out": "mlp_in.3",
    "blocks.3.attn.o.hook_in": "attn_z.3",
    "blocks.3.ln1_post.hook_out": "attn_out.3",
    "blocks.3.mlp.hook_in": "mlp_in.3",
    "blocks.3.mlp.out.hook_in": "mlp_act.3",
    "blocks.3.ln2_post.hook_out": "mlp_out.3",
    "embed.hook_out": "embed.0",
    # nnsight
    "model.model.layers[5].output[0]": "resid_post.5",
    "transformer.h[4].inputs[0][0]": "resid_post.3",
    "gpt_neox.layers[3].mlp.output": "mlp_out.3",
    "model.layers.2.mlp.down_proj.input[0]": "mlp_act.2",
    # transformers
    "transformer.wte": "embed.0",
    "gpt_neox.embed_in": "embed.0",
    "layers.5.mlp": "mlp_out.5",
}
OTHER_PLACES = (
    "model.layers.3.post_attention_layernorm.output",  # after attention in Gemma 2, before the MLP in Llama
    "blocks.3.attn.hook_in",
    "blocks.3.mlp.in.hook_out",
    "pos_embed.hook_out",
    "lm_head.output",
    "blocks.3.attn.q.hook_out",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_other_libraries_are_understood(name: str) -> None:
    assert to_hook_point(name) == NAMES[name]


@pytest.mark.parametrize("name", OTHER_PLACES)
def test_other_places_are_no_hook_point(name: str) -> None:
    assert to_hook_point(name) is None


def test_the_embedding_is_read_before_positions_are_added() -> None:
    gpt2 = hf.GPT2Config(n_embd=D, n_layer=2, n_head=2, vocab_size=VOCAB, n_positions=32)
    gemma = hf.Gemma2Config(**{**LLAMA, "head_dim": 8})
    llama = hf.LlamaConfig(**LLAMA)
    ids = torch.arange(3, 13)[None]  # Gemma 2 scales within the module of its embedding
    for config, differs in ((gpt2, True), (gemma, False), (llama, False)):
        subject = Subject(tiny_model(config), tiny_tokenizer(), name="tiny", fingerprint="0")
        values = subject.run(ids, ["embed.0", "resid_pre.0"])
        with torch.no_grad():
            expected = subject.model.get_input_embeddings()(ids)
        assert torch.equal(values["embed.0"], expected)
        assert torch.equal(values["embed.0"], values["resid_pre.0"]) is not differs
    assert subject.width("embed.0") == D
    with pytest.raises(SubjectError, match=r"use embed\.0"):
        subject.width("embed.1")
