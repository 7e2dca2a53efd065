"""docs/python.md, from the signatures and docstrings of the Python API."""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

import autointerp
from autointerp.api import steps
from pages.markdown import MARK, one_line

INTRO = """\
# Python

```python
import autointerp as ai

result = ai.evaluate(
    model,
    dictionary,
    texts,
    hook_point="resid_post.8",
    tokenizer=tokenizer,
    judge="anthropic/claude-haiku-4-5",
    features=64,
    budget_usd=2,
)
result  # in a notebook: verdict, reliability of the judge, grades by activation, best and worst features
result.difference
result.units
result.unit("feature-641").show(top=10)
result.figures("figures")
ai.compare([a, b])
ai.load("results/mine-1f3c9a20")

found = ai.study("attribute", result, prompt="John is alone. John feels", target=" sad")
found.sentences
found.tables["attribution"]

harvest = ai.harvest(model, dictionary, texts, hook_point="resid_post.8", tokenizer=tokenizer)
explanations = ai.explain(harvest, judge)
ai.score(explanations, judge, scorers=["detection"])

probe = ai.Probe(model, texts, tokenizer=tokenizer, features=32)
log(probe(dictionary, hook_point="resid_post.8"))  # in a training loop: the same features each time
```

[evaluate.ipynb](evaluate.ipynb) is a notebook of all this. Each input is an object, an id or a path:

| input | as an object | otherwise |
|---|---|---|
| model | a model of transformers, or one that nnsight, nnterp or TransformerLens wraps around it, with `tokenizer=` | hub id, folder, `.gguf` file |
| dictionary | anything with `encode` and `decode`, rows or columns: SAELens, dictionary_learning, sparsify, one's own | folder, file, place on the hub: see [dictionaries](dictionaries.md) |
| texts | strings, rows of a `datasets` data set, token ids | path, glob, `datasets:owner/name`: see [corpora](corpora.md) |
| judge | a function from a prompt to a text, a model of inspect_ai | a name or a table of the [spec](spec.md) |
| explanations | texts by unit | CSV, JSON, Neuronpedia's JSON: `explain.from` in the [spec](spec.md) |

A dictionary in memory is understood by running it, on values as rows, as columns, as a sequence, or with an axis of heads. Its tensors are searched
for the decoder, and for the encoder and activation (relu, jumprelu, topk, groupmax, gated; with layer norm or a norm that decoding restores) that
give its own features of the model's values. An encoder with other equations is called for every batch: its results are the same, and take longer
if the dictionary is wide, because all features are computed. Features below 0 count as silent. SAELens' batch-wise topk is read with the threshold
that it has after training. A transcoder writes where its `hook_point_out`, or SAELens' `hook_name_out`, says. Refused in one line are a decoder
that is not linear, because its features have no directions, and features of a token that depend on other tokens.

A model in memory shares harvests with a spec that names its folder or hub id, as long as its weights still equal those files. TransformerLens'
`HookedTransformer` computes with modules of its own: give its `TransformerBridge`, or the model of transformers.

A probe takes time for its tokens and features, not for the steps between its calls. `python tests/benchmarks/probe.py --width 128 --layers 4 --d-sae
1024` calls one every 50 of 200 steps of a small loop (2,048 tokens a step of a model of width 128, 4 layers; one thread of an AMD EPYC): steps took 28.6 s of
processor time, the first call, which reads the model, 4.8 s, and each later one 2.3 s, together 41% of the steps. Larger models and batches
make the share smaller, as do fewer `tokens` and `features`.

The results are those of `autointerp run` with the same inputs: the same tables, files and report. What is wrong raises `ai.AutointerpError` or
`sae.errors.SaeError`, whose message is one line.
"""


def page() -> str:
    """docs/python.md: every name of the Python API, with its signature and docstring."""
    parts = [INTRO]
    for name in autointerp.__all__:
        value = getattr(autointerp, name)
        value = steps.harvest if name == "harvest" else value
        title = f"ai.{name}{_signature(value)}" if callable(value) and not isinstance(value, type) else f"ai.{name}"
        parts.append(f"## `ai.{name}`\n")
        if not isinstance(value, type):
            parts.append(f"```python\n{title}\n```\n")
        parts.append(f"{inspect.getdoc(value)}\n")
        if isinstance(value, type) and not issubclass(value, Exception):
            parts.append(_members(value))
    return MARK + "\n".join(parts).rstrip() + "\n"


def _members(value: type) -> str:
    """A table of a class's public attributes, properties and methods."""
    rows = ["| member | |", "|---|---|"]
    if isinstance(init := value.__dict__.get("__init__"), types.FunctionType) and init.__doc__:
        rows.append(f"| `{_cell(value.__name__ + _signature(init))}` | {_cell(init.__doc__)} |")
    for name, member in vars(value).items():
        function = getattr(member, "fget", None) or getattr(member, "func", None) or member
        text = inspect.getdoc(function) if isinstance(function, types.FunctionType) else None
        if text is None or (name.startswith("_") and name != "__call__"):
            continue
        shown = name + _signature(member) if isinstance(member, types.FunctionType) else name
        rows.append(f"| `{_cell(shown.replace('__call__', 'probe'))}` | {_cell(text)} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _signature(function: Any) -> str:
    """The parameters of a function or method, without self; one a line if there are many."""
    signature = inspect.signature(function)
    given = [p for name, p in signature.parameters.items() if name != "self"]
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature.replace(parameters=given)))
    if len(given) < 6 or function.__name__ == "__init__":
        return text
    inside, _, returned = text[1:].rpartition(")")
    return "(\n" + "".join(f"    {part},\n" for part in re.split(r", (?![^\[(]*[\])])", inside)) + f"){returned}"


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")
