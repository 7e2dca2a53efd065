"""The dictionaries in SAELens' registry, with the path by which a spec names each of them.

Only the list that comes with sae-lens (`pretrained_saes.yaml`) is read. It is located without importing the library, whose import
takes seconds and needs a hundred packages. Parsing the list takes seconds too, so the parts used here are kept in the cache folder.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from autointerp.errors import UsageError
from sae.cache import cache_dir
from sae.errors import one_line
from sae.files import write_text
from sae.subject.hook_points import to_hook_point

NEURONPEDIA = "https://www.neuronpedia.org"
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
"""Our format for each of SAELens' conversion functions."""
_UNREAD = {
    "temporal": "the features of a temporal SAE depend on earlier tokens",
    "connor_rob_hook_z": "its format, a .pt file with a _cfg.json beside it, is not supported",
}
"""Conversion functions whose dictionaries cannot be read, with the reason."""
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
"""The kind of hook point by path, for dictionaries whose id in SAELens is not TransformerLens' name of it; the group is the layer."""
_WIDTHS = (
    r"width_(\d+[km])",
    r"-[Ww]-?(\d+[Kk])-",
    r"v5_(\d+k)_",
    r"2pow(\d+)",
    r"-(\d+k)(?:_|$)",
    r"_(\d{3,6})(?:[_:]|$)",
)
"""Number of features in a path or Neuronpedia id."""


@dataclass(frozen=True)
class Entry:
    """One dictionary of the registry. Facts that the registry does not state are None; the dictionary's files may state them."""

    path: str
    """`dictionary.path` in a spec."""
    model: str
    hook_point: str | None
    width: str | None
    """Number of features, as its publisher rounds it: 16k, 1m."""
    l0: float | None
    neuronpedia: str | None
    names: tuple[str, ...]
    """SAELens' names for it, `release/id`; some dictionaries have several."""
    format: str | None
    unread: str | None
    """The reason why it cannot be used here; None if it can."""


def load() -> list[Entry]:
    """Every dictionary that the installed sae-lens knows, sorted by path. Raises `UsageError` if sae-lens is not installed."""
    entries: dict[str, Entry] = {}
    for row in _rows(_file()):
        entry = _entry(row)
        known = entries.get(entry.path)
        entries[entry.path] = entry if known is None else _merge(known, entry)
    return sorted(entries.values(), key=_natural_order)


def neuronpedia_page(path: str) -> str | None:
    """Address of a dictionary's page on Neuronpedia, below which each feature has a page by its index.

    None if the list names none for the path, cannot be read, or is not installed.
    """
    try:
        entry = next((entry for entry in load() if entry.path == path), None)
    except (UsageError, OSError):
        return None
    return f"{NEURONPEDIA}/{entry.neuronpedia}" if entry and entry.neuronpedia else None


def matching(entries: list[Entry], pattern: str) -> list[Entry]:
    """The entries in which every word of `pattern` occurs, ignoring case: as a part of a field, or as a glob of a whole field."""
    words = pattern.lower().split()
    return [e for e in entries if all(any(_matches(field, word) for field in _fields(e)) for word in words)]


def _fields(entry: Entry) -> Iterator[str]:
    for field in (entry.path, entry.model, entry.hook_point, entry.width, entry.neuronpedia, *entry.names):
        if field:
            yield field.lower()


def _matches(field: str, word: str) -> bool:
    return fnmatchcase(field, word) if any(sign in word for sign in "*?[") else word in field


def is_installed() -> bool:
    """Whether the list of dictionaries is on this machine."""
    return _list_file() is not None


def _list_file() -> Path | None:
    spec = importlib.util.find_spec(LIBRARY)
    files = (Path(folder) / LIST for folder in ((spec.submodule_search_locations if spec else None) or []))
    return next((file for file in files if file.is_file()), None)


def _file() -> Path:
    if file := _list_file():
        return file
    raise UsageError(
        "the list of dictionaries comes with sae-lens, which is not installed: `pip install 'autointerp-eval[saelens]'`, or for"
        " the list alone `pip install --no-deps sae-lens`"
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """The list's dictionaries with the facts of their releases, from the cache if it was made from the same file."""
    stat = file.stat()
    identity = [str(file), stat.st_size, stat.st_mtime_ns]
    cache_file = cache_dir() / "saelens-registry.json"
    try:
        cached = json.loads(cache_file.read_text(encoding="utf-8"))
        if cached["of"] == identity:
            return list(cached["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: it is written again
    rows = _parse(file)
    write_text(cache_file, json.dumps({"of": identity, "rows": rows}))
    return rows


def _parse(file: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        releases = yaml.load(file.read_text(encoding="utf-8"), loader)
        return [
            {
                "name": f"{name}/{dictionary['id']}",
                "repository": release["repo_id"],
                "inside": str(dictionary["path"]),
                "model": release["model"],
                "conversion": release.get("conversion_func"),
                "l0": dictionary.get("l0"),
                "neuronpedia": dictionary.get("neuronpedia"),
            }
            for name, release in releases.items()
            for dictionary in release["saes"]
        ]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        reason = one_line(error, most=120)
        raise UsageError(
            f"{file} does not have the layout of sae-lens 6 ({reason}): install sae-lens 6.54.12"
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
        unread=None if format else _UNREAD.get(conversion, f"its format ({conversion}) is not supported"),
    )


def _merge(one: Entry, other: Entry) -> Entry:
    """One entry for a dictionary that is listed under two names, such as Gemma Scope's `canonical` ones."""
    return replace(
        one,
        l0=other.l0 if one.l0 is None else one.l0,
        neuronpedia=one.neuronpedia or other.neuronpedia,
        width=one.width or other.width,
        names=one.names + other.names,
    )


def _hook_point(name: str, path: str) -> str | None:
    if (match := _LENS_NAME.search(name)) and (hook_point := to_hook_point(match[0])):
        return hook_point
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


def _natural_order(entry: Entry) -> list[str | int]:
    """A sort key that puts layer 2 before layer 10. Texts and numbers alternate in it, so they are never compared with each other."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", entry.path)]
