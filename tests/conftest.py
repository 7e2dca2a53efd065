"""What every test gets: no keys, no network by name, a cache of its own, and repeatable examples."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["support.services.servers", "support.browser"]

# A test must neither spend somebody's money nor depend on what their machine has: taken away before any import can look.
_KEYS = ("ANTHROPIC_", "OPENAI_", "AZURE_OPENAI_", "AWS_BEARER_", "HF_TOKEN")
for _name in [n for n in os.environ if n.startswith(_KEYS)]:
    del os.environ[_name]
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Many processes share the cores: threads that wait for each other's turn would cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

# Shells start background jobs deaf to Ctrl-C, and children inherit that: tests that press it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples everywhere and no deadline: a busy machine must not fail a test.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="autointerp-tests-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOINTERP_CACHE", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new SQLite ledger of this process is a copy of the first one, which the migrations made."""
    from autointerp.ledger import database, sqlite_file

    first, make = tmp_path_factory.mktemp("migrated") / "ledger.sqlite", database._make

    def copy(path: Path) -> None:
        sqlite_file.prepare(first, make)
        shutil.copyfile(first, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_make", copy)
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums come out the same to the last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """torch on three threads, however many cores there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for Playwright's `executable_path`. Skips where there is none."""
    from autointerp.monitoring.doctor import find_chromium

    found = find_chromium()
    if found is None:
        pytest.skip("no Chromium on this machine: install chromium to look at reports in a browser")
    return found
