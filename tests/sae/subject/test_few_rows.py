"""Few rows are multiplied the other way round, with the same result."""

from __future__ import annotations

import pytest
import torch
from support.sae.tiny_models import LLAMA, TOKENS, hf, tiny_model
from torch import nn

from sae.subject.few_rows import MOST_ROWS, FewRowsLinear, speed_up


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 2), (1, MOST_ROWS), (1, MOST_ROWS + 1), (0, 2)])
def test_the_product_is_that_of_a_linear_layer(shape: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(20, 12, bias=bias)
    fast = FewRowsLinear(20, 12, bias=bias)
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(*shape, 20)
    with torch.no_grad():
        assert fast(x).shape == (*shape, 12)
        torch.testing.assert_close(fast(x), plain(x))
    if shape[0]:
        given = x.clone().requires_grad_()
        fast(given).sum().backward()
        assert given.grad is not None


def test_a_model_says_the_same() -> None:
    model = tiny_model(hf.LlamaConfig(**LLAMA))
    with torch.no_grad():
        before = [model(TOKENS[:, :n]).logits for n in (1, 3, 10)]
        speed_up(model)
        after = [model(TOKENS[:, :n]).logits for n in (1, 3, 10)]
    assert type(model.lm_head) is FewRowsLinear
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_other_layers_stay_as_they_are() -> None:
    half = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Embedding(4, 4))
    speed_up(half)
    assert [type(each) for each in half] == [nn.Linear, nn.Embedding]
