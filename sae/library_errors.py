"""Errors of libraries in one line with a remedy in this program's terms, in place of the library's own advice.

A library advises its caller: to pass `config_name`, to log in with `huggingface-cli`. Its user here writes a spec, and can do neither.
"""

from __future__ import annotations

import re
from pathlib import Path

from sae.errors import one_line

_ADVICE = tuple(
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        # huggingface_hub
        (r"GatedRepo|gated repo|is a gated dataset", "it is gated: accept its terms on its page on the hub, then run `hf auth login`"),
        (r"OfflineMode|HF_HUB_OFFLINE|offline mode", "it is not on this machine, and HF_HUB_OFFLINE forbids to download it: unset it"),
        (r"RevisionNotFound|Invalid rev id", "its revision is not on the hub: give a branch, tag or commit"),
        (r"RepositoryNotFound|DatasetNotFound|doesn't exist on the hub|\b401 (client error|unauthorized)", "it is not on the hub, or is private: check the name; private ones need `hf auth login`"),
        (r"HfHubHTTPError.*\b429\b|\b429 client error", "the hub limits your requests: wait some minutes, or run `hf auth login`, which raises the limit"),
        (r"HfHubHTTPError.*\b403\b|\b403 (client error|forbidden)", "your hub token may not read it: make one that may, and run `hf auth login`"),
        # datasets
        (r"dataset scripts are no longer supported|trust_remote_code", "it is a program, which is not run: name a copy of it in Parquet, such as its revision refs/convert/parquet"),
        (r"config name is missing[^\[]*\[(?P<names>[^\]]*)\]", "it has several configs: name one of {names} after it, such as datasets:OWNER/NAME:CONFIG"),
        (r"BuilderConfig '(?P<name>[^']*)' not found\. Available: \[(?P<names>[^\]]*)\]", "it has no config {name}: name one of {names}"),
        (r"(unknown split|bad split).*\[(?P<names>[^\]]*)\]", "it does not have this split: set corpus.split to one of {names}"),
        (r"feature type '(?P<name>\w+)' not found", "it was written by a newer version of the library: run `pip install -U datasets`"),
        (r"Couldn't cast .*column names don't match", "its files have different columns: name the files that have the same ones in corpus.sources"),
        (r"To support (en|de)coding (images|audio|videos?)", "it holds images, sounds or videos: name a dataset of text"),
        (r"no \(?supported\)? ?data files found|DataFilesNotFound|doesn't contain any data files", "it holds no files in a format that can be read: name a dataset of Parquet, JSON or text files"),
        # botocore, s3fs
        (r"NoCredentials|unable to locate credentials|PartialCredentials", "no credentials are set: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (r"ProfileNotFound", "AWS_PROFILE names a profile that is not in ~/.aws/config: correct it"),
        (r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidClientTokenId", "the credentials are wrong: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (r"ExpiredToken|TokenRefreshRequired|token.{0,20}expired", "the credentials have expired: log in again, such as with `aws sso login`"),
        (r"RequestTimeTooSkewed", "this machine's clock is wrong: set it"),
        (r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint", "the bucket is in another region: set AWS_DEFAULT_REGION to it"),
        (r"NoSuchBucket|bucket does not exist", "the bucket does not exist: create it, or check its name"),
        (r"EndpointConnectionError|could not connect to the endpoint|Invalid endpoint", "the storage server cannot be reached: check AWS_ENDPOINT_URL and the network"),
        # pyarrow, safetensors
        (r"parquet magic bytes not found|parquet file size is|not a parquet file|Couldn't deserialize thrift", "it is no complete Parquet file: copy or download it again"),
        (r"not an arrow file|Invalid flatbuffers|Expected to read \d+ metadata bytes", "it is no complete Arrow file: copy or download it again"),
        (r"HeaderToo|InvalidHeader|MetadataIncompleteBuffer|SafetensorError.*(header|metadata)", "it is no complete safetensors file: copy or download it again"),
        (r"Compressed file ended before|EOFError: the file is truncated", "it is truncated: copy or download it again"),
        # the network and the disk
        (r"No space left on device", "the disk is full: free some space"),
        (r"Name or service not known|name resolution|Max retries exceeded|Connection ?Error|timed out|Network is unreachable", "the server cannot be reached: check the network, and HTTPS_PROXY if there is a proxy"),
    )
)  # fmt: skip
_POINTER = b"version https://git-lfs"


def remedy(error: BaseException) -> str:
    """What is wrong and what to do, for a known error of a library; for another one its message on one line."""
    chain = (error, *filter(None, (error.__cause__,)))
    text = " ".join(f"{type(one).__name__}: {one}" for one in chain)
    for pattern, advice in _ADVICE:
        if match := pattern.search(" ".join(text.split())):
            return advice.format(**match.groupdict())
    return one_line(error)


def is_lfs_pointer(file: Path) -> bool:
    """Whether a file holds the place of one that Git LFS has not downloaded yet."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(_POINTER)) == _POINTER
    except OSError:
        return False
