"""A tiny random model of every architecture that transformers registers for causal language modelling, and those that fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from sae.subject.hook_points import BLOCK_KINDS

hf: Any = transformers
MODEL_TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
LAYERS, D, VOCAB = 3, 32, 100

_NAMES = {
    VOCAB: "vocab_size decoder_vocab_size vocab_size_per_layer_input pronunciation_vocab_size shape_vocab_size",
    D: "hidden_size d_model n_embd dim emb_dim embedding_size embedding_dim word_embed_proj_dim input_embedding_size"
    " output_embedding_size lru_width attention_hidden_size sliding_window",
    LAYERS: "num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers num_blocks",
    1: "encoder_layers num_encoder_layers n_group topk_group num_expert_group first_k_dense_replace bos_token_id"
    " decoder_start_token_id n_groups",
    4: "num_attention_heads n_head n_heads num_heads attention_heads decoder_attention_heads encoder_attention_heads"
    " num_decoder_attention_heads num_encoder_attention_heads swa_num_attention_heads linear_num_heads linear_num_value_heads"
    " mamba_n_heads mamba_num_heads mamba_dt_rank time_step_rank rotary_dim"
    " num_experts n_routed_experts num_local_experts moe_num_experts",
    2: "num_key_value_heads num_kv_heads swa_num_key_value_heads linear_num_key_heads index_n_heads num_experts_per_tok"
    " num_experts_per_token moe_topk moe_k zero_expert_num eos_token_id",
    8: "head_dim attention_head_dim d_head kv_channels dim_head swa_head_dim v_head_dim qk_nope_head_dim qk_rope_head_dim"
    " kv_lora_rank q_lora_rank linear_key_head_dim linear_value_head_dim linear_head_dim index_head_dim mamba_d_state state_size"
    " ssm_state_size",
    16: "qk_head_dim mamba_d_head mamba_head_dim mamba_headdim mamba_chunk_size chunk_size",
    48: "intermediate_size n_inner ffn_dim decoder_ffn_dim encoder_ffn_dim ffn_hidden_size dff dim_ff d_inner"
    " intermediate_size_mlp dense_intermediate_size feed_forward_size",
    24: "moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size shared_experts_intermediate_size"
    " moe_shared_expert_intermediate_size expert_ffn_hidden_size",
    64: "max_position_embeddings n_positions n_ctx max_seq_len model_max_length context_length max_target_positions"
    " max_source_positions original_max_position_embeddings index_topk",
    0: "pad_token_id num_nextn_predict_layers",
}
SIZES = {name: size for size, names in _NAMES.items() for name in names.split()}
"""The size given to every configuration key of these names."""

_MLA = (
    "axk1 axk2 bailing_hybrid deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa kimi_linear longcat_flash minicpm3"
    " youtu"
)
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {"num_key_value_heads": 4} for name in _MLA.split()},
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": VOCAB},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"hidden_size": D, "ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2},
    "dots3_note_audio_encoder": {"adapter_input_size": D, "adapter_out_dim": D},
    "dots3_note_text": {
        "num_key_value_heads": 4,
        "per_layer_config": {
            "1": {"q_lora_rank": 8, "kv_lora_rank": 8, "head_dim": 32, "qk_nope_head_dim": 24, "qk_rope_head_dim": 8}
        },
    },
    "dots3_note_vision_encoder": {"adapter_in_dim": D, "adapter_out_dim": D},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]]},
    "granitemoehybrid": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "num_local_experts": 0,
    },
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 3, "expert_layer_offset": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1},
    "mamba2": {"head_dim": 16},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"layers_block_type": ["linear_attention", "moe", "full_attention"]},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 32,
        "indexer_compress_ratio": 2,
    },
    "reformer": {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16]},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "attention_hidden_size": 2 * D,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "hybrid_layer_ids": [1, 2],
        "attention_hidden_size": 2 * D,
        "attention_head_dim": 16,
        "n_mamba_heads": 4,
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""What the names do not settle."""


