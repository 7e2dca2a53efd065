"""Sources of dictionaries: folders and files by glob, repositories on the hub by pattern, and registry files.

A candidate is a path and the state of its files. Finding candidates reads names, sizes and times only, no weights.
"""

from __future__ import annotations

import glob
import json
import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from autointerp.dictionaries.saelens_names import path_of
from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.nightly.dictionary_files import dictionaries_among, dictionary_paths, is_folder_file, weight_files
from autointerp.nightly.lineage import lineage_of
from autointerp.spec.section import Section
from autointerp.spec.sections import known_format, known_hook_point
from autointerp.spec.toml_files import wrong_key
from sae.errors import one_line
from sae.library_errors import remedy


@dataclass(frozen=True)
class Candidate:
    """A path that holds a dictionary, or should. `mark` changes whenever its files do."""

    path: str
    lineage: str
    mark: str
    modified_at: float
    format: str | None = None
    hook_point: str | None = None
    revision: str | None = None

    @property
    def key(self) -> str:
        """Hash of the path, of how it is read and of the state of its files."""
        return content_hash([self.path, self.format, self.hook_point, self.mark])

    @property
    def is_local(self) -> bool:
        """Whether it is a local folder, not a commit on the hub."""
        return not self.mark.startswith("commit ")


class Entry(Section):
    """One dictionary in a registry."""

    name: str = Field(min_length=1)
    """Name of the dictionary that this is a version of."""
    path: str = Field(min_length=1)
    """A path, an id on the hub, or SAELens' name `release/id`."""
    format: str | None = None
    hook_point: str | None = None
    revision: str | None = None

    @field_validator("format")
    @classmethod
    def _known_format(cls, format: str | None) -> str | None:
        return None if format is None else known_format(format)

    @field_validator("hook_point")
    @classmethod
    def _known_hook_point(cls, hook_point: str | None) -> str | None:
        return None if hook_point is None else known_hook_point(hook_point)


class Registry(Section):
    """A file that lists dictionaries."""

    dictionaries: tuple[Entry, ...] = Field(strict=False)


