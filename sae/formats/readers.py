"""Reads configs and tensors from files that are not trusted; shared by the adapters.

Tensors are not copied: each is a view of its mapped file, in the precision of the file, until its values are used.
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
from sae.library_errors import is_lfs_pointer

Tensors = dict[str, Tensor]
MOST_CONFIG_BYTES = 4 << 20
"""Largest config that is read: published ones have a few thousand bytes."""
MOST_INFLATION = 100
"""Largest ratio of a zip member's declared bytes to its compressed bytes. Trained weights hardly compress; zeros do a thousandfold."""
_PACKED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\0"}
_SMALL_BYTES = 16 << 20
"""Members of fewer declared bytes than this are read whatever their compression."""


def read_config(file: Path) -> dict[str, Any]:
    """The object in a JSON or YAML file. Raises `DictionaryError`."""
    kind = "YAML" if file.suffix in (".yaml", ".yml") else "JSON"
    try:
        if (size := file.stat().st_size) > MOST_CONFIG_BYTES:
            raise DictionaryError(
                f"{file} has {size:,} bytes, and a config at most {MOST_CONFIG_BYTES:,}: it is damaged or not a config"
            )
        text = file.read_text(encoding="utf-8")
        config = _parse_yaml(text) if kind == "YAML" else json.loads(text)
    except OSError as error:
        raise DictionaryError(f"{file} cannot be read: {error.strerror}") from None
    except DictionaryError:
        raise
    except (ValueError, RecursionError) as error:
        if is_lfs_pointer(file):
            raise _incomplete(file, kind, error) from None
        raise DictionaryError(f"{file} is not {kind}: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(config, dict):
        raise DictionaryError(
            f"{file} holds a {kind} {type(config).__name__}, not an object, and so is not a dictionary's config"
        )
    return config


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def read_safetensors(file: Path, integers: Collection[str] = ()) -> Tensors:
    """All tensors of `file`, real except those named in `integers`. Raises `DictionaryError`; a pickle under this name is not run."""
    try:
        tensors = _without_wrapper(load_file(file))
        return {n: tensor if n in integers else require_real(tensor, n, file) for n, tensor in tensors.items()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        if isinstance(error, DictionaryError):
            raise
        raise _incomplete(file, "safetensors file", error) from None


def read_torch(file: Path) -> dict[str, Any]:
    """The object that `torch.save` wrote, which may hold only tensors and plain values. Raises `DictionaryError`."""
    try:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=not _is_compressed_zip(file))
        except RuntimeError as error:
            if "mmap" not in str(error):  # files from before torch 1.6 cannot be mapped
                raise
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings about pickles, which weights_only refuses
                content = torch.load(file, map_location="cpu", weights_only=True)
    except DictionaryError:
        raise
    except pickle.UnpicklingError as error:
        if is_lfs_pointer(file):
            raise _incomplete(file, "file of torch.save", error) from None
        if suffix := packed_suffix(file):
            raise DictionaryError(f"{file} is compressed ({suffix}): unpack it") from None
        raise DictionaryError(
            f"{file} holds more than tensors, or is damaged; pickled code is never run: save its state_dict, or safetensors"
        ) from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _incomplete(file, "file of torch.save", error) from None
    if not isinstance(content, dict):
        raise DictionaryError(f"{file} holds a {type(content).__name__}, not named tensors: save its state_dict")
    content = {str(name): value for name, value in content.items()}
    parts = [name for name, value in content.items() if isinstance(value, Mapping) and _holds_tensors(value)]
    if parts and not _holds_tensors(content):
        raise DictionaryError(
            f"{file} is a checkpoint of a whole training ({', '.join(content)}): save its {parts[0]!r} alone with torch.save"
        )
    return _without_wrapper(content)


def _holds_tensors(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in content.values())


def _without_wrapper(content: dict[str, Any]) -> dict[str, Any]:
    """The names without the prefix that `torch.compile` or data parallelism puts before all of them."""
    for prefix in ("_orig_mod.", "module."):
        if content and all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return content


def _is_compressed_zip(file: Path) -> bool:
    """Whether a file of torch.save was packed anew with compression, so that it cannot be mapped. Raises `DictionaryError` if a member
    declares more bytes than trained weights can have."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        compressed = [info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
    for info in compressed:
        _check_inflation(file, info.filename, info)
    return bool(compressed)


def _incomplete(file: Path, kind: str, error: Exception) -> DictionaryError:
    """The error for a file that its library cannot read."""
    if suffix := packed_suffix(file):
        return DictionaryError(f"{file} is compressed ({suffix}): unpack it")
    if is_lfs_pointer(file):
        return DictionaryError(
            f"{file} is a pointer of Git LFS and not the weights: run `git lfs pull` in its repository"
        )
    return DictionaryError(f"{file} is not a complete {kind} ({one_line(error, most=120)}): copy or download it again")


def real_tensors(content: Mapping[str, Any], file: Path) -> Tensors:
    """The tensors in what `read_torch` returned. Raises `DictionaryError` if one of them does not hold real numbers."""
    return {n: require_real(value.detach(), n, file) for n, value in content.items() if isinstance(value, Tensor)}


def read_npz(file: Path, names: Collection[str]) -> Tensors:
    """The arrays of `file` called `names`, in any case; others are not read. Raises `DictionaryError`, also for arrays of objects
    (pickles), and before anything is inflated for arrays that are compressed more than trained weights can be."""
    try:
        # np.load would leave a file that it opened itself open if the archive is broken.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            known = [n for n in archive.files if n.lower() in {name.lower() for name in names}]
            for name in known:
                if f"{name}.npy" in archive.zip.NameToInfo:
                    _check_inflation(file, name, archive.zip.NameToInfo[f"{name}.npy"])
            arrays = {n: _mapped(file, n) if _is_uncompressed(archive, n) else archive[n] for n in known}
    except DictionaryError:
        raise
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
        if ("pickle" in reason or "object" in reason.lower()) and not is_lfs_pointer(file):
            raise DictionaryError(
                f"{file} holds pickled objects, which can run code when loaded: save plain arrays"
            ) from None
        raise _incomplete(file, "npz file", error) from None
    tensors: Tensors = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":  # members that are not .npy are read as bytes
            raise DictionaryError(f"{file}: {name} holds {getattr(array, 'dtype', 'bytes')}, not real numbers")
        native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        tensors[name] = torch.from_numpy(native)
    return tensors


def packed_suffix(file: Path) -> str | None:
    """The suffix of the compression that a file begins with, such as `.gz`; None if there is none."""
    try:
        with file.open("rb") as stream:
            first = stream.read(6)
    except OSError:
        return None
    return next((suffix for suffix, magic in _PACKED.items() if first.startswith(magic)), None)


def _check_inflation(file: Path, name: str, info: zipfile.ZipInfo) -> None:
    """Raise `DictionaryError` if a member declares far more bytes than its compressed bytes can hold of trained weights."""
    if info.file_size >= _SMALL_BYTES and info.file_size > MOST_INFLATION * max(info.compress_size, 1):
        raise DictionaryError(
            f"{file}: {name} inflates from {info.compress_size:,} to {info.file_size:,} bytes, as no trained weights do: it is"
            " damaged or made to fill the memory"
        )


def _is_uncompressed(archive: Any, name: str) -> bool:
    """Whether a member is stored uncompressed, so that it can be mapped. Its checksum is not verified then; a truncated file is
    still noticed, because a zip's directory is at its end."""
    names = archive.zip.NameToInfo
    return f"{name}.npy" in names and names[f"{name}.npy"].compress_type == zipfile.ZIP_STORED


def _mapped(file: Path, name: str) -> Any:
    """An uncompressed member as an array over the mapped file (APPNOTE 4.3.7: the lengths of name and extra field are 26 bytes into
    the local header)."""
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
        # Copy on write, because torch warns about arrays that are not writable.
        return np.memmap(file, dtype, mode="c", offset=stream.tell(), shape=shape, order="F" if fortran else "C")


def require_real(tensor: Tensor, name: str, file: Path) -> Tensor:
    """The tensor itself. Raises `DictionaryError` if it holds integers or complex numbers, or declares more values than are stored."""
    if tensor.is_floating_point() and tensor.element_size() == 1:
        raise DictionaryError(
            f"{file}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, whose scales no format states: save it in bfloat16"
        )
    if not tensor.is_floating_point():
        raise DictionaryError(f"{file}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, not real numbers")
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > stored:
        raise DictionaryError(
            f"{file}: {name} declares the shape {tuple(tensor.shape)}, but stores {stored:,} bytes: save a contiguous copy of it"
        )
    return tensor


def get_tensor(tensors: Mapping[str, Tensor], name: str, ndim: int, file: Path) -> Tensor:
    """The tensor called `name`, with `ndim` dimensions. Raises `DictionaryError` if it is missing or has another rank."""
    if name not in tensors:
        present = ", ".join(sorted(tensors)) or "nothing"
        raise DictionaryError(
            f"{file} lacks the tensor {name} (it holds {present}): it is damaged or of another format"
        )
    if tensors[name].ndim != ndim:
        raise DictionaryError(f"{file}: {name} has shape {tuple(tensors[name].shape)}, not {ndim} dimensions")
    return tensors[name]


def get_int(config: Mapping[str, Any], name: str, file: Path) -> int:
    """The integer called `name` in a config. Raises `DictionaryError`."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DictionaryError(f"{file}: {name} = {value!r} is not a whole number")
    return value


def stated_bos(config: Mapping[str, Any], name: str = "prepend_bos") -> bool | None:
    """Whether a config says that contexts began with BOS in training; None if it does not say."""
    value = config.get(name)
    return value if isinstance(value, bool) else None


def stated_context(config: Mapping[str, Any], name: str) -> int | None:
    """Tokens of a context in training, as a config says; None if it does not say."""
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def check_sizes(config: Mapping[str, Any], sizes: Mapping[str, int], file: Path, source: str) -> None:
    """Raise `DictionaryError` if `config`, read from a file called `source`, contradicts one of these sizes. A size of 0 in it means
    that it is not stated."""
    for name, size in sizes.items():
        if config.get(name) and config[name] != size:
            raise DictionaryError(
                f"{file}: the weights have {name} = {size}, but {source} says {config[name]!r}: the two do not belong together"
            )
