"""Through the command line: whatever is broken or malicious ends in exit 2 and one line that names what, which and the remedy."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from support.planted_world import world as planted

from autointerp.cli.main import main

Spoil = Callable[[Path, dict[str, Any]], Any]
"""Breaks a world in a folder or the spec's data."""


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    planted.make(folder, documents=20)
    return folder


@pytest.fixture
def world(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "world"))


def data() -> dict[str, Any]:
    """A small spec with paths relative to the world's folder."""
    return {
        "subject": {"model": "subject", "precision": "float32"},
        "dictionary": {"path": "dictionary"},
        "corpus": {"sources": ["corpus.jsonl"], "context_tokens": 64, "max_tokens": 2000},
        "units": {"features": 4, "neurons": 4},
        "harvest": {"window_tokens": 16},
        "score": {"per_bin": 1},
        "controls": {"shuffled": 1, "base_rate": 1},
    }


def run(world: Path, spec: dict[str, Any], *arguments: str) -> Any:
    (world / "spec.toml").write_text(tomli_w.dumps(spec))
    return CliRunner().invoke(
        main, ["run", str(world / "spec.toml"), "--quiet", "--results", str(world / "results"), *arguments]
    )


def refused(result: Any, *needles: str) -> None:
    """Exit 2 and one line on stderr, in which all `needles` stand."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("autointerp: ")
    assert result.stderr.count("\n") == 1
    assert len(result.stderr) < 500
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for needle in needles:
        assert needle in result.stderr


def tensors(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Rewrite a weights file with its tensors changed."""
    loaded = {key: tensor.clone() for key, tensor in load_file(folder / name).items()}
    metadata = {"format": "pt"}
    change(loaded)
    save_file(loaded, folder / name, metadata=metadata)


