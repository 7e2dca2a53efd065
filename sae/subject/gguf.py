"""GGUF files: converted once to a folder of dequantised safetensors, which is then read like any other model.

Layout of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The conversion is transformers' own
(`GgufConfig(dequantize=True)`); without dequantising, transformers keeps packed weights that it cannot save.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from sae.cache import cache_dir
from sae.errors import SubjectError, one_line
from sae.files import folder_written_whole


def convert_gguf(file: Path) -> Path:
    """The folder that holds `file` as float32 safetensors with its tokenizer, made on first use. Raises `SubjectError`.

    It is named by the sha-256 of the file and written whole or not at all: an interrupted conversion starts again.
    """
    target = cache_dir() / "subjects" / _checked_digest(file)
    if target.is_dir():
        return target
    try:
        with folder_written_whole(target) as partial:
            _convert(file, partial)
    except OSError as error:
        raise SubjectError(
            f"{file} cannot be converted into {target.parent}: {error.strerror or error}: free some space"
        ) from None
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


def _convert(file: Path, folder: Path) -> None:
    options: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the conversion's progress bar has no switch
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **options)
            model = AutoModelForCausalLM.from_pretrained(
                str(file.parent), dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **options
            )
    except Exception as error:  # on a malformed file the libraries raise errors of any type
        reason = one_line(error)
        raise SubjectError(
            f"{file} cannot be read as GGUF: {reason}: check that it is complete, and of a family that transformers supports"
        ) from None
    model.config.quantization_config = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
