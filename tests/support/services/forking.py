"""Processes that start at once: one server has imported what any of them needs, and forks them."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

import pytest
from support.locations import ROOT, TESTS

PRELOADED = [f"support.services.{name}" for name in ("run_process", "harvest_worker", "ledger_worker")]


def fork_context() -> ForkServerContext:
    """The context of this process's server, which is started by the first call and serves all tests."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        # The server of Python 3.11 has not this process's sys.path, and passes over what it cannot import.
        patch.setenv("PYTHONPATH", os.pathsep.join((str(TESTS), str(ROOT))))
        forkserver.ensure_running()
    return context
