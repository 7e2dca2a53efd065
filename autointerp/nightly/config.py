"""The nightly file: sources of dictionaries, limits of a night, and the template of their specs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from autointerp.errors import UsageError
from autointerp.nightly.schedule import Night
from autointerp.nightly.sources import Candidate, Source
from autointerp.spec import judge_sections
from autointerp.spec import spec as spec_
from autointerp.spec.providers import PROVIDERS, provider_of
from autointerp.spec.section import Section
from autointerp.spec.spec import Spec
from autointerp.spec.toml_files import read_toml, resolve_paths, wrong_key


class Nightly(Section):
    """The contents of a nightly file."""

    night: Night = Night()
    sources: tuple[Source, ...] = Field(min_length=1, strict=False)
    spec: dict[str, Any]
    """Any key of the [spec](spec.md) except `dictionary.path`, which is found each night."""

    def spec_for(self, candidate: Candidate) -> Spec:
        """The spec for a dictionary that was found. Raises `UsageError`."""
        own = {name: getattr(candidate, name) for name in ("format", "hook_point", "revision")}
        dictionary = self.spec.get("dictionary", {}) | {"path": candidate.path}
        return self._parse(dictionary | {name: value for name, value in own.items() if value is not None})

    def template(self) -> Spec:
        """The spec with a placeholder for the dictionary, for everything that all runs share. Raises `UsageError`."""
        return self._parse(self.spec.get("dictionary", {}) | {"path": "dictionary"})

    def _parse(self, dictionary: dict[str, Any]) -> Spec:
        judges = {name: _in_batches(self.spec[name]) for name in ("judge", "explainer") if name in self.spec}
        return spec_.parse(self.spec | judges | {"dictionary": dictionary})


def load(path: Path, overrides: Iterable[str] = ()) -> Nightly:
    """Read a nightly file. Relative paths are relative to the file's folder. Raises `UsageError`."""
    data = read_toml(path, overrides)
    template = data.get("spec")
    if isinstance(template, dict):
        resolve_paths(template, path.parent)
        dictionary = template.get("dictionary", {})
        if not isinstance(dictionary, dict) or "path" in dictionary:
            raise UsageError(
                f"{path}: spec.dictionary.path is found each night: remove it, and list [[sources]] instead"
            )
    for source in data.get("sources", []) if isinstance(data.get("sources"), list) else []:
        for key in ("folder", "registry"):
            if isinstance(source, dict) and isinstance(source.get(key), str):
                source[key] = str(path.parent / Path(source[key]).expanduser())
    try:
        config = Nightly.model_validate(data)
    except ValidationError as error:
        raise UsageError(wrong_key(error, Nightly, str(path))) from None
    config.template()
    return config


def _in_batches(judge: Any) -> Any:
    """A judge's table with `transport = "batch"`, if the provider has batches and the table does not set it."""
    if not isinstance(judge, dict) or "transport" in judge or "transport" not in judge_sections.Judge.model_fields:
        return judge
    # A server at another base URL may not support the provider's batch API.
    provider = PROVIDERS.get(provider_of(str(judge.get("model", ""))))
    batches = provider is not None and provider.batches is not None and not judge.get("base_url")
    return judge | {"transport": "batch"} if batches else judge
