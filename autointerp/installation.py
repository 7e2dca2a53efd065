"""How the program is installed: packages that only some uses need, other packages of its names, and the operating system."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "autointerp-eval"
EXTRAS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "xllamacpp": "llm",
    **dict.fromkeys(("celery", "kombu", "redis", "psycopg", "prometheus_client", "structlog"), "service"),
}
"""The extra of `pyproject.toml` that brings each package, by the name under which the package is imported."""
PACKAGES = ("sae", "workers")
"""Top-level packages that are installed beside `autointerp`. Their names are short, so another distribution may have them too."""


def missing(error: ModuleNotFoundError) -> str | None:
    """One line for an import that failed because an extra is not installed; None if no extra brings the module."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    return f"{package} is not installed: pip install '{DISTRIBUTION}[{extra}]'" if extra else None


def fault() -> str | None:
    """One line on why the program cannot run here, or None."""
    if sys.platform == "win32":
        return "Windows is not supported: file locks and signals of POSIX are needed; use WSL (wsl --install)"
    beside = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = find_spec(name)
        folder = Path(found.origin).resolve().parent if found and found.origin else None
        if folder != beside / name:
            place = f"another package of that name at {folder}" if folder else "not there"
            return f"the package {name} of autointerp is {place}: install autointerp-eval in an environment of its own"
    return None