class Source(Section):
    """One source of dictionaries: exactly one of the three keys."""

    folder: str | None = Field(None, min_length=1)
    """A glob that matches dictionaries: folders, or files of a folder that are one each, such as `checkpoints/*` or `run/ae_*.pt`."""
    hub: str | None = Field(None, pattern=r"^[\w.-]+/[^/\s]+(/\S+)?$")
    """`OWNER/PATTERN` of model repositories on the hub, such as `acme/sae-*`; more parts are a pattern of folders or files inside."""
    registry: str | None = Field(None, min_length=1)
    """A TOML or JSON file that lists dictionaries: `name`, `path`, and optionally `format`, `hook_point` and `revision`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Source:
        keys = [name for name in ("folder", "hub", "registry") if getattr(self, name) is not None]
        if len(keys) != 1:
            raise ValueError(f"give one of folder, hub and registry, not {' and '.join(keys) or 'none'}")
        return self


def discover(sources: Sequence[Source]) -> tuple[list[Candidate], list[str]]:
    """All candidates of all sources, each once, and an error line for each source that could not be read."""
    candidates: dict[str, Candidate] = {}
    failed: list[str] = []
    for source in sources:
        try:
            for candidate in _candidates(source):
                candidates.setdefault(candidate.key, candidate)
        except UsageError as error:
            failed.append(str(error))
    return list(candidates.values()), failed


def _candidates(source: Source) -> Iterator[Candidate]:
    if source.folder is not None:
        return in_folder(source.folder)
    if source.hub is not None:
        return on_hub(source.hub)
    assert source.registry is not None
    return in_registry(Path(source.registry))


def in_folder(pattern: str) -> Iterator[Candidate]:
    """The dictionaries of a glob: matching files that are one each, and matching folders, or folders of matching files, that may hold some.

    Raises `UsageError` if the glob's part before the first wildcard does not exist.
    """
    is_path = Path(pattern).exists()  # also if its name has brackets
    base = Path(os.path.abspath(pattern)).parent if is_path else _fixed_part(pattern)
    if not base.is_dir():
        raise UsageError(f"sources: folder = {pattern!r}: {base} is not a folder: check the path, or mount it")
    found = [pattern] if is_path else glob.glob(pattern, recursive=True)
    matches = (Path(os.path.abspath(match)) for match in found)
    for path in dict.fromkeys(path for match in sorted(matches) for path in dictionary_paths(match)):
        if files := weight_files(path):
            relative = path.relative_to(base).parts if path != base else ()
            mark, modified_at = state_of(files)
            yield Candidate(str(path), lineage_of([base.name, *relative]), mark, modified_at)


def in_registry(path: Path) -> Iterator[Candidate]:
    """The dictionaries listed in a registry file; their names are the lineages. Raises `UsageError`."""
    try:
        text = path.read_text(encoding="utf-8")
        data: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"registry {path} cannot be read: {error}: check the path") from None
    except ValueError as error:
        raise UsageError(
            f"registry {path} is not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {error}"
        ) from None
    try:
        registry = TypeAdapter(Registry).validate_python({"dictionaries": data} if isinstance(data, list) else data)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Registry, f"registry {path}")) from None
    for entry in registry.dictionaries:
        own = {"format": entry.format, "hook_point": entry.hook_point, "revision": entry.revision}
        local = path.parent / Path(entry.path).expanduser()
        if not local.exists() and entry.path.count("/") >= 1 and not entry.path.startswith((".", "/", "~")):
            path_on_hub = path_of(entry.path)
            commit, modified_at = _commit(path_on_hub, entry.revision)
            yield Candidate(path_on_hub, entry.name, f"commit {commit}", modified_at, **own | {"revision": commit})
            continue
        # A folder of several dictionaries stays one entry: loading it says which files can be named.
        [named] = dictionary_paths(local) if local.is_file() else [local]
        mark, modified_at = state_of(weight_files(named))
        yield Candidate(os.path.abspath(named), entry.name, mark, modified_at, **own)


def on_hub(pattern: str, api: Any = None) -> Iterator[Candidate]:
    """Model repositories that match `OWNER/PATTERN`, or folders and files in them for a longer pattern, pinned to their commits.

    Raises `UsageError` if the hub cannot be reached.
    """
    owner, repositories, *inside = pattern.split("/", 2)
    try:
        api = api or _hub()
        for model in api.list_models(author=owner, search=_literal(repositories) or None, full=True):
            if not fnmatchcase(model.id, f"{owner}/{repositories}"):
                continue
            modified_at = model.last_modified.timestamp() if model.last_modified else 0.0
            for place in _inside(api, model, inside[0]) if inside else [""]:
                path = f"{model.id}/{place}".rstrip("/")
                mark = f"commit {model.sha}"
                yield Candidate(path, lineage_of(path.split("/")), mark, modified_at, revision=model.sha)
    except Exception as error:
        raise _unreachable(f"sources: hub = {pattern!r}", error) from None


def state_of(files: Sequence[Path]) -> tuple[str, float]:
    """A mark that changes whenever a file does, and the newest modification time (0 without files). Missing files are skipped."""
    stamps: list[tuple[str, int, int]] = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        stamps.append((path.name, status.st_size, status.st_mtime_ns))
    return content_hash(stamps), max((ns / 1e9 for _, _, ns in stamps), default=0.0)


def _fixed_part(pattern: str) -> Path:
    """The folder above a glob's first part with a wildcard."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(os.path.abspath(Path(*parts[:fixed])))


def _inside(api: Any, model: Any, pattern: str) -> list[str]:
    """Folders of a repository that match a pattern and hold a dictionary, and files that match, or are in such folders, and are one each."""
    names: dict[str, set[str]] = {}
    for path in api.list_repo_files(model.id, revision=model.sha):
        folder, _, name = path.rpartition("/")
        names.setdefault(folder, set()).add(name)
    paths: set[str] = set()
    for folder, held in names.items():
        files = {f"{folder}/{name}".lstrip("/") for name in dictionaries_among(held)}
        if fnmatchcase(folder, pattern.rstrip("/")):
            paths |= files or ({folder} if any(map(is_folder_file, held)) else set())
        paths |= {file for file in files if fnmatchcase(file, pattern)}
    return sorted(paths)


def _commit(path: str, revision: str | None) -> tuple[str, float]:
    repository = "/".join(path.split("/")[:2])
    try:
        info = _hub().model_info(repository, revision=revision)
    except Exception as error:
        raise _unreachable(f"registry: path = {path!r}", error) from None
    return str(info.sha), info.last_modified.timestamp() if info.last_modified else 0.0


def _hub() -> Any:
    return HfApi()


def _unreachable(what: str, error: Exception) -> UsageError:
    """The error for any failure of the library, the hub or the network."""
    reason = remedy(error)
    if reason != one_line(error):
        return UsageError(f"{what}: {reason}")
    return UsageError(f"{what}: the hub cannot be reached: {reason}: check the network and the name")


def _literal(pattern: str) -> str:
    """The part of a pattern before its first wildcard, for the hub's substring search."""
    return pattern[: next((i for i, c in enumerate(pattern) if c in "*?["), len(pattern))]
