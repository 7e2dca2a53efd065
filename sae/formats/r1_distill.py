"""qresearch's dictionary of DeepSeek-R1-Distill-Llama-8B: one file of `encoder.*` and `decoder.*`, weight and bias.

`relu(x @ encoder.weight.T + encoder.bias)`, with `encoder.weight` (d_sae, d_in) and `decoder.weight` (d_in, d_sae). The layer is in the
file's name: `DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt`. Formula: its model card on the hub.
"""

from __future__ import annotations

from sae.dictionary import Dictionary
from sae.formats.location import Place
from sae.formats.readers import read_torch, take, tensors_of

WEIGHTS = "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
PUBLISHER = "qresearch (DeepSeek R1 Distill)"
CHECKED = "by the published formula: encode and decode within 1e-5"
FILES: tuple[str, ...] = (WEIGHTS,)
_NAMES = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")


def matches(place: Place) -> bool:
    """Whether it is of this format, by the names of its tensors, which are all it holds."""
    file = place.only("*.pt")
    return file is not None and read_torch(file).keys() == set(_NAMES)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = place.one("*.pt")
    tensors = tensors_of(read_torch(file), file)
    layer = place.number(r"SAE-l(\d+)", file)
    return Dictionary(
        W_enc=take(tensors, "encoder.weight", 2, file),
        b_enc=take(tensors, "encoder.bias", 1, file),
        W_dec=take(tensors, "decoder.weight", 2, file).T,
        b_dec=take(tensors, "decoder.bias", 1, file),
        activation="relu",
        hook_point=place.where([] if layer is None else [f"resid_post.{layer}"], file),
        architecture="relu",
        path=str(file),
        format="r1_distill",
    )
