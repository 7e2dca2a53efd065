"""The local files that a spec names: whether they exist, and their stamps. Asked before anything is loaded."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from autointerp.spec.sections import Corpus, Dictionary, Subject
from sae.corpus.sources import parse_source
from sae.errors import SaeError
from sae.formats.locate import local_path
from sae.subject.loading import check_path


def check_paths(dictionary: Dictionary, subject: Subject | None, corpus: Corpus | None) -> None:
    """Raise the `SaeError` of a local file that is missing, or one that names all if there are several. Hub ids are not looked up."""
    errors = list(_errors(dictionary, subject, corpus))
    if len(errors) > 1:
        raise SaeError("; ".join(map(str, errors)))
    if errors:
        raise errors[0]


def _errors(dictionary: Dictionary, subject: Subject | None, corpus: Corpus | None) -> Iterator[SaeError]:
    checks: list[Callable[[], object]] = [partial(local_path, dictionary.path)]
    if subject is not None:
        checks.append(partial(check_path, subject.model))
    if corpus is not None:
        checks += [partial(parse_source, source, corpus.split) for source in corpus.sources]
    for check in checks:
        try:
            check()
        except SaeError as error:
            yield error


def stamps(path: str) -> list[tuple[str, int, int]]:
    """Path, size and modification time of every local file that a path or glob names; empty for hub ids and data sets."""
    local = Path(path).expanduser()
    files = local.iterdir() if local.is_dir() else map(Path, glob.glob(str(local), recursive=True))
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(files) if p.is_file()]
