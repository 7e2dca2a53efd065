"""Checks the machine for what is present, what is missing and what would fail. It contacts no server.

Names of environment variables are reported, never their values.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from autointerp.installation import DISTRIBUTION, EXTRAS
from autointerp.ledger.revisions import revisions
from autointerp.spec import servers
from autointerp.spec.providers import PROVIDERS
from sae.cache import cache_dir
from sae.memory import available_memory

KEYS = {
    name: f"instead of {row.keys[0]}" if place else row.form + ("" if row.needs_key else ", if the server needs one")
    for row in PROVIDERS.values()
    for place, name in enumerate(row.keys)
} | {"HF_TOKEN": "gated models and datasets on the hub"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
GIB = 1024**3
LITTLE_DISK, NO_DISK = 5 * GIB, GIB // 2
LITTLE_MEMORY = 3 * GIB


@dataclass(frozen=True)
class Check:
    """The result of one check. `ok` is None if only some uses are affected; `remedy` is empty if nothing needs doing."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


def examine(results: Path = Path("results")) -> list[Check]:
    """All checks, most important first. Imports torch, which takes some seconds. Never raises."""
    checks = [check_python(), check_packages(), check_device(), check_keys(), check_hub(), check_memory()]
    try:
        cache = cache_dir()
    except OSError as error:
        checks.append(Check("cache", False, str(error), "set AUTOINTERP_CACHE to a folder that can be written"))
    else:
        checks += [check_cache(cache), check_disk("cache disk", cache)]
    checks += [check_results(results), check_disk("results disk", results), check_ledger(results), check_browser()]
    return checks


def check_python() -> Check:
    """The version of Python."""
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    enough = sys.version_info >= (3, 11)
    return Check("python", enough, detail, "" if enough else "install Python 3.11 or newer")


def check_packages() -> Check:
    """The installed packages, compared with the requirements and, in a checkout, with the tested versions."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", None, "autointerp itself is not installed", "run `make demo` or `pip install -e .`")
    tested, broken, other = tested_versions(), [], []
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            broken.append(f"{name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            broken.append(f"{name} {installed} is not {requirement.specifier}")
        elif tested.get(name.lower(), {installed.partition("+")[0]}).isdisjoint(
            {installed, installed.partition("+")[0]}
        ):
            other.append(f"{name} {installed} (tested: {', '.join(sorted(tested[name.lower()]))})")
    if broken:
        return Check("packages", False, "; ".join(broken), _repair("`make demo`"))
    if other:
        return Check(
            "packages", None, "not the tested versions: " + "; ".join(other), "remove .venv and run `make demo`"
        )
    return Check(
        "packages",
        True,
        "all installed" + (", in the tested versions" if tested else "") + _absent_extras(lines),
    )


def _repair(target: str) -> str:
    """How to install what is missing: with a target of make in a checkout, or else with pip."""
    return f"run {target}" if tested_versions() else f"run `pip install --upgrade {DISTRIBUTION}`"


def _absent_extras(lines: Sequence[str]) -> str:
    """The extras of which a package is missing: only some uses need them."""
    absent = set()
    for requirement in map(Requirement, lines):
        for extra in dict.fromkeys(EXTRAS.values()):
            wanted = requirement.marker and not requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.marker and requirement.marker.evaluate({"extra": extra}):
                try:
                    importlib.metadata.version(requirement.name)
                except importlib.metadata.PackageNotFoundError:
                    absent.add(extra)
    return f"; extras that are not installed: {', '.join(sorted(absent))}" if absent else ""


def tested_versions() -> dict[str, set[str]]:
    """Tested versions by package name, from constraints.txt of a checkout; empty if there is none, as in a wheel.

    A package may have a different version for each version of Python.
    """
    path = Path(__file__).parents[2] / "constraints.txt"
    versions: dict[str, set[str]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, pinned, rest = line.partition("==")
            if pinned and not name.startswith("#"):
                versions.setdefault(name.strip().lower(), set()).add(rest.partition(";")[0].strip())
    return versions


def check_device() -> Check:
    """The device on which the subject would run, and the precision."""
    try:
        import torch

        from sae.subject.model import choose_precision
    except Exception as error:
        said = f"torch or transformers cannot be imported: {error}"
        return Check("device", False, said, _repair("`make clean demo`"))
    if torch.cuda.is_available():
        devices = []
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            precision = choose_precision("auto", torch.device("cuda", i))
            devices.append(f"cuda:{i} {properties.name}, {properties.total_memory / GIB:.0f} GiB, {precision}")
        return Check("device", True, f"torch {torch.__version__}; " + "; ".join(devices))
    if torch.backends.mps.is_available():
        return Check("device", True, f"torch {torch.__version__}; mps, {choose_precision('auto', torch.device('mps'))}")
    native = choose_precision("auto", torch.device("cpu")) == "bfloat16"
    detail = f"torch {torch.__version__}; cpu, {torch.get_num_threads()} threads, "
    detail += "bfloat16 is native" if native else "bfloat16 is not native, so precision `auto` means float32"
    if Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi"):
        remedy = "install the build of torch that matches the driver, and check that `nvidia-smi` works"
        return Check("device", None, detail + "; an NVIDIA driver is installed, but torch finds no GPU", remedy)
    return Check("device", True, detail)


def check_keys() -> Check:
    """Which API keys are set, by name; of well-known servers' keys, those that are not set are left out."""
    present = [name for name in dict.fromkeys((*KEYS, *servers.KEYS.values())) if os.environ.get(name, "").strip()]
    absent = [f"{name} ({use})" for name, use in KEYS.items() if name not in present]
    detail = f"set: {', '.join(present) or 'none'}" + (f"; not set: {', '.join(absent)}" if absent else "")
    if any(name != "HF_TOKEN" for name in present):
        return Check("keys", True, detail)
    remedy = "export a key to use its models; `embedded` and local servers need none"
    return Check("keys", None, detail, remedy)


