"""Where the project and its tests lie, for tests that read files or start processes."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
PEER_SCRIPTS = TESTS / "support" / "sae" / "peer_scripts"
"""Scripts that run inside the libraries that ours is compared with, and the pins of those libraries."""
