"""The dictionaries that SAELens' registry knows, as what a spec writes to use each here.

Read is only the list that comes with sae-lens (`pretrained_saes.yaml`), found without importing the library, which takes seconds and
a hundred packages. Parsing it takes seconds too, so the parts of use are kept in the cache folder.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from autointerp.errors import UsageError
from sae.cache import cache_dir
from sae.errors import one_line
from sae.subject.hook_points import ours

LIBRARY, LIST = "sae_lens", "pretrained_saes.yaml"
FORMATS = {
    None: "saelens",
    "sae_lens": "saelens",
    "gemma_2": "gemma_scope",
    "gemma_2_transcoder": "gemma_scope",
    "gemma_3": "gemma_scope_2",
    "dictionary_learning_1": "dictionary_learning",
    "qwen_scope": "qwen_scope",
    "mwhanna_transcoder": "circuit_tracer",
    "mntss_clt_layer_transcoder": "circuit_tracer",
    "llama_scope": "llama_scope",
    "llama_scope_r1_distill": "llamascopium",
    "goodfire": "goodfire",
    "deepseek_r1": "r1_distill",
    "sparsify": "sparsify",
}
"""Our format for each of SAELens' conversions."""
_UNREAD = {
    "temporal": "a temporal SAE's features depend on the tokens before",
    "connor_rob_hook_z": "its .pt with a _cfg.json beside it is of no format read here",
}
_LENS_NAME = re.compile(r"blocks\.\d+\.(?:attn\.|mlp\.)?hook(?:_[a-z]+)+")
_SITES = (
    (r"^google/gemma-scope-\w+-\w+-res/embedding/()", "resid_pre"),
    (r"^google/gemma-scope-\w+-\w+-res/layer_(\d+)/", "resid_post"),
    (r"^google/gemma-scope-\w+-\w+-mlp/layer_(\d+)/", "mlp_out"),
    (r"^google/gemma-scope-\w+-\w+-att/layer_(\d+)/", "attn_z"),
    (r"^google/gemma-scope-\w+-\w+-transcoders/layer_(\d+)/", "resid_mid"),
    (r"^google/gemma-scope-2-.*/resid_post(?:_all)?/layer_(\d+)_", "resid_post"),
    (r"^google/gemma-scope-2-.*/attn_out(?:_all)?/layer_(\d+)_", "attn_z"),
    (r"^google/gemma-scope-2-.*/mlp_out(?:_all)?/layer_(\d+)_", "mlp_out"),
    (r"^google/gemma-scope-2-.*/transcoder(?:_all)?/layer_(\d+)_", "mlp_in"),
    (r"^fnlp/.*/Llama3_1-8B-Base-L(\d+)R-", "resid_post"),
    (r"^fnlp/.*/Llama3_1-8B-Base-L(\d+)A-", "attn_out"),
    (r"^fnlp/.*/Llama3_1-8B-Base-L(\d+)M-", "mlp_out"),
    (r"^fnlp/Llama-Scope-R1-Distill/.*/L(\d+)R$", "resid_post"),
    (r"^Qwen/SAE-Res-.*/layer(\d+)\.sae\.pt$", "resid_post"),
    (r"^Goodfire/.*-SAE-l(\d+)/", "resid_post"),
    (r"resid_post_layer_(\d+)(?:/|$)", "resid_post"),
)
"""Where a dictionary reads, by its path, for those whose id in SAELens is not TransformerLens' name of the place."""
_WIDTHS = (
    r"width_(\d+[km])",
    r"-[Ww]-?(\d+[Kk])-",
    r"v5_(\d+k)_",
    r"2pow(\d+)",
    r"-(\d+k)(?:_|$)",
    r"_(\d{3,6})(?:[_:]|$)",
)


@dataclass(frozen=True)
class Entry:
    """One dictionary of the registry. What the registry does not tell is None; the files may."""

    path: str
    """What a spec writes as `dictionary.path`."""
    model: str
    hook_point: str | None
    width: str | None
    """Number of features, as its publisher rounds it: 16k, 1m."""
    l0: float | None
    neuronpedia: str | None
    names: tuple[str, ...]
    """What SAELens calls it: release and id, with a slash between; some have several names."""
    format: str | None
    unread: str | None
    """Why it cannot be used here, None where it can."""


