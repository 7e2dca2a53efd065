"""Which index and which spec `autointerp explain` works on."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import explorer_index

from autointerp.errors import UsageError
from autointerp.explorer.explain import index_and_spec


def test_an_index_whose_run_is_elsewhere_is_said(tmp_path: Path) -> None:
    index = explorer_index.make(tmp_path / "copy", run="far-away-1")
    with pytest.raises(
        UsageError, match=r"copy is the index of far-away-1, which is not in \S+results: name its results folder"
    ):
        index_and_spec(str(index.path), tmp_path / "results", None)


def test_an_index_of_no_run_has_no_judge(tmp_path: Path) -> None:
    index = explorer_index.make(tmp_path / "alone")
    with pytest.raises(UsageError, match="alone is of no run, whose judge could be asked"):
        index_and_spec(str(index.path), tmp_path / "results", None)
