"""The folder in which converted models, tokenised text and downloads are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The cache folder, created if it is missing: `$AUTOINTERP_CACHE`, or the operating system's cache folder of the user."""
    chosen = os.environ.get("AUTOINTERP_CACHE")
    path = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("autointerp", appauthor=False)
    path.mkdir(parents=True, exist_ok=True)
    return path
