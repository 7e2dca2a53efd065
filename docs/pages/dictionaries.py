"""docs/dictionaries.md, from the adapters of the formats."""

from __future__ import annotations

from autointerp.harvest import pairs
from pages.markdown import MARK, one_line, row
from sae.formats.load import ADAPTERS

INTRO = """\
# Dictionaries

A spec names a dictionary by `dictionary.path`: a folder, a file, or a place on the hub, `owner/name/folder/inside` or
`owner/name/folder/file.safetensors`, with `dictionary.revision`. Only that folder's files are downloaded. The format is found by
looking at the files; `dictionary.format` names it where that is not enough.

```text
autointerp dictionaries gemma-2-2b      what SAELens' registry knows (needs the extra `saelens`)
autointerp inspect PATH                 what was understood: architecture, widths, hook point, normalisation, what was folded
autointerp inspect PATH --subject MODEL --corpus text/*.jsonl   and how well it fits that model, measured
```

Weights are read from safetensors, npz without pickles, or torch files with the reader that runs no code. Files stay mapped: of a
dictionary of a million features only the rows of the sampled ones are read, unless its activation (topk, groupmax) needs all.

## Formats

`auto` takes the first that fits. *Checked* says by what the reading was compared, for encode and decode, to 1e-5 relative in float32.

"""

END = """
Everything comes down to one set of equations, in `sae/dictionary.py`: gated encoders become their exact jumprelu, batch-wise TopK
runs as jumprelu with its stored threshold, normalisation is folded or kept as one of four kinds. What has no such form (temporal,
matching pursuit, abstopk, covariance whitening, crosscoders of several models) is refused by name.

## Hook points

| name | what it reads | TransformerLens | transformers |
|---|---|---|---|
| `embed.0` | the token embedding, before positions are added (GPT-2) or it is normalised (BLOOM) | `hook_embed`, `embed.hook_out` | output of `embed_tokens`, `wte` |
| `resid_pre.0` | the embeddings as block 0 receives them | `blocks.0.hook_resid_pre`, `hook_in` | input of block 0 |
| `resid_mid.L` | residual stream between attention and MLP | `hook_resid_mid`, `hook_mlp_in` | input of the norm before the MLP |
| `resid_post.L` | residual stream after block L | `hook_resid_post` | output of block L |
| `attn_z.L` | input of attention's output projection | `attn.hook_z` | input of `o_proj` |
| `attn_out.L` | what attention adds to the stream | `hook_attn_out` | after a norm that follows attention, where there is one |
| `mlp_in.L` | input of the MLP, after its norm | `mlp.hook_in` | input of `mlp` |
| `mlp_act.L` | the neurons | `mlp.hook_post` | input of `down_proj` |
| `mlp_out.L` | what the MLP adds to the stream | `hook_mlp_out` | after a norm that follows the MLP, where there is one |

Which models have which is measured in [models](models.md). A transcoder reads one place and writes another; its features are read where it reads.

## What is easily got wrong, and what happens here

| trap | here |
|---|---|
| `hook_mlp_out` on Gemma 2 and 3, OLMo 2: the norm after the MLP comes first | `mlp_out` is that norm's output, and is checked against the residual stream before it is used |
| dictionaries trained on a centred residual stream (`center_writing_weights`, GPT-2) | the mean is folded into the encoder; three repositories that do not say so are known by name |
| a second BOS, BOS in mid-window | BOS is put before each context once, run and never counted |
| a dictionary trained with BOS, a tokenizer that adds none (GPT-2, Pythia) | `corpus.bos = "auto"` does as the files state (`prepend_bos` of SAELens and llamascopium, `add_special_tokens` of dictionary_learning), else as the tokenizer; `inspect`, run and report name it |
| a dictionary of the embedding, on a model that adds positions | `embed.0` is the embedding's own output, `resid_pre.0` what block 0 receives |
| `hook_mlp_in` of a TransformerBridge, before or after the norm by version | refused, with the two hook points to choose from |
| an npz that inflates to gigabytes, a config of hundreds of MB | refused by the sizes that the files declare, before anything is unpacked |
| first positions and attention sinks with 100 times the norm | `harvest.skip_positions`, and tokens above `harvest.max_norm_ratio` medians are left out |
| TopK with decoder norms in the selection, folded norms | folded to decoder rows of norm 1; an activation is always `f` times its decoder row's norm |
| batch-wise TopK without a threshold (Goodfire R1) | read as TopK of each token, and said so |
| k only in the repository's name (Qwen-Scope) | taken from there, or from `dictionary.k` |
| the wrong model, layer, normalisation or revision | `inspect` and every run measure it first: see [inspecting](inspecting.md) |
"""


def page() -> str:
    """docs/dictionaries.md: the formats, as their adapters describe themselves."""
    lines = ["| `format` | whose | files | checked |", "|---|---|---|---|"]
    for name, adapter in ADAPTERS.items():
        files = ", ".join(f"`{pattern}`" for pattern in adapter.FILES[:3])
        cells = (f"`{name}`", adapter.PUBLISHER, files, adapter.CHECKED)
        lines.append(row(one_line(cell) for cell in cells))
    checked = (
        "\n## Values held against each other\n\nBefore anything is computed or spent:\n\n"
        + "\n".join(pairs.table())
        + "\n"
    )
    return MARK + INTRO + "\n".join(lines) + "\n" + END.rstrip("\n") + "\n" + checked
