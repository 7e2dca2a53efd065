"""What the scripts that write dictionaries share. They see one library, and of ours only what reads its objects in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sae.objects.dictionary import dictionary_of


def absent(*names: str) -> None:
    """Let `import NAME` succeed for modules that a library imports at its top and its dictionaries never use."""
    for name in names:
        sys.modules[name] = MagicMock(name=name)


def without_init(library: str, *packages: str) -> None:
    """Let modules of `library` be imported without its packages' `__init__`, which would import all of them."""
    root = next(Path(place) / library for place in sys.path if (Path(place) / library).is_dir())
    for name in (library, *(f"{library}.{package}" for package in packages)):
        package = ModuleType(name)
        package.__path__ = [str(root.parent.joinpath(*name.split(".")))]
        sys.modules[name] = package


def shake(module: nn.Module, seed: int) -> None:
    """Replace every parameter by noise of its own, so that none is zero, of norm 1, or another one's transpose."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)


def inputs(tokens: int, width: int) -> Tensor:
    """What the dictionaries are tried on: noise (tokens, width) off the origin."""
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(99)) * 2 + 0.3


def save_reference(folder: Path, x: Tensor, f: Tensor, x_hat: Tensor) -> None:
    """Write what the library itself makes of x, for the test to compare with."""
    named = {"x": x, "f": f, "x_hat": x_hat}
    save_file({name: tensor.detach().contiguous() for name, tensor in named.items()}, folder / "reference.safetensors")


def understand(given: Any, d_in: int, hook_point: str = "resid_post.4") -> None:
    """Fail unless the object in memory is read by its weights, with its own features."""
    read = dictionary_of(given, hook_point, torch.randn(300, d_in, generator=torch.Generator().manual_seed(3)) * 2)
    assert read.activation != "called", f"{type(given).__name__} was not understood"
