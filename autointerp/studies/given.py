"""The options that all studies share, as a command line or a program gives them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Given:
    """The inputs of a study by name, where it is written, and which judge is asked at which cost."""

    runs: tuple[str, ...] = ()
    """Ids of finished runs, or paths of specs."""
    subject: str | None = None
    dictionaries: tuple[str, ...] = ()
    corpus: tuple[str, ...] = ()
    hook_point: str | None = None
    """Hook point of each of `dictionaries`, if its files do not state it."""
    out: Path | None = None
    results: Path = Path("results")
    as_json: bool = False
    quiet: bool = False
    judge: str | None = None
    usd: float | None = None
    agreed: bool = False
    dry_run: bool = False
    overrides: tuple[str, ...] = ()
    """Keys of `[judge]`, such as `judge.base_url=...`."""
