"""Every hook point of a tiny random model of every architecture that transformers registers for causal language modelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import pytest
import torch
from support.locations import ROOT
from support.sae.architectures import LAYERS, MODEL_TYPES, REASONS, by_type, hf, table, tiny_config, tiny_model
from support.sae.tiny_models import refused, tiny_tokenizer
from torch import Tensor
from torch.nn import functional as F

from sae.errors import SubjectError
from sae.subject import hook_modules, loading
from sae.subject.hook_points import BLOCK_KINDS
from sae.subject.model import Subject

TOKENS = torch.arange(3, 23).reshape(2, 10)
MIDDLE = 1
EMBEDDINGS_LEFT_OUT = ("falcon_mamba", "mamba", "mamba2", "rwkv")
"""Their `hidden_states` begin with the first block's output."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Shrunken configurations contradict themselves harmlessly; transformers says so for each."""
    verbosity = hf.logging.get_verbosity()
    hf.logging.set_verbosity(50)
    yield
    hf.logging.set_verbosity(verbosity)


@cache
def built(model_type: str) -> Subject:
    return admitted(model_type)


def admitted(model_type: str, **changes: Any) -> Subject:
    """The tiny model as a subject, after the checks of loading."""
    config = tiny_config(model_type, **changes)
    loading.check_causal(config, model_type)
    return Subject(tiny_model(config), tiny_tokenizer(), name=model_type, fingerprint="0")


def readable(subject: Subject) -> dict[str, int]:
    """The hook points that the subject gives, with their widths."""
    widths = {}
    for name in (f"{kind}.{layer}" for kind in BLOCK_KINDS for layer in range(LAYERS)):
        try:
            widths[name] = subject.width(name)
        except SubjectError as caught:
            error = str(caught)
            assert name in error
            assert "\n" not in error
    return widths


def pattern(names: Any) -> str:
    counts = [sum(f"{kind}.{layer}" in names for layer in range(LAYERS)) for kind in BLOCK_KINDS]
    return "".join("-" if count == 0 else "x" if count == LAYERS else "~" for count in counts)


def full_pass(subject: Subject) -> tuple[Any, list[Tensor], dict[int, Tensor]]:
    """transformers' hidden states, and by hooks of our own each block's output and each known down projection's."""
    outputs: list[Tensor] = []
    downs: dict[int, Tensor] = {}
    handles = []
    for layer, block in enumerate(subject.blocks):
        handles.append(block.register_forward_hook(lambda _m, _a, out: outputs.append(first(out).clone())))
        try:
            down = hook_modules.down_projection(block, f"mlp_act.{layer}")
        except SubjectError:
            continue
        handles.append(down.register_forward_hook(lambda _m, _a, out, at=layer: downs.update({at: out.clone()})))
    out = subject.model.base_model(input_ids=TOKENS, use_cache=False, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    return out.hidden_states, outputs, downs


def first(value: Any) -> Tensor:
    return value[0] if isinstance(value, (tuple, list)) else value


def close(a: Tensor, b: Tensor) -> None:
    """Equal but for the rounding of the residual stream, which may be much larger than what is added to it."""
    torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("model_type", by_type())
@torch.no_grad()
def test_every_hook_point_of_every_architecture(model_type: str) -> None:
    subject = built(model_type)
    widths = readable(subject)
    assert pattern(widths) == by_type()[model_type]
    values = subject.run(TOKENS, list(widths))
    assert {name: tuple(value.shape) for name, value in values.items()} == {n: (2, 10, w) for n, w in widths.items()}
    assert {value.dtype for value in values.values()} == {torch.float32}

    hidden, outputs, downs = full_pass(subject)
    offset = 0 if model_type in EMBEDDINGS_LEFT_OUT else 1
    for layer in range(LAYERS):
        assert torch.equal(values[f"resid_post.{layer}"], outputs[layer]), "a hook of our own"
        if layer < LAYERS - 1:
            assert torch.equal(values[f"resid_post.{layer}"], hidden[layer + offset]), "transformers' hidden states"
        if f"mlp_act.{layer}" in values:
            down = hook_modules.down_projection(subject.blocks[layer], f"mlp_act.{layer}")
            assert torch.equal(down(values[f"mlp_act.{layer}"]), downs[layer].reshape(2, 10, -1))
    if offset:
        assert torch.equal(values["resid_pre.0"], hidden[0])
    check_sums(values)


def check_sums(values: dict[str, Tensor]) -> None:
    """Stream before + what is added = stream after, wherever these can be read."""
    for layer in range(LAYERS):
        pre, mid, post, attention, mlp = (
            values.get(f"{kind}.{layer}") for kind in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
        )
        if mid is not None and attention is not None:
            close(mid - pre, attention)
        if mid is not None and mlp is not None:
            close(post - mid, mlp)
        if mid is None and mlp is not None:
            assert attention is not None
            close(post - pre, attention + mlp)


@pytest.mark.parametrize("model_type", by_type())
def test_every_architecture_stops_early_is_causal_and_can_be_edited(model_type: str) -> None:
    subject = built(model_type)
    names = [name for name in readable(subject) if name.endswith(f".{MIDDLE}")]
    ran: list[int] = []
    handles = [b.register_forward_pre_hook(lambda *_, at=at: ran.append(at)) for at, b in enumerate(subject.blocks)]
    whole = subject.run(TOKENS, names)
    for handle in handles:
        handle.remove()
    assert ran == [0, MIDDLE], "later blocks must not run"

    other = torch.cat([TOKENS[:, :6], torch.zeros(2, 4, dtype=torch.int64)], dim=1)
    for name, value in subject.run(other, names).items():
        torch.testing.assert_close(value[:, :6], whole[name][:, :6], rtol=1e-4, atol=1e-5)

    plain = subject.losses(TOKENS)
    assert plain.shape == (2, 9)
    for name in names:
        if name.startswith("resid_mid") and f"mlp_out.{MIDDLE}" not in names:
            continue
        torch.testing.assert_close(subject.losses(TOKENS, reads=name, edit=lambda x: x), plain, rtol=1e-4, atol=1e-5)
        changed = subject.losses(TOKENS, reads=name, edit=lambda x: x.flip(0))
        assert not torch.allclose(changed, plain, rtol=1e-4, atol=1e-6), f"{name} written does nothing"


def test_supported_and_listed_architectures_are_all_that_are_registered() -> None:
    assert sorted([*by_type(), *REASONS]) == sorted(MODEL_TYPES)
    assert len(by_type()) >= 150


CANNOT_BE_BUILT = ("gemma3n", "gemma4_assistant", "gemma4_unified_assistant", "musicgen", "musicgen_melody")
"""By themselves: the first without timm, the others without a second model."""


@pytest.mark.parametrize("model_type", REASONS)
def test_architectures_listed_as_unsupported_are_refused(model_type: str) -> None:
    def use() -> None:
        loading.check_causal(tiny_config(model_type), model_type)
        Subject(model, tiny_tokenizer(), name=model_type, fingerprint="0").run(TOKENS, [f"resid_post.{MIDDLE}"])

    try:
        model = tiny_model(tiny_config(model_type))
    except Exception:
        assert model_type in CANNOT_BE_BUILT
    else:
        refused(use)


def gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def gated(act: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    return lambda block, x: act(x @ block.mlp.gate_proj.weight.T) * (x @ block.mlp.up_proj.weight.T)


def fused(block: Any, x: Tensor) -> Tensor:
    gate, up = (x @ block.mlp.gate_up_proj.weight.T).chunk(2, dim=-1)
    return silu(gate) * up


NEURONS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "gpt2": lambda block, x: gelu_new(x @ block.mlp.c_fc.weight + block.mlp.c_fc.bias),
    "gpt_neox": lambda block, x: F.gelu(F.linear(x, block.mlp.dense_h_to_4h.weight, block.mlp.dense_h_to_4h.bias)),
    "opt": lambda block, x: F.linear(x, block.fc1.weight, block.fc1.bias).clamp(min=0),
    "nemotron": lambda block, x: (x @ block.mlp.up_proj.weight.T).clamp(min=0) ** 2,
    "phi3": fused,
    "glm4": fused,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "olmo2", "cohere", "smollm3"), gated(silu)),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), gated(gelu_new)),
}
"""The neurons, written out from the MLP's weights and its input."""


