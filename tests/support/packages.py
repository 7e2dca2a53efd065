"""Packages that the program can do without, which tests need."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def needed(name: str) -> Any:
    """The module `name`. Skips the test if its package is missing; `make test-peers`, which installs it, fails the test."""
    if os.environ.get("PEERS_INSTALLED"):
        return importlib.import_module(name)
    return pytest.importorskip(name)
