"""SAELens' format against sae-lens itself, and against its published formulas for layouts that the library no longer writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.locations import PEER_SCRIPTS
from support.sae import peers
from support.sae.format_files import (
    B_DEC,
    B_ENC,
    BASE,
    D_IN,
    D_SAE,
    HOOK,
    NAN,
    THRESHOLD,
    W_DEC,
    W_ENC,
    K,
    X,
    equals_the_library,
    normal,
    refused,
    same,
    write_saelens,
    write_tensors,
)
from torch import Tensor

from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.formats.location import DictionaryLocation
from sae.formats.saelens import overrides as saelens_overrides
from sae.formats.saelens import reader, writer

pytestmark = pytest.mark.slow

WRITER = PEER_SCRIPTS / "write_saelens.py"
ARCHITECTURES = ("standard", "gated", "topk", "jumprelu")
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
NORMS = ("none", "expected_average_only_in", "layer_norm", "constant_norm_rescale")
TRAININGS = ("standard", "gated", "topk", "jumprelu", "batchtopk", "batchtopk plain", "matryoshka_batchtopk")
OURS: dict[str, dict[str, Any]] = {
    "relu": {"hook_point": "resid_post.5"},
    "jumprelu": {"hook_point": "mlp_act.5", "threshold": THRESHOLD, "input_norm": "layer_norm"},
    "topk": {"hook_point": "attn_z.5", "k": K, "apply_b_dec_to_input": True, "input_norm": "per_token"},
}


def ours(activation: str) -> Dictionary:
    return Dictionary(W_ENC.T.contiguous(), B_ENC, W_DEC, B_DEC, activation, **OURS[activation])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """Folders that sae-lens wrote; and under `ours` those that we wrote, with what sae-lens says of each."""
    out = tmp_path_factory.mktemp("saelens")
    for activation in OURS:
        writer.save(out / "ours" / activation, ours(activation), model_name="tiny")
        write_tensors(out / "ours" / activation / "reference.safetensors", {"x": X})
    said = peers.run("saelens", WRITER, "saelens", out, *(out / "ours" / activation for activation in OURS))
    return out, [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_equals_the_library(written: tuple[Path, Any], name: str) -> None:
    d = load_dictionary(str(written[0] / name))
    equals_the_library(written[0] / name, d)
    assert (d.architecture, d.format, d.hook_point, d.hook_point_out) == (name, "saelens", "resid_post.4", None)
    assert (d.activation == "topk") == (d.k is not None)


@pytest.mark.parametrize("name", [*TRANSCODERS, "transcoder layer_norm"])
def test_transcoders_equal_the_library(written: tuple[Path, Any], name: str) -> None:
    d = load_dictionary(str(written[0] / name))
    equals_the_library(written[0] / name, d)
    assert (d.hook_point, d.hook_point_out, d.d_in, d.d_out) == ("mlp_in.4", "mlp_out.4", 12, 10)
    assert (d.W_skip is not None) == ("skip" in d.architecture)


@pytest.mark.parametrize("name", [*NORMS, "uncentred", "topk rescaled", "hook_z"])
def test_normalisations_and_settings_equal_the_library(written: tuple[Path, Any], name: str) -> None:
    d = load_dictionary(str(written[0] / name))
    equals_the_library(written[0] / name, d)
    assert d.hook_point == ("attn_z.4" if name == "hook_z" else "resid_post.4")


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("kind", ["exported", "checkpoint"])
def test_checkpoints_of_a_training_equal_the_library(written: tuple[Path, Any], kind: str, name: str) -> None:
    d = load_dictionary(str(written[0] / f"{kind} {name}"))
    equals_the_library(written[0] / f"{kind} {name}", d)
    if "batchtopk" in name:
        assert d.activation == "jumprelu"


@pytest.mark.parametrize("name", ["old hook_point", "old topk", "old hook_name", "old scale"])
def test_layouts_from_before_version_6_equal_the_library(written: tuple[Path, Any], name: str) -> None:
    d = load_dictionary(str(written[0] / name))
    equals_the_library(written[0] / name, d)
    assert d.hook_point == "resid_post.3"
    assert d.activation == {"old topk": "topk", "old hook_name": "jumprelu"}.get(name, "relu")


@pytest.mark.parametrize("what", ["abstopk", "matching_pursuit", "whitening"])
def test_architectures_that_are_not_supported_are_refused_by_name(written: tuple[Path, Any], what: str) -> None:
    refused(lambda: load_dictionary(str(written[0] / f"refused {what}")), what, "cfg.json", "not supported")


@pytest.mark.parametrize("activation", OURS)
def test_the_library_loads_dictionaries_written_here(written: tuple[Path, list[list[str]]], activation: str) -> None:
    out, said = written
    equals_the_library(out / "ours" / activation, ours(activation))
    lens = {"relu": "hook_resid_post", "jumprelu": "mlp.hook_post", "topk": "attn.hook_z"}[activation]
    kind = {"relu": "StandardSAE", "jumprelu": "JumpReLUSAE", "topk": "TopKSAE"}[activation]
    assert ["tiny", f"blocks.5.{lens}", kind] in said


def test_overrides_equal_those_of_the_library_s_registry() -> None:
    import yaml

    file = peers.install("saelens") / "sae_lens" / "pretrained_saes.yaml"
    registry = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    native = [release for release in registry.values() if release["conversion_func"] is None]
    overrides = {release["repo_id"]: release.get("config_overrides", {}) for release in native}
    centred = {repo for repo, said in overrides.items() if "model_from_pretrained_kwargs" in said}
    assert set(saelens_overrides.CENTRED) == centred
    norms = {repo: said["normalize_activations"] for repo, said in overrides.items() if "normalize_activations" in said}
    assert norms == saelens_overrides.NORMS
    scales = {
        f"{release['repo_id']}/{entry['path'].partition(':')[0]}": entry["norm_scaling_factor"]
        for release in native
        for entry in release["saes"]
        if "norm_scaling_factor" in entry
    }
    assert scales == saelens_overrides.SCALES


# By formula


def test_overrides_are_used(tmp_path: Path) -> None:
    def read(name: str, **config: Any) -> Dictionary:
        return reader.load(DictionaryLocation(write_saelens(tmp_path / name.replace("/", "-"), **config), name))

    centred = X - X.mean(-1, keepdim=True)
    repository = saelens_overrides.CENTRED[0]
    same(read(f"{repository}/blocks.4").encode(X), (centred @ W_ENC + B_ENC).relu())
    same(read(f"{repository}-other/blocks.4").encode(X), (X @ W_ENC + B_ENC).relu())
    heads = {"hook_name": "blocks.4.attn.hook_z"}
    same(read(f"{repository}/heads", metadata=heads).encode(X), (X @ W_ENC + B_ENC).relu())
    unit = X * D_IN**0.5 / X.norm(dim=-1, keepdim=True)
    same(read(f"{next(iter(saelens_overrides.NORMS))}/layer_8").encode(X), (unit @ W_ENC + B_ENC).relu())
    name, scale = next(iter(saelens_overrides.SCALES.items()))
    d = read(name, normalize_activations="expected_average_only_in", apply_b_dec_to_input=True)
    f = ((X * scale - B_DEC) @ W_ENC + B_ENC).relu()
    same(d.encode(X), f)
    torch.testing.assert_close(d.decode(f), (f @ W_DEC + B_DEC) / scale)


def test_negative_thresholds_are_read_as_0(tmp_path: Path) -> None:
    d = load_dictionary(str(write_saelens(tmp_path, {**BASE, "threshold": THRESHOLD - 0.5}, architecture="jumprelu")))
    z = X @ W_ENC + B_ENC
    same(d.encode(X), z.relu() * (z > THRESHOLD - 0.5))
    assert any("negative" in note for note in d.notes)


def test_topk_activations_are_scaled_by_the_decoder_norm_after_the_selection(tmp_path: Path) -> None:
    d = load_dictionary(str(write_saelens(tmp_path, architecture="topk", k=K)))
    same(d.activations(X), d.encode(X) * W_DEC.norm(dim=1))


def test_a_feature_with_a_decoder_row_of_zeros_is_never_active_under_rescaling(tmp_path: Path) -> None:
    W_dec = W_DEC.clone()
    W_dec[3] = 0
    folder = write_saelens(
        tmp_path, {**BASE, "W_dec": W_dec}, architecture="topk", k=K, rescale_acts_by_decoder_norm=True
    )
    assert not load_dictionary(str(folder)).encode(X)[:, 3].any()


def test_a_checkpoint_with_its_scale_in_a_file(tmp_path: Path) -> None:
    write_saelens(tmp_path, normalize_activations="expected_average_only_in", apply_b_dec_to_input=True)
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 0.25}')
    d = load_dictionary(str(tmp_path))
    f = ((X * 0.25 - B_DEC) @ W_ENC + B_ENC).relu()
    same(d.encode(X), f)
    torch.testing.assert_close(d.decode(f), (f @ W_DEC + B_DEC) / 0.25)


def test_a_dictionary_trained_on_a_centred_stream(tmp_path: Path) -> None:
    for c in (False, True):
        for model, x in (("gpt2-small", X - X.mean(-1, keepdim=True)), ("gemma-2-2b", X)):
            meta = {**HOOK, "model_name": model, "model_from_pretrained_kwargs": {"center_writing_weights": True}}
            d = load_dictionary(str(write_saelens(tmp_path / f"{model}{c}", metadata=meta, apply_b_dec_to_input=c)))
            same(d.encode(X), ((x - c * B_DEC) @ W_ENC + B_ENC).relu())
            assert any("center_writing_weights" in note for note in d.notes) == (model == "gpt2-small")


def test_finetuned_decoder_scale(tmp_path: Path) -> None:
    factor = torch.linspace(0.5, 2, D_SAE)
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        folder = write_saelens(tmp_path / name, {**BASE, name: factor}, finetuning_scaling_factor=True)
        d = load_dictionary(str(folder))
        f = (X @ W_ENC + B_ENC).relu()
        torch.testing.assert_close(d.decode(d.encode(X)), (f * factor) @ W_DEC + B_DEC, rtol=1e-4, atol=1e-4)
    folder = write_saelens(tmp_path / "unsaid", {**BASE, "scaling_factor": factor})
    refused(lambda: load_dictionary(str(folder)), "scaling_factor", "it is unclear whether")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_keep_their_precision_and_are_computed_in_float32(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    d = load_dictionary(str(write_saelens(tmp_path, {name: t.to(dtype) for name, t in BASE.items()})))
    assert d.W_enc.dtype == dtype
    same(d.encode(X), (X @ W_ENC.to(dtype).float() + B_ENC.to(dtype).float()).relu())


def test_other_files_in_the_folder_are_ignored(tmp_path: Path) -> None:
    write_saelens(tmp_path)
    write_tensors(tmp_path / "sparsity.safetensors", {"sparsity": torch.zeros(D_SAE)})
    (tmp_path / "runner_cfg.json").write_text("{}")
    same(load_dictionary(str(tmp_path)).encode(X), (X @ W_ENC + B_ENC).relu())


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"hook_name": "blocks.7.hook_resid_post"}, "resid_post.7"),
        ({"hook_name": "blocks.7.hook_resid_pre"}, "resid_post.6"),
        ({"hook_name": "blocks.0.hook_resid_pre"}, "resid_pre.0"),
        ({"hook_name": "blocks.7.hook_mlp_out"}, "mlp_out.7"),
        ({"hook_name": "blocks.7.mlp.hook_post"}, "mlp_act.7"),
        ({"hf_hook_name": "model.layers.20.output"}, "resid_post.20"),
        ({"hf_hook_name": "model.layers.20.mlp.down_proj.input"}, "mlp_act.20"),
        ({"hook_name": "transformer.h.3"}, "resid_post.3"),
        ({"hook_name": "gpt_neox.layers.3"}, "resid_post.3"),
        ({"hook_point": "mlp_act.2", "hook_name": "blocks.7.hook_resid_post"}, "mlp_act.2"),
        ({"hook_name": "no.such.place", "hf_hook_name": "model.layers.20.output"}, "resid_post.20"),
    ],
)
def test_hook_names(tmp_path: Path, metadata: dict[str, str], expected: str) -> None:
    assert load_dictionary(str(write_saelens(tmp_path, metadata=metadata))).hook_point == expected


def test_the_tokens_that_it_was_trained_on_are_read(tmp_path: Path) -> None:
    said = {"prepend_bos": False, "context_size": 1024, "exclude_special_tokens": True, "seqpos_slice": [1, None]}
    d = load_dictionary(str(write_saelens(tmp_path / "a", metadata={**HOOK, **said})))
    assert (d.trained_with_bos, d.trained_context) == (False, 1024)
    assert {note.split()[1] for note in d.notes} == {"without", "on"}
    assert len(d.notes) == 2
    silent = load_dictionary(str(write_saelens(tmp_path / "b")))
    assert (silent.trained_with_bos, silent.trained_context, silent.notes) == (None, None, ())


def test_a_transcoder_whose_file_does_not_name_its_output(tmp_path: Path) -> None:
    def read(**metadata: str) -> Dictionary:
        return load_dictionary(str(write_saelens(tmp_path, architecture="transcoder", metadata=metadata)))

    d = read(hook_name="blocks.2.hook_resid_mid")
    assert d.hook_point_out == "mlp_out.2"
    assert "assumed to be the MLP's" in d.notes[0]
    refused(lambda: read(hook_name="blocks.2.hook_resid_post"), "hook_name_out")
    refused(lambda: read(hook_name="blocks.2.mlp.hook_in", hook_name_out="blocks.3.attn.hook_q"), "attn.hook_q")


# Writing


@pytest.mark.parametrize("activation", OURS)
def test_a_saved_dictionary_reads_back_equal(tmp_path: Path, activation: str) -> None:
    d = ours(activation)
    writer.save(tmp_path / "out", d, model_name="tiny", metadata={"l0": 3.5})
    back = load_dictionary(str(tmp_path / "out"))
    assert back.fingerprint == d.fingerprint
    assert torch.equal(back.encode(X), d.encode(X))
    metadata = json.loads((tmp_path / "out" / "cfg.json").read_text())["metadata"]
    assert (metadata["l0"], metadata["model_name"], metadata["hook_point"]) == (3.5, "tiny", d.hook_point)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cfg.json", "sae_weights.safetensors"]


def test_dictionaries_without_a_field_in_the_format_are_not_written(tmp_path: Path) -> None:
    weights = (W_ENC.T, B_ENC, W_DEC, B_DEC)
    for d, word in (
        (Dictionary(*weights, "relu", "resid_post.1", input_norm="scale", input_scale=2.0), "input_scale = 2"),
        (Dictionary(*weights, "groupmax", "resid_post.1", k=4), "groupmax"),
        (Dictionary(*weights, "relu", "mlp_in.1", hook_point_out="mlp_out.1"), "transcoder"),
    ):
        refused(lambda d=d: writer.save(tmp_path / "out", d, model_name="tiny"), word)  # type: ignore[misc]
    assert not (tmp_path / "out").exists()


def test_an_interrupted_save_is_not_mistaken_for_a_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    d = load_dictionary(str(write_saelens(tmp_path)))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        writer.save(tmp_path, d, model_name="tiny")
    refused(lambda: load_dictionary(str(tmp_path)), "holds no dictionary")
    assert [p.name for p in tmp_path.iterdir()] == ["sae_weights.safetensors"]


# What is refused

GATED: dict[str, Tensor] = {name: normal(D_SAE, seed=5) for name in ("b_gate", "r_mag", "b_mag")}
WRONG: dict[str, tuple[dict[str, Any] | None, dict[str, Any], tuple[str, ...]]] = {
    "temporal": (None, {"architecture": "temporal"}, ("'temporal'", "not supported")),
    "none": (None, {"architecture": None}, ("None", "cfg.json")),
    "number": (None, {"architecture": 3}, ("3", "cfg.json")),
    "function": (None, {"activation_fn_str": "tanh-relu"}, ("'tanh-relu'",)),
    "whitening": (None, {"normalize_activations": "covariance_whitening"}, ("'covariance_whitening'",)),
    "unknown norm": (None, {"normalize_activations": ["x"]}, ("['x']",)),
    "k unsaid": (None, {"architecture": "topk"}, ("set dictionary.k",)),
    "k half": (None, {"architecture": "topk", "k": 2.5}, ("k = 2.5",)),
    "k wide": (None, {"architecture": "topk", "k": D_SAE + 1}, ("k = 17 is not in 1..16",)),
    "head": (None, {"metadata": {**HOOK, "hook_head_index": 3}}, ("head 3",)),
    "place": (None, {"metadata": {"hook_name": "blocks.3.attn.hook_q"}}, ("blocks.3.attn.hook_q",)),
    "divided": (
        None,
        {"metadata": {"hook_name": "blocks.3.ln2.hook_normalized"}, "normalize_activations": "layer_norm"},
        ("ln2.hook_normalized with a normalize_activations",),
    ),
    "divided by a deviation": (
        None,
        {"metadata": {"hook_name": "blocks.3.ln2.hook_normalized", "model_name": "gpt2-small"}},
        ("ln2.hook_normalized, which is not a supported hook point",),
    ),
    "nowhere": (None, {"metadata": {}}, ("set dictionary.hook_point",)),
    "size": (None, {"d_in": D_IN + 1}, ("cfg.json says 7",)),
    "nan": ({**BASE, "b_enc": NAN}, {}, ("b_enc holds NaN",)),
    "nan threshold": ({**BASE, "threshold": NAN}, {"architecture": "jumprelu"}, ("threshold holds NaN",)),
    "transposed": ({**BASE, "W_enc": W_ENC.T}, {}, ("d_sae",)),
    "short b_dec": ({**BASE, "b_dec": torch.zeros(2)}, {}, ("b_dec has shape (2,)",)),
    "short b_enc": ({**BASE, "b_enc": torch.zeros(2)}, {}, ("b_enc has shape (2,)",)),
    "short W_dec": ({**BASE, "W_dec": W_DEC[:5]}, {}, ("W_dec has shape (5, 6)",)),
    "short scale": ({**BASE, "scaling_factor": torch.zeros(3)}, {"finetuning_scaling_factor": True}, ("3 entries",)),
    "flat": ({**BASE, "W_dec": torch.zeros(2)}, {}, ("W_dec has shape (2,)",)),
    "lacks": ({"W_enc": W_ENC}, {}, ("lacks the tensor W_dec",)),
    "gated lacks": (None, {"architecture": "gated"}, ("lacks the tensor b_gate",)),
    "gated short": ({**BASE, **GATED, "r_mag": torch.zeros(2)}, {"architecture": "gated"}, ("16, 2, 16 entries",)),
    "threshold lacks": (None, {"architecture": "jumprelu"}, ("lacks the tensor threshold",)),
    "checkpoint lacks": (None, {"architecture": "batchtopk"}, ("lacks the tensor topk_threshold",)),
    "threshold extra": ({**BASE, "threshold": THRESHOLD}, {}, ("holds threshold, but cfg.json says", "'standard'")),
    "gate extra": ({**BASE, **GATED}, {"architecture": "jumprelu"}, ("holds b_gate, r_mag, b_mag, but",)),
    "old head": (None, {"metadata": {}, "hook_point": "blocks.3.attn.hook_z", "hook_point_head_index": 3}, ("head 3",)),
    "norm of two places": (
        None,
        {"metadata": {"hook_name": "model.layers.3.post_attention_layernorm"}},
        ("set dictionary.hook_point = attn_out.3 or mlp_in.3",),
    ),
    "skip lacks": (
        None,
        {"architecture": "skip_transcoder", "metadata": {"hook_name": "blocks.1.mlp.hook_in"}},
        ("lacks the tensor W_skip",),
    ),
    "integers": ({**BASE, "b_enc": torch.zeros(D_SAE, dtype=torch.int64)}, {}, ("b_enc holds int64",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    tensors, config, needles = WRONG[case]
    refused(lambda: load_dictionary(str(write_saelens(tmp_path, tensors, **config))), *needles, str(tmp_path))


def test_a_dictionary_of_another_width_is_refused(tmp_path: Path) -> None:
    d = load_dictionary(str(write_saelens(tmp_path)))
    d.check_fits(D_IN)
    refused(lambda: d.check_fits(768, "gpt2"), "reads 6 dimensions", "resid_post.4 of gpt2 has 768")


def test_an_unsupported_hook_point_can_be_overridden(tmp_path: Path) -> None:
    folder = str(write_saelens(tmp_path, metadata={"hook_name": "blocks.3.attn.hook_q"}))
    assert load_dictionary(folder, hook_point="resid_post.7").hook_point == "resid_post.7"
    refused(lambda: load_dictionary(folder, hook_point="hook_q.7"), "hook_q.7")
