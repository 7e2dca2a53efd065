"""What the adapters share: reading configs and tensors without trusting them.

Tensors stay where they are: each is a view of its mapped file, in the precision of the file, until its values are used.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sae.errors import DictionaryError, one_line

Tensors = dict[str, Tensor]


def read_config(file: Path) -> dict[str, Any]:
    """The object in a JSON or YAML file. Raises `DictionaryError`."""
    kind = "YAML" if file.suffix in (".yaml", ".yml") else "JSON"
    try:
        text = file.read_text(encoding="utf-8")
        config = _parse_yaml(text) if kind == "YAML" else json.loads(text)
    except OSError as error:
        raise DictionaryError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DictionaryError(f"{file} is not {kind}: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(config, dict):
        raise DictionaryError(
            f"{file} holds a {kind} {type(config).__name__}, not an object: it is not a dictionary's config"
        )
    return config


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def read_safetensors(file: Path, whole: Collection[str] = ()) -> Tensors:
    """All tensors of `file`, real but for those in `whole`. Raises `DictionaryError`; a pickle under this name is not executed."""
    try:
        return {name: tensor if name in whole else real(tensor, name, file) for name, tensor in load_file(file).items()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        if isinstance(error, DictionaryError):
            raise
        reason = one_line(error, most=120)
        raise DictionaryError(f"{file} is not a whole safetensors file ({reason}): copy or download it again") from None


def read_torch(file: Path) -> dict[str, Any]:
    """The object that `torch.save` wrote: tensors and plain values, for nothing else is read. Raises `DictionaryError`."""
    try:
        try:
            held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):  # files from before torch 1.6 cannot be mapped
                raise
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles that it then refuses
                held = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DictionaryError(
            f"{file} holds more than tensors, or is damaged; pickled code is never run: save its state_dict, or safetensors"
        ) from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = one_line(error, most=120)
        raise DictionaryError(
            f"{file} is not a whole file of torch.save ({reason}): copy or download it again"
        ) from None
    if not isinstance(held, dict):
        raise DictionaryError(f"{file} holds a {type(held).__name__}, not named tensors: save its state_dict")
    return {str(name): value for name, value in held.items()}


def tensors_of(held: Mapping[str, Any], file: Path) -> Tensors:
    """The tensors among what `read_torch` gave, by name."""
    return {name: real(value.detach(), name, file) for name, value in held.items() if isinstance(value, Tensor)}


def read_npz(file: Path) -> Tensors:
    """All arrays of `file`. Raises `DictionaryError`, on arrays of objects (pickles) too."""
    try:
        # numpy leaves a file that it opened itself open when the archive is broken.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {
                name: _mapped(file, name) if _is_stored(archive, name) else archive[name] for name in archive.files
            }
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        AttributeError,
        TypeError,
    ) as error:
        reason = one_line(error, most=120)
        if "pickle" in reason or "object" in reason.lower():
            raise DictionaryError(
                f"{file} holds pickled objects, which can run code when loaded: save plain arrays"
            ) from None
        raise DictionaryError(f"{file} is not a whole npz file ({reason}): copy or download it again") from None
    tensors: Tensors = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":  # members that are not .npy come back as bytes
            raise DictionaryError(f"{file}: {name} holds {getattr(array, 'dtype', 'bytes')}, not real numbers")
        native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        tensors[name] = torch.from_numpy(native)
    return tensors


def _is_stored(archive: Any, name: str) -> bool:
    """Whether a member lies in the file as it is. Its checksum is not looked at then; a truncated file has no directory at all."""
    names = archive.zip.NameToInfo
    return f"{name}.npy" in names and names[f"{name}.npy"].compress_type == zipfile.ZIP_STORED


def _mapped(file: Path, name: str) -> Any:
    """A stored member as an array over the mapped file (APPNOTE 4.3.7: the local header's names are 26 bytes in)."""
    with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
        info = archive.getinfo(f"{name}.npy")
        stream.seek(info.header_offset + 26)
        name_bytes, extra_bytes = np.frombuffer(stream.read(4), "<u2").tolist()
        stream.seek(name_bytes + extra_bytes, 1)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject:
            raise ValueError("object arrays are not read")
        # Copy on write, for torch wants memory that could be written.
        return np.memmap(file, dtype, mode="c", offset=stream.tell(), shape=shape, order="F" if fortran else "C")


def real(tensor: Tensor, name: str, file: Path) -> Tensor:
    """`tensor`, which holds real numbers. Raises `DictionaryError` on integers and complex numbers."""
    if not tensor.is_floating_point():
        raise DictionaryError(f"{file}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, not real numbers")
    return tensor


def take(tensors: Mapping[str, Tensor], name: str, ndim: int, file: Path) -> Tensor:
    """The tensor called `name`, with `ndim` dimensions. Raises `DictionaryError` when it is missing or of another rank."""
    if name not in tensors:
        held = ", ".join(sorted(tensors)) or "nothing"
        raise DictionaryError(f"{file} lacks the tensor {name} (it holds {held}): it is damaged or of another format")
    if tensors[name].ndim != ndim:
        raise DictionaryError(f"{file}: {name} has shape {tuple(tensors[name].shape)}, not {ndim} dimensions")
    return tensors[name]


def take_whole(config: Mapping[str, Any], name: str, file: Path) -> int:
    """The whole number called `name` in a config. Raises `DictionaryError`."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DictionaryError(f"{file}: {name} = {value!r} is not a whole number")
    return value


def check_sizes(config: Mapping[str, Any], sizes: Mapping[str, int], file: Path, source: str) -> None:
    """Raise `DictionaryError` where `config`, from a file called `source`, gives one of these sizes otherwise; 0 says nothing."""
    for name, size in sizes.items():
        if config.get(name) and config[name] != size:
            raise DictionaryError(
                f"{file}: the weights say {name} = {size}, {source} says {config[name]!r}: the two do not belong together"
            )