def shrunk(kind: Any) -> dict[str, Any]:
    """Arguments that make a configuration of class `kind` tiny, its parts too. Every kind of layer it mixes occurs."""
    default = kind()
    values: Mapping[str, Any] = default.to_dict()
    sizes = {name: size for name, size in SIZES.items() if isinstance(values.get(name), int)}
    renamed = {name for name in getattr(kind, "attribute_map", {}) if name in SIZES and name not in values}
    sizes |= {name: SIZES[name] for name in renamed}
    sizes |= {
        name: SIZES[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id", "n_inner") if name in values
    }
    for name in ("layer_types", "mlp_layer_types", "layers_block_type", "indexer_types"):
        if isinstance(values.get(name), list):
            sizes[name] = (list(dict.fromkeys(values[name])) * LAYERS)[:LAYERS]
    for name in getattr(kind, "sub_configs", None) or {}:
        part = getattr(default, name, None)
        if part is not None and type(part).model_type:
            sizes[name] = shrunk(type(part))
    return sizes | OVERRIDES.get(kind.model_type, {})


def tiny_config(model_type: str, **changes: Any) -> Any:
    """A configuration of `LAYERS` layers, width `D` and `VOCAB` tokens."""
    kind = CONFIG_MAPPING[model_type]
    config = kind(**shrunk(kind) | changes)
    if hasattr(config, "is_decoder"):
        config.is_decoder = True
    return config


def tiny_model(config: Any) -> Any:
    """A random model whose every parameter, norms and biases too, is its own."""
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter += 0.05 * torch.randn_like(parameter)
    return model


READABLE = {
    "xxxxxxxx": "apertus arcee biogpt bitnet bloom ctrl cwm diffllama emu3 ernie4_5 exaone4 fuyu gemma gemma2 gemma3 gemma3_text"
    " gemma4_unified gemma4_unified_text glm glm4 got_ocr2 gpt-sw3 gpt2 gpt_bigcode gpt_neo granite granite_swa helium"
    " hunyuan_v1_dense hyperclovax internlm3 iquestcoder jais2 lfm2 llama megatron-bert ministral ministral3 mistral mllama"
    " modernbert-decoder moshi moss_transcribe_diarize mpt nanochat nemotron olmo olmo2 olmo3 olmo_hybrid opt persimmon phi3"
    " phi4_multimodal qwen2 qwen3 qwen3_5 qwen3_5_text roberta-prelayernorm seed_oss smollm3 stablelm starcoder2 vaultgemma xglm"
    " xlm-roberta-xl youtu",
    "xxxxxx~x": "afmoe axk1 axk2 bailing_hybrid deepseek_v2 deepseek_v3 deepseek_v32 dots1 dots3_note dots3_note_text"
    " ernie4_5_moe exaone_moe flint glm4_moe glm4_moe_lite glm_moe_dsa hy_v3 kimi_linear laguna mimo_v2_flash",
    "xxxxxx-x": "aria_text dbrx flex_olmo gpt_oss granitemoe hunyuan_v1_moe kolibri1 llama4 llama4_text mellum minimax_m2"
    " minimax_m3_vl_text mixtral olmoe phimoe qwen2_moe qwen3_5_moe qwen3_5_moe_text qwen3_moe qwen3_next solar_open",
    "x-xxxxxx": "codegen cohere cohere2 cohere_compass_text falcon gpt_neox gptj phi",
    "x-xxxx-x": "cohere2_moe",
    "xxx~~xxx": "bamba granitemoehybrid recurrent_gemma",
    "xxx~~x~x": "jamba lfm2_moe",
    "xxx~xxxx": "lfm3",
    "xxxx~xxx": "gpt_neox_japanese",
    "xxxx-xxx": "falcon_h1",
    "xxx--xxx": "xlstm",
    "xxx--x-x": "jetmoe",
    "xxxxxxx-": "gemma4 gemma4_text",
    "xxxx-xx-": "minicpm3",
    "xxxxxx--": "granitemoe_swa granitemoeshared",
    "x-xx-xx-": "bert bert-generation big_bird camembert data2vec-text doge electra ernie git openai-gpt rembert roberta roc_bert"
    " roformer trocr xlm-roberta xmod",
    "x-xx-x~-": "beam",
    "x-xx-x--": "inkling2_text inkling_text minimax reformer zaya",
    "x-x--xx-": "rwkv",
    "x-x-----": "falcon_mamba mamba mamba2 nemotron_h zamba zamba2",
}
"""Which of `hook_points.BLOCK_KINDS`, in their order, the architectures have: x in every layer, ~ in some, - in none.

Of a mixture of experts, a layer without experts has neurons. A masked language model is meant with `is_decoder`.
"""

_ENCODER_DECODER = "an encoder and a decoder: the decoder cannot read text alone"
_STREAMS = "several parallel residual streams"
_ASSISTANT = "drafts from another model's hidden states"
_REASONS = {
    "an encoder and a decoder: the decoder cannot read text alone": "bart bigbird_pegasus blenderbot blenderbot-small marian mbart"
    " musicgen musicgen_melody mvp pegasus plbart prophetnet whisper",
    "several parallel residual streams": "deepseek_v4 gemma3n gemma3n_text hy_v4 qwen4_exp qwen4_exp_text",
    "drafts from another model's hidden states": "gemma4_assistant gemma4_unified_assistant",
    "reads patches of bytes instead of tokens": "blt",
    "inserts tokens of its own before the text": "cpmant",
    "alternates between two stacks of blocks, several times per token": "hrm_text",
    "two attention layers and two MLPs per block": "longcat_flash",
    "not causal, and its sublayers are in separate lists": "xlm",
    "not causal in a plain forward pass": "xlnet",
}
REASONS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Why the others do not fit."""


def by_type() -> dict[str, str]:
    """The pattern of `READABLE` of each architecture that fits."""
    return {name: pattern for pattern, names in READABLE.items() for name in names.split()}


def table() -> str:
    """The text of `docs/models.md`: which hook points of each architecture can be read, and why the others cannot be used."""
    kinds = " | ".join(f"`{kind}`" for kind in BLOCK_KINDS)
    marks = {"x": "yes", "~": "some layers", "-": "no"}
    lines = [_PAGE.format(version=hf.__version__, fits=len(by_type()), registered=len(MODEL_TYPES))]
    lines += [f"| architectures | {kinds} |", "|---" * (len(BLOCK_KINDS) + 1) + "|"]
    for pattern, names in READABLE.items():
        cells = " | ".join(marks[mark] for mark in pattern)
        lines.append(f"| {', '.join(sorted(names.split()))} | {cells} |")
    lines += ["", "## What cannot be read", "", "| architectures | reason |", "|---|---|"]
    lines += [f"| {', '.join(names.split())} | {reason} |" for reason, names in _REASONS.items()]
    return "\n".join(lines) + "\n"


_PAGE = """<!-- Generated by `python tests/support/sae/architectures.py`. -->
# Models

The subject can be any causal language model of transformers that keeps its blocks in one list and passes one vector per token between them.
Of the {registered} model types that transformers {version} registers for causal language modelling, {fits} do. The tests build a tiny
random model of each and check what this page says: `resid_post.L` is compared bit for bit with transformers' own hidden states, neurons
with the down projection, and the outputs of attention and MLP with the residual stream before and after; the forward pass stops early; and
later tokens have no effect on earlier ones.

| hook point | value | TransformerLens |
|---|---|---|
| `resid_pre.L` | input of block L; for L > 0 it is `resid_post.(L-1)` | `blocks.L.hook_resid_pre` |
| `resid_mid.L` | residual stream between attention and MLP, if one follows the other | `blocks.L.hook_resid_mid` |
| `resid_post.L` | output of block L | `blocks.L.hook_resid_post` |
| `attn_z.L` | input of attention's output projection, with the heads concatenated | `blocks.L.attn.hook_z` |
| `attn_out.L` | what attention adds to the residual stream | `blocks.L.hook_attn_out` |
| `mlp_in.L` | input of the MLP, after its norm | `blocks.L.mlp.hook_in` |
| `mlp_act.L` | input of the MLP's down projection: the neurons | `blocks.L.mlp.hook_post` |
| `mlp_out.L` | what the MLP adds to the residual stream | `blocks.L.hook_mlp_out` |

Gemma 2 and 3, OLMo 2 and GLM-4 have a norm after attention and MLP: `attn_out` and `mlp_out` are that norm's output, as in TransformerLens.
`resid_mid`, `attn_out` and `mlp_out` are verified before use: on a few tokens, the block must add exactly these values.
Blocks that multiply them first (Granite with its residual multiplier, MiniCPM3), normalise the sum (BERT, GPT-1) or add something more
(Gemma 4) are refused in one line. If attention and MLP run in parallel (GPT-J, Cohere, Falcon), there is no `resid_mid`.

A mixture of experts has neurons only in its layers without experts. A masked language model can be used if its configuration sets
`is_decoder`. Code that comes with a checkpoint is never run.

## What can be read
"""


if __name__ == "__main__":
    Path(__file__).parents[3].joinpath("docs/models.md").write_text(table(), encoding="utf-8")
