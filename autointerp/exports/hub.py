"""Hugging Face Hub: the files of a run as a dataset, with a card, in one commit.

The token is that of `hf auth login` or `HF_TOKEN`, as huggingface_hub reads it. A new dataset is private unless the user says otherwise,
because exemplars are excerpts of the corpus; the visibility of one that exists is not changed, and its other files stay.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from autointerp.errors import UsageError
from autointerp.exports import tracking
from autointerp.exports.card import card
from autointerp.exports.request import Request
from autointerp.exports.run_tables import RunTables
from sae import library_errors

DATASET: Literal["dataset"] = "dataset"
SPACE: Literal["space"] = "space"
_MAY_NOT_WRITE = (401, 403)
_PER_COMMIT = 500
"""Files of a commit: https://huggingface.co/docs/hub/repositories-recommendations."""


def export(run: RunTables, request: Request) -> str:
    """Create or update the dataset. Returns its address. Raises `UsageError` if the hub refuses it or cannot be reached."""
    assert request.name is not None, "the target needs a name"
    if request.name.count("/") != 1:
        raise UsageError(f"--name {request.name} is not OWNER/DATASET: write it like me/my-sae-autointerp")
    files: dict[str, Path | bytes] = {path.name: path for path in tracking.files(run)}
    files["README.md"] = card(run, request.name).encode()
    return upload(request.name, DATASET, files, f"Results of {run.summary.run_id}", public=request.public)


def upload(
    repo: str, kind: Literal["dataset", "space"], files: Mapping[str, Path | bytes], message: str, *, public: bool
) -> str:
    """Create or update a repository, a Space as a static page. Returns its address. Raises `UsageError` as `export` does.

    The files are committed in their order, many of them in several commits.
    """
    api = HfApi()
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    parts = [operations[at : at + _PER_COMMIT] for at in range(0, len(operations), _PER_COMMIT)]
    with warnings.catch_warnings(), _refusals(repo):
        # The tables of a report in a Space are meant to be there.
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        sdk = "static" if kind == SPACE else None
        url = api.create_repo(repo, repo_type=kind, space_sdk=sdk, private=not public, exist_ok=True)
        for number, part in enumerate(parts, 1):
            named = f"{message} ({number} of {len(parts)})" if len(parts) > 1 else message
            api.create_commit(url.repo_id, part, repo_type=kind, commit_message=named)
    return str(url)


@contextmanager
def _refusals(repo: str) -> Iterator[None]:
    """Turn the hub's refusals inside the block into `UsageError`."""
    try:
        yield
    except (
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        httpx2.HTTPError,
        ValueError,  # names and cards that huggingface_hub itself does not accept
    ) as error:
        raise UsageError(f"the hub does not take {repo}: {_remedy(error)}") from None


def _remedy(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to upload: unset it"
    response = getattr(error, "response", None)
    if response is not None and response.status_code in _MAY_NOT_WRITE:
        return f"no token that may write there (HTTP {response.status_code}): make one, and run `hf auth login`"
    return library_errors.remedy(error)
