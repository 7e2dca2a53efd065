"""Dictionaries that their own library wrote, and whether ours computes what the library computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.sae import peers
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.load import load_dictionary

TOLERANCE = 1e-5


def written(library: str, folder: Path) -> Path:
    """The folder, filled by `peer_scripts/write_LIBRARY.py`."""
    peers.run(library, peers.PINS / f"write_{library}.py", folder)
    return folder


def reference(folder: Path) -> dict[str, Tensor]:
    """x, and the library's f and x_hat of it."""
    return load_file(folder / "reference.safetensors")


def close(actual: Tensor, expected: Tensor) -> None:
    """Equal within 1e-5 of the largest value."""
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max()))


def sparse(f: Tensor) -> Tensor:
    """f, in which some features are active and some are not: otherwise a comparison would show little."""
    assert 0.02 < (f > 0).float().mean() < 0.9
    return f


def agrees(dictionary: Dictionary, folder: Path) -> None:
    """Raise unless encode, a few features of it, and decode equal the library's."""
    held = reference(folder)
    close(dictionary.encode(held["x"]), sparse(held["f"]))
    some = torch.tensor([5, 0, 11])
    close(dictionary.encode(held["x"], some), held["f"][:, some])
    close(dictionary.decode(held["f"], held["x"]), held["x_hat"])


def refused(path: Path | str, *parts: str, **options: object) -> None:
    """Raise unless loading fails with one line that holds all of `parts`."""
    with pytest.raises(DictionaryError) as caught:
        load_dictionary(str(path), **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
