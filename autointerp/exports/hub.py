"""Hugging Face Hub: the files of a run as a dataset, with a card, in one commit.

The token is that of `hf auth login` or `HF_TOKEN`, as huggingface_hub reads it. A new dataset is private unless the user says otherwise,
because exemplars are excerpts of the corpus; the visibility of one that exists is not changed, and its other files stay.
"""

from __future__ import annotations

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from autointerp.errors import UsageError
from autointerp.exports import tracking
from autointerp.exports.card import card
from autointerp.exports.request import Request
from autointerp.exports.run_tables import RunTables
from sae import library_errors

_MAY_NOT_WRITE = (401, 403)


def export(run: RunTables, request: Request) -> str:
    """Create or update the dataset. Returns its address. Raises `UsageError` if the hub refuses it or cannot be reached."""
    assert request.name is not None, "the target needs a name"
    if request.name.count("/") != 1:
        raise UsageError(f"--name {request.name} is not OWNER/DATASET: write it like me/my-sae-autointerp")
    api = HfApi()
    files = [CommitOperationAdd(path.name, path) for path in tracking.files(run)]
    readme = CommitOperationAdd("README.md", card(run, request.name).encode())
    try:
        url = api.create_repo(request.name, repo_type="dataset", private=not request.public, exist_ok=True)
        api.create_commit(
            url.repo_id, [readme, *files], repo_type="dataset", commit_message=f"Results of {run.summary.run_id}"
        )
    except (
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        httpx2.HTTPError,
        ValueError,  # names and cards that huggingface_hub itself does not accept
    ) as error:
        raise UsageError(f"the hub does not take {request.name}: {_remedy(error)}") from None
    return str(url)


def _remedy(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to upload: unset it"
    response = getattr(error, "response", None)
    if response is not None and response.status_code in _MAY_NOT_WRITE:
        return f"no token that may write there (HTTP {response.status_code}): make one, and run `hf auth login`"
    return library_errors.remedy(error)