def check_hub() -> Check:
    """Whether models and data sets may be downloaded by name. Contacts nothing."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"}:
            return Check(
                "hub",
                None,
                f"{name} is set: only cached models and data sets load by name",
                f"unset {name} to download",
            )
    return Check("hub", True, "downloads by name are allowed")


def check_memory() -> Check:
    """Memory available to this process, within the container's limit."""
    available = available_memory()
    if available is None:
        return Check("memory", None, "unknown on this system")
    enough = available >= LITTLE_MEMORY
    remedy = "" if enough else "the demo needs about 3 GiB: close other programs or raise the container's limit"
    return Check("memory", enough or None, f"{available / GIB:.1f} GiB available, {os.cpu_count()} cores", remedy)


def check_cache(folder: Path) -> Check:
    """Whether the cache folder, with converted models, tokenised text and downloads, is writable, and its size."""
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    problem = write_problem(folder)
    detail = f"{folder}, {size / GIB:.2f} GiB" + (f"; {problem}" if problem else "")
    return Check(
        "cache", not problem, detail, "set AUTOINTERP_CACHE to a folder that can be written" if problem else ""
    )


def check_disk(name: str, folder: Path) -> Check:
    """Free disk space at `folder`, which need not exist yet."""
    free = shutil.disk_usage(existing_parent(folder)).free
    remedy = "" if free >= LITTLE_DISK else "free some space: the demo needs about 2 GiB, larger models much more"
    return Check(name, free >= NO_DISK and (free >= LITTLE_DISK or None), f"{free / GIB:.1f} GiB free", remedy)


def check_results(folder: Path) -> Check:
    """Whether runs can be written to the results folder."""
    problem = write_problem(existing_parent(folder))
    remedy = "run from a writable folder, or change its owner" if problem else ""
    return Check("results", not problem, str(folder) + (f"; {problem}" if problem else ""), remedy)


def check_ledger(results: Path) -> Check:
    """Whether this version can read the ledger in the results folder, if there is one."""
    path = results / "ledger.sqlite"
    if not path.exists():
        return Check("ledger", True, "none yet: the first run creates it")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check("ledger", False, f"{path} cannot be read: {error}", "move it away: the next run creates a new one")
    schema, known = (row[0] if row else None), revisions()
    if schema not in known:
        return Check("ledger", False, f"{path} has schema {schema}, unknown to this version", "upgrade autointerp")
    newest = schema == known[-1]
    return Check("ledger", True, f"{path}, schema {schema}" + ("" if newest else ": the next run migrates it"))


def check_browser() -> Check:
    """Whether Chromium is installed, which only the report's tests need."""
    path = find_chromium()
    remedy = "" if path else "install chromium to run the tests that open reports in a browser; nothing else needs it"
    return Check("browser", True if path else None, path or "no Chromium", remedy)


def find_chromium() -> str | None:
    """Path of Chromium: the system's, else one installed by Playwright, else None."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    home = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or str(Path.home() / ".cache" / "ms-playwright")
    candidates = sorted(Path(home).glob("chromium-*/chrome-*/chrome"))
    return str(candidates[-1]) if candidates else None


def existing_parent(path: Path) -> Path:
    """`path` if it is a folder, else its nearest existing parent."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def write_problem(folder: Path) -> str:
    """Why no file can be created in `folder`, or an empty string. It tries, because permissions alone do not decide."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot be written: {error.strerror or error}"
