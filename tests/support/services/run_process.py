"""The command line as a process of its own that starts at once: forked from a server that has imported everything.

The process is a real one, to be killed as such; what it prints goes to a file, or to a terminal, whose keys it then reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anthropic  # noqa: F401
import openai  # noqa: F401
import pandas  # noqa: F401
import scipy.stats  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401
from support.services.forking import fork_context
from transformers import LlamaForCausalLM  # noqa: F401

from autointerp import report  # noqa: F401
from autointerp.calls import batch_results, batches, caller  # noqa: F401
from autointerp.cli import main
from autointerp.costs import run_forecast  # noqa: F401
from autointerp.findings import summarise, tables  # noqa: F401
from autointerp.harvest import inputs  # noqa: F401
from autointerp.pipeline import local  # noqa: F401


def start_command(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, waits: Mapping[str, float] | None = None
) -> ForkServerProcess:
    """Start `autointerp ARGUMENTS`; the process's `exitcode` is the command's. `waits`: seconds by constant, such as `calls.batch_results.RETRY_S`."""
    process = fork_context().Process(
        target=_main, args=(list(arguments), dict(environment), str(output), dict(waits or {}))
    )
    process.start()
    return process


def _main(arguments: list[str], environment: dict[str, str], output: str, waits: dict[str, float]) -> None:
    os.environ.update(environment)
    with open(output, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        if file.isatty():
            os.dup2(os.open(output, os.O_RDONLY | os.O_NOCTTY), 0)
            sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    for name, seconds in waits.items():
        module, _, constant = name.rpartition(".")
        setattr(sys.modules[f"autointerp.{module}"], constant, seconds)
    sys.argv = ["autointerp", *arguments]
    main.main(arguments)
