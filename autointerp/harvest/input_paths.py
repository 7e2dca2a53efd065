"""Are a spec's files here? Asked before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from autointerp.spec.spec import Spec
from sae.corpus.sources import parse_source
from sae.errors import SaeError
from sae.formats.locate import local_path
from sae.subject.loading import check_path


def check_paths(spec: Spec) -> None:
    """Raise `SaeError` if local files of the spec are missing; all of them are named. Hub ids are not looked up."""
    if missing := list(_missing(spec)):
        raise SaeError("; ".join(missing))


def _missing(spec: Spec) -> Iterator[str]:
    checks: list[Callable[[], object]] = [
        partial(local_path, spec.dictionary.path),
        partial(check_path, spec.subject.model),
        *(partial(parse_source, source, spec.corpus.split) for source in spec.corpus.sources),
    ]
    for check in checks:
        try:
            check()
        except SaeError as error:
            yield str(error)
