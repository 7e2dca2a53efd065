"""Libraries that write dictionaries, each in a folder of its own, so that tests compare with what users really have.

    python -m tests.support.sae.peers [NAME...]      install them ahead of the tests: all, or the ones named

`peer_scripts/NAME.txt` pins a library and what only it needs; torch, numpy, transformers and the like are those of `.venv`. Their
own pins contradict each other and ours, so they never share an environment: a script in `peer_scripts` runs in a process that sees
one of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PINS = Path(__file__).with_name("peer_scripts")
INSTALLED = ROOT / ".venv" / "peers"


class NotToBeHadError(Exception):
    """pip could not fetch a library; the message is the last thing it said."""


def install(name: str) -> Path:
    """The folder that holds the library of `peer_scripts/NAME.txt`, installed anew when its pins changed. Raises `NotToBeHadError`."""
    pins, folder = PINS / f"{name}.txt", INSTALLED / name
    checksum = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    stamp = folder / ".checksum"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == checksum:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
        ]
        done = subprocess.run(
            [*pip, "--target", str(folder), "-r", str(pins)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotToBeHadError(f"{name}: {(done.stderr.strip() or 'pip failed').splitlines()[-1]}")
        stamp.write_text(checksum)
    return folder


def run(name: str, script: Path, *args: str | Path) -> str:
    """What a script prints when run with that library in front of our packages. Fails the test with the end of its errors.

    Skips the test where the library is not installed and cannot be fetched, except under CI=true, where that fails too.
    """
    try:
        folder = install(name)
    except NotToBeHadError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(script), *map(str, args)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{script.name} failed:\n{done.stderr[-3000:]}", pytrace=False)
    return done.stdout


def main(names: list[str]) -> int:
    """Install them, a line each; 1 when one cannot be had."""
    missing = 0
    for name in names or sorted(pins.stem for pins in PINS.glob("*.txt")):
        try:
            install(name)
        except NotToBeHadError as error:
            missing = 1
            print(f"  {error}")
        else:
            print(f"  {name}")
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
