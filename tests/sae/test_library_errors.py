"""Errors of libraries, raised by the libraries where they can be, are told with what a user of this program can do."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors import SafetensorError
from safetensors.torch import load_file

from sae.errors import DictionaryError
from sae.formats.readers import read_npz, read_safetensors, read_torch
from sae.library_errors import remedy

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12\n"


class NoCredentialsError(Exception):
    """As botocore names it."""


class ClientError(Exception):
    """As botocore names it."""


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ValueError("Config name is missing.\nPlease pick one among the available configs: ['en', 'de']\nExample of usage:\n\t`load_dataset('x', 'en')`"), "name one of 'en', 'de' after it, such as datasets:OWNER/NAME:CONFIG"),
        (ValueError("BuilderConfig 'fr' not found. Available: ['en', 'de']"), "it has no config fr: name one of 'en', 'de'"),
        (ValueError("Unknown split \"test\". Should be one of ['train', 'validation']."), "set corpus.split to one of 'train', 'validation'"),
        (ValueError("Bad split: train[:5]. Available splits: ['train', 'test']"), "set corpus.split to one of 'train', 'test'"),
        (ValueError("Couldn't cast\ncontent: string\nto\n{'text': Value('string')}\nbecause column names don't match"), "name the files that have the same ones"),
        (ImportError("To support encoding images, please install 'Pillow'."), "name a dataset of text"),
        (FileNotFoundError("The directory at /data doesn't contain any data files"), "no files in a format that can be read"),
        (EOFError("Compressed file ended before the end-of-stream marker was reached"), "it is truncated: copy or download it again"),
        (RuntimeError("401 Client Error: Unauthorized for url: https://huggingface.co/x"), "private ones need `hf auth login`"),
        (RuntimeError("Dataset scripts are no longer supported, but found x.py"), "refs/convert/parquet"),
        (ValueError("Feature type 'List' not found. Available feature types: ['Value']"), "pip install -U datasets"),
        (OfflineModeIsEnabled("Cannot reach https://huggingface.co: offline mode is enabled."), "HF_HUB_OFFLINE"),
        (RuntimeError("429 Client Error: Too Many Requests for url: https://huggingface.co/x"), "hf auth login"),
        (NoCredentialsError("Unable to locate credentials"), "set AWS_ACCESS_KEY_ID"),
        (ClientError("An error occurred (InvalidAccessKeyId) when calling the PutObject operation: no such key"), "check AWS_ACCESS_KEY_ID"),
        (ClientError("An error occurred (RequestTimeTooSkewed) when calling the PutObject operation"), "clock"),
        (ConnectionError("HTTPSConnectionPool(host='x', port=443): Max retries exceeded"), "check the network"),
        (OSError(28, "No space left on device"), "the disk is full"),
    ],
)  # fmt: skip
def test_a_library_s_advice_is_replaced_by_ours(error: Exception, advice: str) -> None:
    told = remedy(error)
    assert advice in told
    assert "\n" not in told
    assert "load_dataset" not in told


def test_the_cause_of_a_translated_error_counts() -> None:
    error = PermissionError("The provided token is not valid")
    error.__cause__ = ClientError("An error occurred (ExpiredToken) when calling the GetObject operation")
    assert remedy(error).startswith("the credentials have expired")


def test_a_number_in_a_message_is_not_taken_for_a_status() -> None:
    assert remedy(ValueError("line 401: field larger than field limit")) == "line 401: field larger than field limit"


def test_an_unknown_error_is_told_in_its_own_words_on_one_line() -> None:
    assert remedy(ValueError("something\n new")) == "something new"


def test_files_that_were_cut_are_told_to_be_copied_again(tmp_path: Path) -> None:
    weights, table = tmp_path / "a.safetensors", tmp_path / "a.parquet"
    weights.write_bytes(b"\xff" * 64)
    pq.write_table(pa.table({"text": ["x"]}), table)
    table.write_bytes(table.read_bytes()[:-6])
    with pytest.raises(SafetensorError) as unsafe:
        load_file(weights)
    with pytest.raises(pa.ArrowInvalid) as cut:
        pq.ParquetFile(table)
    assert remedy(unsafe.value) == "it is no complete safetensors file: copy or download it again"
    assert remedy(cut.value) == "it is no complete Parquet file: copy or download it again"


@pytest.mark.parametrize("read", [read_safetensors, read_torch, partial(read_npz, names=["W_dec"])])
def test_weights_that_git_lfs_has_not_downloaded_are_said_to_be(read: object, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text(POINTER)
    with pytest.raises(DictionaryError, match="run `git lfs pull`"):
        read(file)  # type: ignore[operator]