def load() -> list[Entry]:
    """Every dictionary that the installed sae-lens knows, in the order of their paths. Raises `UsageError` without the library."""
    entries: dict[str, Entry] = {}
    for row in _rows(_file()):
        entry = _entry(row)
        known = entries.get(entry.path)
        entries[entry.path] = entry if known is None else _merged(known, entry)
    return sorted(entries.values(), key=_natural)


def matching(entries: list[Entry], pattern: str) -> list[Entry]:
    """Those in which each word of `pattern` is found, whatever its case: as a part of a field, or as a glob of a whole one."""
    words = pattern.lower().split()
    return [entry for entry in entries if all(any(_fits(field, word) for field in _fields(entry)) for word in words)]


def _fields(entry: Entry) -> Iterator[str]:
    for field in (entry.path, entry.model, entry.hook_point, entry.width, entry.neuronpedia, *entry.names):
        if field:
            yield field.lower()


def _fits(field: str, word: str) -> bool:
    return fnmatchcase(field, word) if any(sign in word for sign in "*?[") else word in field


def _file() -> Path:
    spec = importlib.util.find_spec(LIBRARY)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / LIST).is_file():
            return file
    raise UsageError(
        "the list of dictionaries comes with sae-lens, which is not installed: `pip install 'autointerp-eval[saelens]'`, or for"
        " the list alone `pip install --no-deps sae-lens`"
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """The list's dictionaries with the facts of their releases, from the cache where it was made of this very file."""
    stat = file.stat()
    of = [str(file), stat.st_size, stat.st_mtime_ns]
    cached = cache_dir() / "saelens-registry.json"
    try:
        held = json.loads(cached.read_text(encoding="utf-8"))
        if held["of"] == of:
            return list(held["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # made anew
    rows = _parse(file)
    with tempfile.NamedTemporaryFile("w", dir=cached.parent, delete=False, encoding="utf-8") as partial:
        json.dump({"of": of, "rows": rows}, partial)
    Path(partial.name).replace(cached)
    return rows


def _parse(file: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        releases = yaml.load(file.read_text(encoding="utf-8"), loader)
        return [
            {
                "name": f"{name}/{found['id']}",
                "repository": release["repo_id"],
                "inside": str(found["path"]),
                "model": release["model"],
                "conversion": release.get("conversion_func"),
                "l0": found.get("l0"),
                "neuronpedia": found.get("neuronpedia"),
            }
            for name, release in releases.items()
            for found in release["saes"]
        ]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        reason = one_line(error, most=120)
        raise UsageError(
            f"{file} is not the list that it was in sae-lens 6 ({reason}): install sae-lens 6.54.12"
        ) from None


def _entry(row: dict[str, Any]) -> Entry:
    conversion, inside = row["conversion"], row["inside"]
    if conversion == "mntss_clt_layer_transcoder":
        inside = f"W_enc_{inside}.safetensors"
    path = f"{row['repository']}/{inside}"
    format = FORMATS.get(conversion)
    return Entry(
        path=path,
        model=row["model"],
        hook_point=_hook_point(row["name"], path),
        width=_width(f"{path} {row['neuronpedia'] or ''}".split()),
        l0=row["l0"],
        neuronpedia=row["neuronpedia"],
        names=(row["name"],),
        format=format,
        unread=None if format else _UNREAD.get(conversion, f"its format ({conversion}) is not read"),
    )


def _merged(one: Entry, other: Entry) -> Entry:
    """The same dictionary under a second name, such as Gemma Scope's `canonical` ones."""
    return replace(
        one,
        l0=other.l0 if one.l0 is None else one.l0,
        neuronpedia=one.neuronpedia or other.neuronpedia,
        width=one.width or other.width,
        names=one.names + other.names,
    )


def _hook_point(name: str, path: str) -> str | None:
    if (match := _LENS_NAME.search(name)) and (found := ours(match[0])):
        return found
    for pattern, kind in _SITES:
        if match := re.search(pattern, path):
            return f"{kind}.{int(match[1] or 0)}"
    return None


def _width(texts: list[str]) -> str | None:
    for pattern in _WIDTHS:
        for text in texts:
            if match := re.search(pattern, text):
                return _rounded(match[1].lower(), power=pattern.startswith("2pow"))
    return None


def _rounded(width: str, *, power: bool) -> str:
    if not width.isdigit():
        return width
    features = 2 ** int(width) if power else int(width)
    return f"{features // 1024}k" if features >= 1024 else str(features)


def _natural(entry: Entry) -> list[str | int]:
    """Layer 2 before layer 10. Texts and numbers take turns, so that they are never compared with each other."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", entry.path)]