@pytest.mark.parametrize("model_type", NEURONS)
@torch.no_grad()
def test_neurons_equal_those_of_a_reference_implementation(model_type: str) -> None:
    subject = admitted(model_type)
    values = subject.run(TOKENS, [f"mlp_in.{MIDDLE}", f"mlp_act.{MIDDLE}"])
    expected = NEURONS[model_type](subject.blocks[MIDDLE], values[f"mlp_in.{MIDDLE}"])
    torch.testing.assert_close(values[f"mlp_act.{MIDDLE}"], expected, rtol=1e-4, atol=1e-6)


def rms(x: Tensor, gain: Tensor) -> Tensor:
    return gain * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text"])
@torch.no_grad()
def test_gemma_adds_the_output_of_its_second_norms(model_type: str) -> None:
    """attn_out and mlp_out as TransformerLens has them: after the norm that follows the sublayer. Its gain is 1 + weight."""
    subject = admitted(model_type)
    block: Any = subject.blocks[MIDDLE]
    kinds = ("mlp_out", "mlp_act", "mlp_in", "attn_out", "attn_z", "resid_mid")
    values = subject.run(TOKENS, [f"{kind}.{MIDDLE}" for kind in kinds])
    mlp, act, mlp_in, attention, z, mid = values.values()  # in the order asked for
    close(attention, rms(z @ block.self_attn.o_proj.weight.T, 1 + block.post_attention_layernorm.weight))
    close(mlp_in, rms(mid, 1 + block.pre_feedforward_layernorm.weight))
    close(mlp, rms(act @ block.mlp.down_proj.weight.T, 1 + block.post_feedforward_layernorm.weight))


@pytest.mark.parametrize(
    ("model_type", "changes", "kinds"),
    [
        ("granite", {"residual_multiplier": 0.22}, ("attn_out", "mlp_out")),
        ("gpt_neox", {}, ("resid_mid",)),
        ("stablelm", {"use_parallel_residual": True}, ("resid_mid",)),
        ("opt", {"do_layer_norm_before": False}, ("resid_mid", "attn_out", "mlp_out")),
    ],
)
def test_hook_points_of_unusual_blocks_are_refused_and_the_others_are_read(
    model_type: str, changes: dict[str, Any], kinds: tuple[str, ...]
) -> None:
    subject = admitted(model_type, **changes)
    refusals = {kind for kind in BLOCK_KINDS if f"{kind}.{MIDDLE}" not in readable(subject)}
    assert refusals == set(kinds)
    for name in (f"{kind}.{MIDDLE}" for kind in kinds):
        refused(partial(subject.run, TOKENS, [name]), name, type(subject.blocks[0]).__name__)


def test_sequential_variants_of_parallel_families_have_resid_mid() -> None:
    assert "resid_mid.1" in readable(admitted("gpt_neox", use_parallel_residual=False))


def test_the_page_of_models_equals_the_tested_tables() -> None:
    page = ROOT / "docs/models.md"
    assert page.read_text(encoding="utf-8") == table(), "renew it: python tests/support/sae/architectures.py"
