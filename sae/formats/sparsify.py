"""sparsify folders (EleutherAI): `<hook point>/cfg.json` and `<hook point>/sae.safetensors`.

`encoder.weight` and `W_dec` are both (d_sae, d_in); `f` is the k largest of `relu((x - b_dec) @ encoder.weight.T + encoder.bias)`.
The folder is named after the module whose output is read, below the base model: `layers.5`. `num_latents = 0`, the default,
means d_in times the expansion factor. Layout: https://github.com/EleutherAI/sparsify (`sparse_coder.py`).
"""

from __future__ import annotations

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.place import Place
from sae.formats.reading import read_config, read_safetensors, take

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
PUBLISHER, CHECKED = "sparsify (EleutherAI)", ""
FILES: tuple[str, ...] = (CONFIG, WEIGHTS)
_DEFAULT_K = 32


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(CONFIG, WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    folder = place.folder
    config_file, file = folder / CONFIG, folder / WEIGHTS
    config = read_config(config_file)
    activation = config.get("activation", "topk")
    if activation != "topk":
        raise DictionaryError(f"{config_file}: activation {activation!r} is not supported: use topk")
    for name in ("transcode", "skip_connection", "signed"):
        if config.get(name):
            raise DictionaryError(f"{config_file}: {name} = true is not supported: use a plain sparse autoencoder")
    where = place.where([folder.name], config_file)
    k = config.get("k", _DEFAULT_K)
    if not isinstance(k, int) or isinstance(k, bool):
        raise DictionaryError(f"{config_file}: k = {k!r} is not a whole number")
    tensors = read_safetensors(file)
    if "W_skip" in tensors:
        raise DictionaryError(
            f"{file} holds W_skip: skip transcoders are not supported: use a plain sparse autoencoder"
        )
    W_enc, W_dec = take(tensors, "encoder.weight", 2, file), take(tensors, "W_dec", 2, file)
    for name, size in (("d_in", W_enc.shape[1]), ("num_latents", W_enc.shape[0])):
        if config.get(name) and config[name] != size:
            raise DictionaryError(
                f"{file}: encoder.weight says {name} = {size}, {CONFIG} says {config[name]!r}: the two do not belong together"
            )
    return Dictionary(
        W_enc=W_enc,
        b_enc=take(tensors, "encoder.bias", 1, file),
        W_dec=W_dec,
        b_dec=take(tensors, "b_dec", 1, file),
        activation="topk",
        k=k,
        apply_b_dec_to_input=True,
        hook_point=where,
        architecture="topk",
        path=str(folder),
        format="sparsify",
    )
