"""Reads docker-compose.yml as Compose does, as far as the file goes: anchors, merges and variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from support.locations import ROOT

FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


@dataclass(frozen=True)
class Command:
    """What a service of our own image runs: words and environment."""

    words: list[str]
    environment: dict[str, str]


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with variables filled in. Raises `KeyError` for one that must be set and is not."""
    return dict(_filled(yaml.safe_load(FILE.read_text(encoding="utf-8")), variables))


def commands_of(variables: Mapping[str, str]) -> dict[str, Command]:
    """What each service that is built here runs, such as `judge-worker`; Redis, PostgreSQL and the web server are not ours."""
    services = load(variables)["services"]
    return {
        name: Command(shlex.split(service["command"]), {k: str(v) for k, v in service["environment"].items()})
        for name, service in services.items()
        if "build" in service
    }


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return VARIABLE.sub(lambda found: _one(found, variables), value) if isinstance(value, str) else value


def _one(found: re.Match[str], variables: Mapping[str, str]) -> str:
    dollar, name, kind, rest = found.groups()
    if dollar:
        return "$"
    if variables.get(name):
        return variables[name]
    if kind == "-":
        return str(rest)
    raise KeyError(f"{name}: {rest}")
