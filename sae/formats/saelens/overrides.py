"""Facts that some publishers of SAELens dictionaries leave out of their files, and without which these would be read wrongly.

SAELens' own registry (`pretrained_saes.yaml`: `config_overrides`, `norm_scaling_factor`) holds them by repository. A test compares
them with that registry.
"""

from __future__ import annotations

CENTRED = (
    "jbloom/GPT2-Small-SAEs-Reformatted",
    "jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8",
    "tommmcgrath/gpt2-small-mlp-out-saes",
)
"""Repositories trained on TransformerLens' centred stream (SAELens pull request 279)."""

NORMS = {"JoshEngels/Mistral-7B-Residual-Stream-SAEs": "constant_norm_rescale"}
"""Normalisation by repository."""

_MLP_SCALES = (
    1.049317316132615,
    2.3693984005104283,
    1.6411934982190302,
    1.8958522157897557,
    1.81673478700627,
    1.550234472245924,
    1.3237742807210804,
    1.1042905114723296,
    0.9123762783479742,
    0.6955335635232373,
    0.3619728926727644,
    0.2851548652550073,
)
SCALES = {
    "jbloom/Gemma-2b-Residual-Stream-SAEs/gemma_2b_blocks.12.hook_resid_post_16384": 0.21381938399317255,
    **{
        f"tommmcgrath/gpt2-small-mlp-out-saes/sae_group_gpt2_blocks.{layer}.hook_mlp_out_24576": scale
        for layer, scale in enumerate(_MLP_SCALES)
    },
}
"""Factor on the input of dictionaries whose config says expected_average_only_in. A folder's name may end in a version, `:v1`."""
