"""qresearch's dictionary of DeepSeek-R1-Distill-Llama-8B: one file with `encoder.*` and `decoder.*`, weight and bias each.

`relu(x @ encoder.weight.T + encoder.bias)`, with `encoder.weight` (d_sae, d_in) and `decoder.weight` (d_in, d_sae). The file's name
states the layer: `DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt`. Formula: its model card on the hub.
"""

from __future__ import annotations

from sae.dictionary import Dictionary
from sae.formats.location import DictionaryLocation
from sae.formats.readers import get_tensor, read_torch, real_tensors

WEIGHTS = "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
PUBLISHER = "qresearch (DeepSeek R1 Distill)"
CHECKED = "the published formula: encode and decode"
FILES: tuple[str, ...] = (WEIGHTS,)
_NAMES = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format: the file holds these four tensors and no others."""
    file = location.find_file("*.pt")
    return file is not None and read_torch(file).keys() == set(_NAMES)


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = location.require_file("*.pt")
    tensors = real_tensors(read_torch(file), file)
    layer = location.number_in_names(r"SAE-l(\d+)", file)
    return Dictionary(
        W_enc=get_tensor(tensors, "encoder.weight", 2, file),
        b_enc=get_tensor(tensors, "encoder.bias", 1, file),
        W_dec=get_tensor(tensors, "decoder.weight", 2, file).T,
        b_dec=get_tensor(tensors, "decoder.bias", 1, file),
        activation="relu",
        hook_point=location.choose_hook_point([] if layer is None else [f"resid_post.{layer}"], file),
        architecture="relu",
        path=str(file),
        format="r1_distill",
    )
