"""GGUF files: dequantised once, then read as an ordinary folder of safetensors.

Layout of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The conversion is transformers' own
(`GgufConfig(dequantize=True)`); without dequantising, transformers keeps packed weights that it cannot save.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from sae.cache import cache_dir
from sae.errors import SubjectError, one_line

_STALE_S = 24 * 3600


def unpack(file: Path) -> Path:
    """The folder that holds `file` as float32 safetensors with its tokenizer, made on first use. Raises `SubjectError`.

    It is named by the sha-256 of the file and appears whole or not at all, so an interrupted conversion is done again.
    """
    target = cache_dir() / "subjects" / _checked_digest(file)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target.parent)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        _convert(file, partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was quicker
                raise
    except OSError as error:
        raise SubjectError(
            f"{file} cannot be converted into {target.parent}: {error.strerror or error}: free some space"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _checked_digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise SubjectError(f"{file} is not a GGUF file (its first bytes are not GGUF): download it again")
            stream.seek(0)
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SubjectError(f"{file} cannot be read: {error.strerror}: check the path and its permissions") from None


def _remove_stale(folder: Path) -> None:
    """Remove what killed conversions left; a young one may belong to a process that still runs."""
    for path in folder.glob(".partial-*"):
        if time.time() - os.stat(path).st_mtime > _STALE_S:
            shutil.rmtree(path, ignore_errors=True)


def _convert(file: Path, folder: Path) -> None:
    options: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the conversion's progress bar has no switch
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **options)
            model = AutoModelForCausalLM.from_pretrained(
                str(file.parent), dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **options
            )
    except Exception as error:  # the readers below raise whatever a malformed file leads them to
        reason = one_line(error)
        raise SubjectError(
            f"{file} cannot be read as GGUF: {reason}: is it complete, and of a family that transformers knows?"
        ) from None
    model.config.quantization_config = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
