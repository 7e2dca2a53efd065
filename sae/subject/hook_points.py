"""Names of hook points: the token embedding and eight places in a transformer block, and other libraries' names for them.

    embed.0        output of the embedding's module                           width d_model
    resid_pre.L    input of block L; for L > 0 it is resid_post.(L-1)         width d_model
    resid_mid.L    residual stream between attention and MLP                  width d_model
    resid_post.L   output of block L                                          width d_model
    attn_z.L       input of attention's output projection                     width heads x d_head
    attn_out.L     what attention adds to the residual stream                 width d_model
    mlp_in.L       input of the MLP, after its norm                           width d_model
    mlp_act.L      input of the MLP's down projection: the neurons            width of the MLP
    mlp_out.L      what the MLP adds to the residual stream                   width d_model

If a model has a norm after attention or MLP (Gemma 2 and 3, OLMo 2), the value that is added is that norm's output. `embed.0` differs
from `resid_pre.0` if the model adds positions to the embedding (GPT-2) or normalises it (BLOOM).
"""

from __future__ import annotations

import re

from sae.errors import SubjectError

BLOCK_KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_z", "attn_out", "mlp_in", "mlp_act", "mlp_out")
"""Kinds of hook point that every layer has of its own."""
KINDS = ("embed", *BLOCK_KINDS)
PATTERN = rf"({'|'.join(KINDS)})\.(\d+)"
"""Regular expression of every hook point's name."""

_TRANSFORMER_LENS = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "attn.hook_z": "attn_z",
    "hook_attn_out": "attn_out",
    "hook_mlp_in": "resid_mid",
    "mlp.hook_post": "mlp_act",
    "hook_mlp_out": "mlp_out",
    # TransformerLens 3: every module of a TransformerBridge has hook_in and hook_out
    "hook_in": "resid_pre",
    "hook_out": "resid_post",
    "ln1.hook_in": "resid_pre",
    "attn.o.hook_in": "attn_z",
    "attn.hook_out": "attn_out",
    "ln1_post.hook_out": "attn_out",
    "ln2.hook_in": "resid_mid",
    "ln2.hook_out": "mlp_in",
    "mlp.hook_in": "mlp_in",
    "mlp.out.hook_in": "mlp_act",
    "mlp.hook_out": "mlp_out",
    "ln2_post.hook_out": "mlp_out",
}
"""Our kind for each of TransformerLens' names below `blocks.L.`. Its `ln2.hook_normalized`, before the norm's gain, is missing:
not every model has such a place."""
_LENS_NAME = re.compile(rf"blocks\.(\d+)\.({'|'.join(map(re.escape, _TRANSFORMER_LENS))})")
_EMBEDDING = re.compile(
    r"hook_embed|embed\.hook_out|(?:\w+\.)*(?:embed_tokens|wte|embed_in|word_embeddings)(?:\.output)?"
)

_MODULES = (
    (r"", "output", "resid_post"),
    (r"", "input", "resid_pre"),
    (r"\.(?:mlp|ffn|feed_forward)", "input", "mlp_in"),
    (r"\.(?:mlp|ffn|feed_forward)", "output", "mlp_out"),
    (r"\.pre_feedforward_layernorm", "output", "mlp_in"),
    (r"\.pre_feedforward_layernorm", "input", "resid_mid"),
    (r"\.post_feedforward_layernorm", "output", "mlp_out"),
    (r"\.(?:self_attn|attn|attention|self_attention)", "output", "attn_out"),
    (r"\.(?:self_attn|attn)\.(?:o_proj|c_proj|out_proj)", "input", "attn_z"),
    (
        r"\.(?:mlp\.(?:down_proj|c_proj|dense_4h_to_h|fc_out|fc2)|ffn\.down_proj|fc2)",
        "input",
        "mlp_act",
    ),
)
"""Module of a block, its side, and our kind."""
AMBIGUOUS = re.compile(r"(?:\w+\.)*(?:layers|h|blocks)\.(\d+)\.post_attention_layernorm(?:\.output)?")
"""A module whose place depends on the model: it follows attention if there is a `pre_feedforward_layernorm` too (Gemma 2), and stands before
the MLP otherwise (Llama)."""


def named(name: str) -> str:
    """The hook point that a user names in our way, TransformerLens' or by a module path. Raises `SubjectError`."""
    if re.fullmatch(PATTERN, name):
        return name
    if hook_point := to_hook_point(name):
        return hook_point
    raise SubjectError(
        f"this hook point is not known: use one of {', '.join(KINDS)} with a layer, such as resid_post.12, or TransformerLens'"
        " name, such as blocks.12.hook_resid_post"
    )


def parse(hook_point: str) -> tuple[str, int]:
    """Split `resid_post.12` into its kind and layer, `("resid_post", 12)`. Raises `SubjectError`."""
    match = re.fullmatch(PATTERN, hook_point)
    if not match:
        raise SubjectError(
            f"hook point {hook_point!r} is not known: use one of {', '.join(KINDS)} with a layer, such as resid_post.12"
        )
    return match[1], int(match[2])


def to_hook_point(name: str) -> str | None:
    """Our name of a hook point, given TransformerLens' name, or a module path of transformers or nnsight; None if it is another place.

    A bare module path means the module's output: `layers.5` is resid_post.5, and `layers.5.mlp` is mlp_out.5, which the model
    adds unchanged unless a norm follows it. nnsight writes `layers[5].output[0]` and `layers[5].inputs[0][0]`.
    """
    if re.fullmatch(PATTERN, name):
        return _canonical(name)
    name = re.sub(r"(?<=output)(?:\[0\])+|(?<=input)(?:\[0\])+", "", name.replace("inputs", "input"))
    name = re.sub(r"\[(\d+)\]", r".\1", name)
    if match := _LENS_NAME.fullmatch(name):
        return _canonical(f"{_TRANSFORMER_LENS[match[2]]}.{match[1]}")
    if _EMBEDDING.fullmatch(name):
        return "embed.0"
    for module, side, kind in _MODULES:
        ending = r"\.input" if side == "input" else r"(?:\.output)?"
        if match := re.fullmatch(rf"(?:\w+\.)*(?:layers|h|blocks)\.(\d+){module}{ending}", name):
            return _canonical(f"{kind}.{match[1]}")
    return None


def _canonical(name: str) -> str:
    kind, layer = parse(name)
    return f"resid_post.{layer - 1}" if kind == "resid_pre" and layer > 0 else f"{kind}.{layer}"
