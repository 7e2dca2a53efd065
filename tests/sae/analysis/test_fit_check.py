"""The check before a harvest: figures that are known beforehand, and each way in which a dictionary can be wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.planted_world import layered
from torch.utils._python_dispatch import TorchDispatchMode

from autointerp.errors import UsageError
from autointerp.harvest import merge, shards
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import open_inputs
from autointerp.progress import quiet
from autointerp.spec.spec import Spec, parse
from sae.analysis import chunked
from sae.analysis.dictionary_studies import study
from sae.analysis.fit_check import FitCheck, check_fit
from sae.analysis.token_sample import draw
from sae.corpus.corpus import Corpus
from sae.dictionary import CROSS_LAYER, Dictionary
from sae.errors import SaeError
from sae.subject.model import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

LAST = f"resid_post.{layered.LAYERS - 1}"
ALL = 60_000


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> layered.Deep:
    return layered.make(tmp_path_factory.mktemp("deep"))


@pytest.fixture(scope="module")
def subject(deep: layered.Deep) -> Subject:
    return deep.subject()


@pytest.fixture(scope="module")
def corpus(deep: layered.Deep, subject: Subject) -> Corpus:
    return deep.corpus(subject)


@pytest.fixture(scope="module")
def x(subject: Subject, corpus: Corpus) -> torch.Tensor:
    return layered.values(subject, corpus, LAST)


@pytest.fixture(scope="module")
def right(x: torch.Tensor) -> Dictionary:
    return layered.principal(x, LAST, silent=16)


# What is known beforehand


def test_the_figures_of_a_known_dictionary(
    subject: Subject, corpus: Corpus, x: torch.Tensor, right: Dictionary
) -> None:
    found = check_fit(subject, right, corpus, tokens=ALL)
    assert found.tokens == len(x)
    assert found.variance_explained == pytest.approx(layered.explained(x), abs=1e-5)
    assert found.l0 == pytest.approx(layered.RANK, abs=1e-3)
    assert found.dead_fraction == 16 / right.d_sae
    x_hat = right.decode(right.encode(x))
    assert found.norm_ratio == pytest.approx(float(x_hat.norm(dim=1).mean() / x.norm(dim=1).mean()), rel=1e-5)
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(x, x_hat).mean()), rel=1e-5)
    assert (found.verdict, found.said) == ("fits", "")


def test_a_perfect_dictionary_recovers_the_whole_loss_and_the_mean_alone_a_part(
    subject: Subject, corpus: Corpus, x: torch.Tensor
) -> None:
    whole = check_fit(subject, layered.principal(x, LAST, rank=x.shape[1]), corpus)
    assert whole.variance_explained == pytest.approx(1, abs=1e-5)
    assert whole.loss_recovered == pytest.approx(1, abs=1e-3)
    assert whole.loss is not None
    # Zeros before the final norm are zeros after it: every word is as likely as any other.
    assert whole.loss.zeroed == pytest.approx(math.log(subject.model.config.vocab_size), abs=1e-4)
    assert whole.loss.clean < whole.loss.zeroed - 1
    halved = replace(layered.principal(x, LAST, rank=x.shape[1]), W_dec=torch.zeros(2 * x.shape[1], x.shape[1]))
    mean = check_fit(subject, halved, corpus, tokens=ALL)
    assert mean.variance_explained == pytest.approx(0, abs=1e-4)
    assert mean.loss_recovered is not None
    assert 0 < mean.loss_recovered < 1.1


def test_tokens_that_do_not_count_keep_their_value(subject: Subject, corpus: Corpus, right: Dictionary) -> None:
    norms = layered.values(subject, corpus, LAST).norm(dim=1)
    limit = float(norms.quantile(0.5))
    half = check_fit(subject, right, corpus, tokens=ALL, norm_limit=limit)
    assert half.tokens == int((norms <= limit).sum())
    whole = check_fit(subject, right, corpus, tokens=ALL)
    assert whole.loss is not None
    assert half.loss is not None
    assert half.loss.tokens < whole.loss.tokens
    with pytest.raises(SaeError, match=r"exceeds 1: raise harvest\.max_norm_ratio"):
        check_fit(subject, right, corpus, norm_limit=1.0)


def test_a_transcoder_is_measured_at_its_output(subject: Subject, corpus: Corpus) -> None:
    reads, writes = f"mlp_in.{layered.LAYERS - 1}", f"mlp_out.{layered.LAYERS - 1}"
    source, target = (layered.values(subject, corpus, name) for name in (reads, writes))
    centred = source - source.mean(dim=0)
    linear = torch.linalg.lstsq(centred, target - target.mean(dim=0)).solution
    fitted = Dictionary(
        W_enc=torch.cat([torch.eye(80), -torch.eye(80)]), b_enc=torch.zeros(160), W_dec=torch.cat([linear, -linear]),
        b_dec=target.mean(dim=0) - source.mean(dim=0) @ linear, activation="relu", hook_point=reads, hook_point_out=writes,
    )  # fmt: skip
    found = check_fit(subject, fitted, corpus, tokens=ALL)
    expected = chunked.variance_explained(target, source @ linear + fitted.b_dec)
    assert found.variance_explained == pytest.approx(expected, abs=1e-4)
    assert expected > 0.1
    assert found.loss_recovered is not None
    assert found.verdict == "fits"


def test_a_transcoder_of_another_width_is_refused(subject: Subject, corpus: Corpus, right: Dictionary) -> None:
    wide = replace(
        right, W_dec=torch.ones(right.d_sae, 7), b_dec=torch.zeros(7), apply_b_dec_to_input=False,
        hook_point_out=LAST, path="wide",
    )  # fmt: skip
    with pytest.raises(SaeError, match=rf"wide writes 7 dimensions, but {LAST} of the subject has 80"):
        check_fit(subject, wide, corpus)


def test_a_cross_layer_transcoder_has_only_the_figures_of_its_features(
    subject: Subject, corpus: Corpus, right: Dictionary
) -> None:
    across = replace(
        right, W_dec=torch.cat([right.W_dec, right.W_dec], dim=1), b_dec=torch.zeros(2 * right.d_in),
        apply_b_dec_to_input=False, hook_point_out=LAST, architecture=CROSS_LAYER,
    )  # fmt: skip
    found, own = (
        check_fit(subject, across, corpus),
        check_fit(subject, replace(right, apply_b_dec_to_input=False), corpus),
    )
    assert (found.variance_explained, found.cosine, found.loss) == (None, None, None)
    assert (found.l0, found.dead_fraction) == (own.l0, own.dead_fraction)
    studied = study(subject, across, corpus, tokens=2048, features=[0, 1], seed=0, skip_positions=1, norm_limit=1e9)
    assert studied["density"]["features"] == right.d_sae
    assert set(studied["rounding"]["variance_explained"]) == {None}


def test_the_same_seed_draws_the_same_tokens_and_more_contain_fewer(corpus: Corpus) -> None:
    few, more = draw(corpus, 1000, 3, 1), draw(corpus, 5000, 3, 1)
    assert list(more.rows[: len(few.rows)]) == list(few.rows)
    assert list(draw(corpus, 1000, 4, 1).rows) != list(few.rows)
    with pytest.raises(SaeError, match="the corpus has no countable token"):
        draw(corpus, 1000, 3, 64)


# The wrong one


def said_of(subject: Subject, corpus: Corpus, dictionary: Dictionary) -> FitCheck:
    return check_fit(subject, dictionary, corpus, tokens=4096)


def test_a_wrong_layer_is_named(subject: Subject, corpus: Corpus, x: torch.Tensor) -> None:
    found = said_of(subject, corpus, replace(layered.principal(x, LAST), hook_point="resid_post.1"))
    assert found.verdict != "fits"
    assert f"it looks trained on {LAST}, where it would explain 0.9" in found.said
    assert found.said.endswith(f'set dictionary.hook_point = "{LAST}"')


def test_a_wrong_kind_is_named(subject: Subject, corpus: Corpus) -> None:
    values = layered.values(subject, corpus, "mlp_out.2")
    found = said_of(subject, corpus, layered.principal(values, "resid_post.2", rank=12))
    assert "it looks trained on mlp_out.2" in found.said


@pytest.mark.parametrize(("length", "name"), [(80**0.5, "a mean norm of sqrt(d)"), (1.0, "a mean norm of 1")])
def test_a_scale_that_the_files_do_not_state_is_named(
    subject: Subject, corpus: Corpus, x: torch.Tensor, length: float, name: str
) -> None:
    scaled = layered.principal(x, LAST, scale=length / float(x.norm(dim=1).mean()))
    found = said_of(subject, corpus, scaled)
    assert f"it looks trained on activations scaled to {name}, where it would explain 0.9" in found.said


def test_a_wrong_scale_is_named(subject: Subject, corpus: Corpus, right: Dictionary) -> None:
    found = said_of(subject, corpus, replace(right, input_norm="scale", input_scale=0.01))
    assert "it looks trained on activations without normalisation" in found.said


def test_centred_activations_are_named(subject: Subject, corpus: Corpus, x: torch.Tensor) -> None:
    lifted = subject.model.model.layers[-1].mlp.down_proj  # a mean over dimensions that centring takes away
    centred = x - x.mean(dim=1, keepdim=True)
    before = lifted.weight.detach().clone()
    try:
        with torch.no_grad():
            lifted.weight += 3.0
        found = said_of(subject, corpus, layered.principal(centred, LAST))
    finally:
        with torch.no_grad():
            lifted.weight.copy_(before)
    assert "minus their mean over dimensions" in found.said


def test_another_model_of_the_same_shape_explains_nothing(subject: Subject, corpus: Corpus, tmp_path: Path) -> None:
    other = layered.make(tmp_path, seed=1)
    there = other.subject()
    found = said_of(subject, corpus, layered.principal(layered.values(there, other.corpus(there), LAST), LAST))
    assert found.verdict == "nothing"
    assert found.variance_explained < 0
    assert found.loss_recovered is not None
    assert found.loss_recovered < 0
    assert "belong to another model or revision" in found.said


def test_a_sparse_dictionary_that_explains_little_fits(subject: Subject, corpus: Corpus, x: torch.Tensor) -> None:
    few = layered.principal(x, LAST, rank=2)
    found = said_of(subject, corpus, few)
    assert 0.1 < found.variance_explained < 0.5
    assert (found.verdict, found.said) == ("fits", "")


# Pieces


def dictionaries() -> st.SearchStrategy[Dictionary]:
    def made(d_in: int, groups: int, group: int, activation: str, norm: str, seed: int) -> Dictionary:
        generator = torch.Generator().manual_seed(seed)
        d_sae = groups * group

        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        kind: dict[str, Any] = {"activation": activation, "input_norm": norm, "hook_point": LAST}
        kind |= {"threshold": drawn(d_sae).abs()} if activation == "jumprelu" else {}
        kind |= {"k": groups} if activation in ("topk", "groupmax") else {}
        weights = drawn(d_sae, d_in), drawn(d_sae), drawn(d_sae, d_in), drawn(d_in)
        return Dictionary(*weights, **kind, apply_b_dec_to_input=bool(seed % 2), W_skip=drawn(d_in, d_in))

    return st.builds(
        made,
        d_in=st.integers(2, 6),
        groups=st.integers(1, 5),
        group=st.integers(1, 7),
        activation=st.sampled_from(["relu", "jumprelu", "topk", "groupmax"]),
        norm=st.sampled_from(["none", "layer_norm", "per_token"]),
        seed=st.integers(0, 99),
    )


@given(dictionaries(), st.integers(1, 9), st.integers(1, 40))
def test_chunks_together_equal_the_whole(dictionary: Dictionary, n: int, elements: int) -> None:
    rows = torch.randn(n, dictionary.d_in, generator=torch.Generator().manual_seed(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "ELEMENTS", elements)
        found = torch.cat([chunk.f for chunk in chunked.feature_chunks(dictionary, rows)], dim=1)
        x_hat, l0, fired = chunked.reconstruct(dictionary, rows)
        maximum = found.amax(dim=0)
        shares = torch.tensor([0.0, 0.3, 0.6])
        rounded = chunked.reconstruct_rounded(dictionary, rows, maximum, shares)
    f = dictionary.encode(rows)
    torch.testing.assert_close(found, f)
    torch.testing.assert_close(x_hat, dictionary.decode(f, rows), rtol=1e-4, atol=1e-4)
    assert (l0.tolist(), fired.tolist()) == ((f > 0).sum(1).tolist(), (f > 0).sum(0).tolist())
    for share, part in zip(shares, rounded, strict=True):
        kept = torch.where(found / maximum > share, found, 0.0)
        torch.testing.assert_close(part, dictionary.decode(kept, rows), rtol=1e-4, atol=1e-4)


class _Largest(TorchDispatchMode):
    """Remembers the largest tensor that was made."""

    seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.seen = max(self.seen, tensor.numel() * tensor.element_size())
        return made


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_a_million_features_are_never_dense(monkeypatch: pytest.MonkeyPatch, activation: Any) -> None:
    monkeypatch.setattr(chunked, "ELEMENTS", 1 << 22)
    d_sae = 1 << 20
    W = torch.randn(d_sae, 4, generator=torch.Generator().manual_seed(0))
    wide = Dictionary(
        W, torch.full((d_sae,), -4.0), W, torch.zeros(4), activation, LAST, k=8 if activation == "topk" else None
    )
    rows = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    with _Largest() as largest:
        _, l0, fired = chunked.reconstruct(wide, rows)
    assert largest.seen <= 4 * chunked.ELEMENTS
    assert 4 * len(rows) * d_sae > 50 * chunked.ELEMENTS
    assert int(l0.sum()) == int(fired.sum()) > 0


# Before a harvest


def spec_of(deep: layered.Deep, path: Path, **sections: Any) -> Spec:
    data: dict[str, Any] = {
        "subject": {"model": str(deep.folder), "precision": "float32"},
        "dictionary": {"path": str(path)} | sections.pop("dictionary", {}),
        "corpus": {"sources": [str(deep.text)], "context_tokens": 64, "max_tokens": 60_000},
        "units": {"features": 4, "neurons": 4},
        "harvest": {"window_tokens": 16},
        "controls": {"random_dictionary": False, "random_subject": False},
    }
    return parse(data | sections)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    other = layered.make(folder / "model", seed=1)
    there = other.subject()
    values = layered.values(there, other.corpus(there), LAST)
    return layered.save(folder / "dictionary", layered.principal(values, LAST))


def test_a_dictionary_that_explains_nothing_is_refused_unless_the_spec_says_to_continue(
    deep: layered.Deep, foreign: Path, tmp_path: Path
) -> None:
    artifacts, refused = Artifacts(tmp_path), open_inputs(spec_of(deep, foreign), quiet)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"explains nothing of resid_post\.3.*dictionary\.check = false") as error:
            shards.begin_harvest(refused, artifacts)
        assert "\n" not in str(error.value)
        assert error.value.exit_code == 2
    told = spec_of(deep, foreign, dictionary={"check": False}, studies={"tokens": 0})
    assert told.hash() == spec_of(deep, foreign, studies={"tokens": 0}).hash()
    folder = merge.harvest(replace(refused, spec=told), artifacts, quiet)
    assert json.loads((folder / "facts.json").read_text())["check"]["verdict"] == "nothing"


def test_the_check_is_made_once_and_stored_in_the_plan_and_the_facts(
    deep: layered.Deep, right: Dictionary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(deep, layered.save(tmp_path / "dictionary", right), studies={"tokens": 0})
    inputs, artifacts = open_inputs(spec, quiet), Artifacts(tmp_path / "artifacts")
    plan = shards.begin_harvest(inputs, artifacts)
    assert plan.check is not None
    assert plan.check["verdict"] == "fits"
    assert plan.check["variance_explained"] == pytest.approx(0.9, abs=0.05)
    monkeypatch.setattr(shards, "measure_fit", lambda *_: pytest.fail("measured twice"))
    folder = merge.harvest(inputs, artifacts, quiet)
    assert json.loads((folder / "facts.json").read_text())["check"] == plan.check
    assert json.loads((folder / "plan.json").read_text())["check"] == plan.check