def sae(change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    return lambda world, _: tensors(world / "dictionary", "sae_weights.safetensors", change)


def subject(change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    return lambda world, _: tensors(world / "subject", "model.safetensors", change)


def config(name: str, **changes: Any) -> Spoil:
    def spoil(world: Path, _: dict[str, Any]) -> None:
        path = world / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def truncate(name: str) -> Spoil:
    return lambda world, _: (world / name).write_bytes((world / name).read_bytes()[:-100])


def remove(name: str) -> Spoil:
    return lambda world, _: (world / name).unlink()


def write(name: str, content: bytes) -> Spoil:
    return lambda world, _: (world / name).write_bytes(content)


def key(table: str, **changes: Any) -> Spoil:
    return lambda _, spec: spec.setdefault(table, {}).update(changes)


def nan(name: str) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda loaded: loaded[name].view(-1)[7:8].fill_(float("nan"))


def narrow(loaded: dict[str, torch.Tensor]) -> None:
    """A dictionary that is whole in itself and reads a width that the subject does not have."""
    for name in ("W_enc", "W_dec", "b_dec"):
        axis = 0 if name != "W_dec" else 1
        loaded[name] = loaded[name].narrow(axis, 0, 40).contiguous()


WEIGHTS = "model.embed_tokens.weight"
BROKEN: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    # the dictionary
    "dictionary: NaN": (sae(nan("W_enc")), ("dictionary", "W_enc", "NaN")),
    "dictionary: infinite bias": (sae(lambda t: t["b_enc"][2:3].fill_(float("inf"))), ("b_enc", "infinite")),
    "dictionary: wrong shape": (sae(lambda t: t.update(W_dec=torch.zeros(3, 5))), ("W_dec", "(3, 5)")),
    "dictionary: a tensor lacks": (sae(lambda t: t.pop("W_dec")), ("sae_weights.safetensors", "W_dec")),
    "dictionary: truncated": (truncate("dictionary/sae_weights.safetensors"), ("sae_weights.safetensors",)),
    "dictionary: empty file": (write("dictionary/sae_weights.safetensors", b""), ("sae_weights.safetensors",)),
    "dictionary: no weights": (remove("dictionary/sae_weights.safetensors"), ("dictionary",)),
    "dictionary: no config": (remove("dictionary/cfg.json"), ("dictionary",)),
    "dictionary: config is no JSON": (write("dictionary/cfg.json", b"\xff{"), ("cfg.json",)),
    "dictionary: unknown architecture": (config("dictionary/cfg.json", architecture="warp"), ("cfg.json", "warp")),
    "dictionary: another width": (sae(narrow), ("80",)),
    "dictionary: another width, said so": (
        lambda w, s: (sae(narrow)(w, s), config("dictionary/cfg.json", d_in=40)(w, s)), ("40", "80", "resid_post.0"),
    ),
    "dictionary: missing folder": (key("dictionary", path="./nowhere"), ("nowhere",)),
    "dictionary: unknown format": (key("dictionary", format="zip"), ("dictionary.format", "zip")),
    "hook point: no such layer": (key("dictionary", hook_point="resid_post.7"), ("resid_post.7", "0 to 1")),
    "hook point: no such name": (key("dictionary", hook_point="attn.0"), ("dictionary.hook_point", "attn.0")),
    "hook point: of the file": (config("dictionary/cfg.json", hook_name="blocks.9.hook_resid_post"), ("resid_post.9",)),
    # the subject
    "subject: NaN": (subject(lambda t: t[WEIGHTS][300:].fill_(float("nan"))), ("NaN", "precision")),
    "subject: wrong shape": (subject(lambda t: t.update({WEIGHTS: torch.zeros(3, 80)})), ("subject", "weights", "shapes")),
    "subject: truncated": (truncate("subject/model.safetensors"), ("subject", "weights")),
    "subject: no weights": (remove("subject/model.safetensors"), ("subject", "no weights")),
    "subject: no config": (remove("subject/config.json"), ("subject", "config.json")),
    "subject: no tokenizer": (remove("subject/tokenizer.json"), ("subject", "tokenizer")),
    "subject: not causal": (config("subject/config.json", model_type="bert"), ("subject", "causal")),
    "subject: missing folder": (key("subject", model="./nowhere"), ("nowhere",)),
    "subject: no such device": (key("subject", device="warp"), ("warp",)),
    # the corpus
    "corpus: empty": (write("corpus.jsonl", b""), ("corpus", "no text")),
    "corpus: empty documents": (write("corpus.jsonl", b'{"text": ""}\n' * 3), ("corpus", "no text")),
    "corpus: only first positions": (write("corpus.jsonl", b"".join(b'{"text": "filler%d"}\n' % n for n in range(9))), ("corpus", "longer documents")),
    "corpus: one document": (write("corpus.jsonl", b'{"text": "filler1 filler2"}\n'), ("1 document", "min_exemplars = 8")),
    "corpus: not JSON": (write("corpus.jsonl", b'{"text": "a"}\nnope\n'), ("corpus.jsonl", "line 2")),
    "corpus: no such field": (key("corpus", text_field="body"), ("body", "text")),
    "corpus: missing file": (key("corpus", sources=["./nowhere.txt"]), ("nowhere.txt",)),
    "corpus: a folder": (key("corpus", sources=["subject"]), ("subject", "folder")),
    "corpus: no sources": (key("corpus", sources=[]), ("corpus.sources",)),
    # the spec
    "spec: unknown key": (key("corpus", sorces=["x"]), ("corpus.sorces", "did you mean sources?")),
    "spec: unknown table": (key("corpuss", x=1), ("corpuss", "did you mean corpus?")),
    "spec: wrong type": (key("units", features="many"), ("units.features", "many")),
    "spec: a number as text": (key("score", per_bin="5"), ("score.per_bin", "'5'")),
    "spec: too small": (key("harvest", bins=1), ("harvest.bins", "1")),
    "spec: a missing key": (lambda _, s: s["subject"].pop("model"), ("subject.model", "missing")),
    "spec: a missing table": (lambda _, s: s.pop("dictionary"), ("dictionary", "missing")),
    "spec: impossible together": (key("harvest", window_tokens=100), ("window_tokens", "context_tokens", "lower the first")),
    "spec: unknown provider": (key("judge", model="oracle/9000"), ("judge.model", "oracle/9000", "embedded")),
    "spec: no such rubric": (key("score", rubric="kindness"), ("kindness", "specificity")),
    "units: too many": (key("units", features=1000), ("units.features = 1000", "16")),
    "units: no such feature": (key("units", feature_ids=[3, 99]), ("units.feature_ids", "99")),
    "units: no such neuron": (key("units", neuron_ids=["99+"]), ("units.neuron_ids", "99+")),
    "units: a neuron without sign": (key("units", neuron_ids=["3"]), ("units.neuron_ids", "'3'")),
    "units: twice": (key("units", feature_ids=[3, 3]), ("units", "twice")),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_inputs_are_refused_in_one_line(world: Path, case: str) -> None:
    spoil, needles = BROKEN[case]
    spec = data()
    spoil(world, spec)
    refused(run(world, spec), *needles)
    assert not list(world.glob("results/*/summary.json"))
    assert not (world / "results" / "ledger.sqlite").exists(), "nothing was begun"


def test_the_intact_world_runs(world: Path) -> None:
    """Guards every case above: each breaks what worked."""
    result = run(world, data(), "--dry-run")
    assert (result.exit_code, result.exception) == (0, None), result.output


class Payload:
    """Unpickling it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


PICKLES = {
    "dictionary": ("sae_weights.safetensors", "sae_weights.pt", "ae.pt", "ae.pkl", "pytorch_model.bin", "params.npz"),
    "subject": ("model.safetensors", "pytorch_model.bin"),
}


@pytest.mark.parametrize("style", ["pickle", "torch"])
@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in PICKLES.items() for name in names])
def test_pickled_code_is_never_executed(world: Path, tmp_path: Path, folder: str, name: str, style: str) -> None:
    mark = tmp_path / "ran"
    next((world / folder).glob("*.safetensors")).unlink()
    if style == "pickle":
        (world / folder / name).write_bytes(pickle.dumps(Payload(mark)))
    else:
        torch.save({"W_enc": Payload(mark)}, world / folder / name)
    result = run(world, data())
    refused(result, folder)
    assert "weights_only" not in result.stderr, "advice to run it after all"
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload must work, or the test shows nothing"


@pytest.mark.slow
def test_a_real_process_prints_one_line(world: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (world / "dictionary" / "sae_weights.safetensors").write_bytes(pickle.dumps(Payload(mark)))
    (world / "spec.toml").write_text(tomli_w.dumps(data()))
    command = [
        sys.executable,
        "-m",
        "autointerp",
        "run",
        str(world / "spec.toml"),
        "--quiet",
        "--results",
        str(tmp_path / "r"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "sae_weights.safetensors" in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (["run", "nowhere.toml"], ("nowhere.toml", "does not exist")),
        (["run", "{spec}", "--set", "score.per_bin"], ("score.per_bin", "key=value")),
        (["run", "{spec}", "--set", "score.per_bn=3"], ("score.per_bn", "did you mean per_bin?")),
        (["run", "{spec}", "--set", "subject.model.x=3"], ("subject.model.x=3", "not a table")),
        (["report", "nowhere"], ("nowhere", "autointerp runs")),
        (["train", "nowhere.toml", "--out", "{out}"], ("nowhere.toml",)),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(world: Path, arguments: list[str], needles: tuple[str, ...]) -> None:
    spec = world / "spec.toml"
    spec.write_text(tomli_w.dumps(data()))
    filled = [argument.format(spec=spec, out=world / "out") for argument in arguments]
    refused(CliRunner().invoke(main, filled), *needles)


@pytest.mark.parametrize("content", [b"[subject\n", b"\xff\xfe", b"subject = 3\n", b"", b"a.b = 1\na.b = 2\n"])
def test_invalid_specs_are_refused(tmp_path: Path, content: bytes) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_bytes(content)
    refused(CliRunner().invoke(main, ["run", str(spec)]), "s")
