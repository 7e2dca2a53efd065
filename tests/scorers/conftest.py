"""The planted world that the scorers' tests share."""

from __future__ import annotations

import pytest
from support.scorers import cases


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> cases.Opened:
    """A planted world with its subject and dictionary loaded. Tests only read from it."""
    return cases.opened(tmp_path_factory.mktemp("scorers"))
