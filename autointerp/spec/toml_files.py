"""Reads TOML files that a user writes, applies overrides from the command line, and words errors in one line."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autointerp.errors import UsageError
from autointerp.redaction import hide
from autointerp.spec.study_sections import PATHS


def read_toml(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a TOML file as plain data. `overrides` are `key=value` with dotted keys and TOML values; bare words are strings.

    Relative paths in the file are taken from the file's own folder. Raises `UsageError`.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: check the path; `autointerp spec` prints one to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    resolve_paths(data, path.parent)
    for override in overrides:
        apply(data, override)
    return data


def resolve_paths(data: dict[str, Any], base: Path) -> None:
    """Resolve paths against the spec's folder if they exist there; hub ids and dataset names are kept."""
    for table, key in (("subject", "model"), ("dictionary", "path"), ("score", "rubric"), ("explain", "from")):
        section = data.get(table)
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = _beside(section[key], base)
    corpus = data.get("corpus")
    if isinstance(corpus, dict) and isinstance(corpus.get("sources"), list):
        corpus["sources"] = _all_beside(corpus["sources"], base)
    studies = data.get("studies")
    for study in studies.values() if isinstance(studies, dict) else ():
        for table in study if isinstance(study, list) else [study]:
            if isinstance(table, dict):
                table |= {key: _all_beside(table[key], base) for key in PATHS if key in table}


def _all_beside(value: Any, base: Path) -> Any:
    """A path or a list of paths, each as `_beside`; other values as they are."""
    if isinstance(value, list):
        return [_all_beside(each, base) for each in value]
    return _beside(value, base) if isinstance(value, str) else value


def _beside(value: str, base: Path) -> str:
    if value.startswith("datasets:") or Path(value).is_absolute():
        return value
    candidate = base / value
    is_path = candidate.exists() or any(c in value for c in "*?[") or value.startswith(("./", "../", "~"))
    return str(candidate if not value.startswith("~") else Path(value).expanduser()) if is_path else value


def apply(data: dict[str, Any], override: str) -> None:
    """Apply a `key=value` from the command line to `data`. Raises `UsageError`."""
    key, separator, raw = override.partition("=")
    path = [part for part in key.strip().split(".") if part]
    if not separator or not path:
        raise UsageError(
            f"--set {override!r} is not key=value: write it like --set judge.model=anthropic/claude-haiku-4-5"
        )
    try:
        value = tomllib.loads(f"v = {raw.strip()}")["v"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    set_key(data, path, value, f"--set {override!r}")


def set_key(data: dict[str, Any], path: Sequence[str], value: Any, what: str) -> None:
    """Set the key at `path` in nested tables. Raises `UsageError`, which begins with `what`, if a part of it is no table."""
    table = data
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise UsageError(f"{what}: {part} is a value, not a table")
    table[path[-1]] = value


def wrong_key(error: ValidationError, model: type[BaseModel], what: str) -> str:
    """Pydantic's first error in one line: the file or table `what`, the key, its value and the remedy."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"] if not isinstance(part, int)]
    key, value, kind = ".".join(location), first["input"], first["type"]
    shown = "" if isinstance(value, Mapping) else f" = {value!r}"
    if "key" in key or "url" in key:
        shown = hide(f"{key}{shown}").removeprefix(key)
    if kind == "extra_forbidden":
        return f"{what}: unknown key {key}{shown}: {_did_you_mean(location, model)}"
    if kind == "missing":
        return f"{what}: {key} is missing: add it (`autointerp spec` prints every key)"
    message = _message(first)
    if len(location) > 1 and _table_at(location[:-1], model) is None:  # a key of several types, with an error for each
        of_key = [other for other in error.errors(include_url=False) if other["loc"][:-1] == first["loc"][:-1]]
        message = " or ".join(dict.fromkeys(map(_message, of_key))).replace(" or input should be", " or")
        key = ".".join(location[:-1])
    return f"{what}: {key}{shown}: {message}" if key else f"{what}: {message}"


def _message(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _table_at(location: list[str], model: Any) -> Any:
    """The model of the table at this place; None if there is no table."""
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return None
    return model


def _did_you_mean(location: list[str], model: Any) -> str:
    model = _table_at(location[:-1], model)
    if model is None:
        return "remove it"
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(location[-1], known, n=1)
    return f"did you mean {close[0]}?" if close else f"remove it; known here: {', '.join(known)}"
