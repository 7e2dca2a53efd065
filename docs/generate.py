"""Writes the pages of docs/ that come from the code: spec.md and training.md from the fields, cli.md
from the help, dictionaries.md from the formats' adapters, corpora.md from reading small files of every kind, summary.md and
summary.schema.json from the models of the summary, python.md from the docstrings of the Python API.

`python docs/generate.py` writes them; with `--check` it writes nothing and exits with 1 when a page is out of date.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

import sae
from autointerp.spec import section, spec

DOCS = Path(__file__).parent
MARK = "<!-- Written by `make docs` from the code: change it there. -->\n"

EXAMPLE = """\
name = "layer-12"

[subject]
model = "google/gemma-2-2b"

[dictionary]
path = "google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"
hook_point = "resid_post.12"

[corpus]
sources = ["text/*.jsonl"]

[judge]
model = "anthropic/claude-haiku-4-5"

[budget]
usd = 20.0
"""

SPEC_INTRO = f"""\
# Spec reference

A spec is a TOML file that says what to evaluate, with what, and how. Three tables have keys without a default: `subject`,
`dictionary` and `corpus`. Everything else can be left out:

```toml
{EXAMPLE}```

- Unknown keys, wrong types and impossible combinations end the command with exit code 2 and one line that names the
  key, the value and the remedy. Values are not converted: `"5"` is not `5`.
- Paths that exist beside the spec are taken from the spec's folder.
- [spec.schema.json](spec.schema.json) is the JSON schema of a spec. Editors that know it complete keys and show their meaning: begin the file with
  `#:schema PATH/TO/spec.schema.json` for Taplo and Even Better TOML (VS Code).
- `--set key=value` replaces a key for one command, such as `--set judge.model=embedded`.
- The run's folder is named after the spec's hash. **Settings**, marked in the last column, stay out of the hash: they
  decide how a run is carried out and not what it finds, so changing one and running again continues the same run.
  Changing any other key makes another run, which shares every answer that the change does not touch.
- A table `[matrix]` with lists of values makes one file several runs, one for each combination, and compares them: see
  [comparing runs](compare.md#a-matrix-of-dictionaries-and-judges).
"""


TRAINING_INTRO = """\
# Training reference

`autointerp train FILE --out FOLDER` reads a TOML file with `hook_point`, the tables `[subject]` and `[corpus]` of the
[spec](spec.md), and the table `[train]`, whose keys stand below. The same command goes on after an interruption, with the
weights that an uninterrupted training would have given. `--dry-run` says what it will cost, from a probe of seconds.

## Several dictionaries from one stream

The forward pass is often the dearer half. `[[dictionary]]` tables share it: each has a `name`, the folder in `--out` that it
goes into, and whatever it has other than `[train]`.

```toml
hook_point = "resid_post.6"

[subject]
model = "openai-community/gpt2"

[corpus]
sources = ["text/*.jsonl"]

[train]
tokens = 20_000_000
reuse = 2

[[dictionary]]
name = "k32"
k = 32

[[dictionary]]
name = "nested"
architecture = "matryoshka"
k = 64
```

`seed`, `reuse`, `batch_tokens`, `buffer_tokens` and `forward_tokens` decide the stream and have to be the same for all.
What a dictionary becomes does not depend on which others are trained beside it.

## Scaling laws

`autointerp train FILE --out FOLDER --sweep` trains every combination of the lists in `[sweep]`, with `[train]` for the rest:

```toml
hook_point = "resid_post.6"

[subject]
model = "openai-community/gpt2"

[corpus]
sources = ["text/*.jsonl"]

[train]
architecture = "standard"

[sweep]
d_sae = [1024, 2048, 4096, 8192, 16_384]
tokens = [1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000]
lr = [1e-4, 2e-4, 4e-4, 8e-4]
```

Lists whose values grow by the same factor make budgets of equal compute, along which the best number of features is looked
for. `sweep.json`, `sweep.csv` and `sweep.svg` in the folder hold every training, and after Scaling Monosemanticity's
"Scaling laws": the loss by features and tokens; the lowest loss, the best number of features and of steps by compute; and
the best learning rate by compute. Compute is 12 x d x d_sae x tokens, as if all products were dense. The loss is
the objective on held-out tokens for `standard`, and the fraction of variance unexplained for the others. An optimum is the
lowest point of a parabola through the logarithms; one at the grid's edge is drawn hollow and enters no law, and a law
with fewer than three points is withheld.

## Keys of `[train]`

"""


DICTIONARIES_INTRO = """\
# Dictionaries

A spec names a dictionary by `dictionary.path`: a folder, a file, or a place on the hub, `owner/name/folder/inside` or
`owner/name/folder/file.safetensors`, with `dictionary.revision`. Only that folder's files are downloaded. The format is found by
looking at the files; `dictionary.format` names it where that is not enough.

```text
autointerp dictionaries gemma-2-2b      what SAELens' registry knows (needs the extra `saelens`)
autointerp inspect PATH                 what was understood: architecture, widths, hook point, normalisation, what was folded
autointerp inspect PATH --subject MODEL --corpus text/*.jsonl   and how well it fits that model, measured
```

Weights are read from safetensors, npz without pickles, or torch files with the reader that runs no code. Files stay mapped: of a
dictionary of a million features only the rows of the sampled ones are read, unless its activation (topk, groupmax) needs all.

## Formats

`auto` takes the first that fits. *Checked* says by what the reading was compared, for encode and decode, to 1e-5 relative in float32.

"""

DICTIONARIES_END = """
Everything comes down to one set of equations, in `sae/dictionary.py`: gated encoders become their exact jumprelu, batch-wise TopK
runs as jumprelu with its stored threshold, normalisation is folded or kept as one of four kinds. What has no such form (temporal,
matching pursuit, abstopk, covariance whitening, crosscoders of several models) is refused by name.

## Hook points

| name | what it reads | TransformerLens | transformers |
|---|---|---|---|
| `embed.0` | the token embedding, before positions are added (GPT-2) or it is normalised (BLOOM) | `hook_embed`, `embed.hook_out` | output of `embed_tokens`, `wte` |
| `resid_pre.0` | the embeddings as block 0 receives them | `blocks.0.hook_resid_pre`, `hook_in` | input of block 0 |
| `resid_mid.L` | residual stream between attention and MLP | `hook_resid_mid`, `hook_mlp_in` | input of the norm before the MLP |
| `resid_post.L` | residual stream after block L | `hook_resid_post` | output of block L |
| `attn_z.L` | input of attention's output projection | `attn.hook_z` | input of `o_proj` |
| `attn_out.L` | what attention adds to the stream | `hook_attn_out` | after a norm that follows attention, where there is one |
| `mlp_in.L` | input of the MLP, after its norm | `mlp.hook_in` | input of `mlp` |
| `mlp_act.L` | the neurons | `mlp.hook_post` | input of `down_proj` |
| `mlp_out.L` | what the MLP adds to the stream | `hook_mlp_out` | after a norm that follows the MLP, where there is one |

Which models have which is measured in [models](models.md). A transcoder reads one place and writes another; its features are read where it reads.

## What is easily got wrong, and what happens here

| trap | here |
|---|---|
| `hook_mlp_out` on Gemma 2 and 3, OLMo 2: the norm after the MLP comes first | `mlp_out` is that norm's output, and is checked against the residual stream before it is used |
| dictionaries trained on a centred residual stream (`center_writing_weights`, GPT-2) | the mean is folded into the encoder; three repositories that do not say so are known by name |
| a second BOS, BOS in mid-window | BOS is put before each context once, run and never counted |
| a dictionary trained with BOS, a tokenizer that adds none (GPT-2, Pythia) | `corpus.bos = "auto"` does as the files state (`prepend_bos` of SAELens and llamascopium, `add_special_tokens` of dictionary_learning), else as the tokenizer; `inspect`, run and report name it |
| a dictionary of the embedding, on a model that adds positions | `embed.0` is the embedding's own output, `resid_pre.0` what block 0 receives |
| `hook_mlp_in` of a TransformerBridge, before or after the norm by version | refused, with the two hook points to choose from |
| an npz that inflates to gigabytes, a config of hundreds of MB | refused by the sizes that the files declare, before anything is unpacked |
| first positions and attention sinks with 100 times the norm | `harvest.skip_positions`, and tokens above `harvest.max_norm_ratio` medians are left out |
| TopK with decoder norms in the selection, folded norms | folded to decoder rows of norm 1; an activation is always `f` times its decoder row's norm |
| batch-wise TopK without a threshold (Goodfire R1) | read as TopK of each token, and said so |
| k only in the repository's name (Qwen-Scope) | taken from there, or from `dictionary.k` |
| the wrong model, layer, normalisation or revision | `inspect` and every run measure it first: see [inspecting](inspecting.md) |
"""


CORPORA_INTRO = """\
# Corpora

`corpus.sources` of a [spec](spec.md) names files, globs, folders that `Dataset.save_to_disk` has written, and data sets as
`datasets:owner/name[:config][@revision]`. Sources are read in turn, in equal numbers of tokens, until `corpus.max_tokens`.

A file is recognised by its content, not by its last suffix: `part-00000.gz` with JSON lines is read as JSON lines. The name decides
only whether text is CSV, TSV or prose, and a name that contradicts the content is refused. What is none of the formats below, such as
an archive, a PDF or text in an unknown encoding, is refused in one line that says what to do. So is a glob that names both text files and
tables, such as a README beside Parquet files: its text would be read as one more document.

## Formats

"""

CORPORA_DOCUMENTS = """
## Documents

Documents divide the text between explaining and judging, so that an explanation is never judged on a text that it was made from. A document is
known by its text, not by its place, and the same text is on the same side in every corpus.

- **Duplicates.** A document whose text occurred before, in any source, is left out, and does not count towards `corpus.max_tokens`.
- **Near-duplicates.** Documents that have {similar} of their short stretches of text in common (about four words, or seven characters for a
  tokenizer of characters) are one document: all are read, on one side, and none of a unit's windows repeats another. Stretches that more
  than {boilerplate} of the documents have, such as a licence or a system prompt, do not count. The share is estimated by MinHash, so
  some pairs near the limit are missed.
- **Lists of sentences.** A text file, other than Markdown, that is the only file of its source is a document a line if 95% of its lines
  end a sentence, as in files with a sentence or a paragraph a line. Wrapped prose, verse and code are a document a file.
- **Long texts.** A document with more than a {largest}th of the tokens, and more than {least}, is cut into pieces of a {piece}th, each a document of its
  own, with a context between two pieces that is not read. So one long text file can be a corpus; the report cautions that its
  pieces are of one text.

Beyond that, no two exemplars of a unit show the same text around their marks, such as a licence that two unlike files share. The run, its
report and `corpus.contents` of `summary.json` state the numbers of duplicates, near-duplicates and pieces.
"""
CORPORA_COLUMNS = """
## Columns

`corpus.text_field` names the column with the documents. The value decides how it is used:

- **Text** is encoded with the subject's tokenizer. A BOS that it begins with is left out, because contexts get theirs anyway.
- **Token ids** (`input_ids`) are used as they are, split at BOS, without padding. They have to be the subject's: ids outside its vocabulary
  are refused, and so are ids of which more than 2 %, and one of each document, change when the subject's tokenizer decodes and encodes them
  again (measured on 32 documents of each source). A tokenizer whose tokens are single bytes or whole words passes the second test with any ids.
- **Conversations** (`messages` with `role` and `content`, or ShareGPT's `conversations` with `from` and `value`) go through the subject's chat
  template; a subject without one refuses them. The template's own tokens are run but not counted, so that no exemplar is about role names;
  `corpus.count_template = true` counts them. Windows show the template's tokens, and report and
  `exemplars.parquet` (`turn`) say in which message an exemplar's token stands.

Each cell of the table is made by reading a small file of that kind.

"""

CORPORA_ENCODINGS = """
## Encodings

Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark; UTF-16 without one is recognised if most characters are ASCII. A last
character that is cut off is accepted. Documents that hold more than 0.5 % of replacement or NUL characters are refused: an earlier
conversion has damaged them.

"""

SUMMARY_INTRO = """\
# summary.json

Every finished run has a `summary.json`: its result, the evidence behind it, its provenance and its cost. This page is the contract
for programs that read it; [summary.schema.json](summary.schema.json) is the same contract as a JSON schema. In Python,
`autointerp.findings.summary.read_summary(FOLDER)` returns it as a `Summary`. [Concepts](concepts.md) explains units, bins, arms and
planted units.

- `schema_version` rises when a field is removed or changes its meaning. New fields may be added at any time: ignore unknown ones.
- A number that cannot be computed is `null`, never NaN. An optional part that was not measured is `null` or absent.
- Every `null` has its reason beside it: in `why` (`p_superior_why` for P(feature > neuron), `said` for checks), or in `absent`, an
  object of reasons by field that any part can have and that the tables below leave out.
- Intervals are over units, at the confidence level of the spec (`report.confidence`).
- Grades are those of the run's rubric, for example 0 to 3. A judgement that failed has no grade and is called unscored.
"""


PYTHON_INTRO = """\
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


def python_page() -> str:
    """docs/python.md: every name of the Python API, with its signature and docstring."""
    import autointerp
    from autointerp.api import steps

    parts = [PYTHON_INTRO]
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
    return _one_line(text).replace("|", "\\|")


def dictionaries_page() -> str:
    """docs/dictionaries.md: the formats, as their adapters describe themselves."""
    from autointerp.harvest import pairs
    from sae.formats.load import ADAPTERS

    lines = ["| `format` | whose | files | checked |", "|---|---|---|---|"]
    for name, adapter in ADAPTERS.items():
        files = ", ".join(f"`{pattern}`" for pattern in adapter.FILES[:3])
        cells = (f"`{name}`", adapter.PUBLISHER, files, adapter.CHECKED)
        lines.append("| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in cells) + " |")
    checked = (
        "\n## Values held against each other\n\nBefore anything is computed or spent:\n\n"
        + "\n".join(pairs.table())
        + "\n"
    )
    return MARK + DICTIONARIES_INTRO + "\n".join(lines) + "\n" + DICTIONARIES_END.rstrip("\n") + "\n" + checked


_WORDS = "river stone lamp paper green house"
_COLUMNS: dict[str, tuple[Any, ...]] = {
    "text": (_WORDS, "music winter sugar", "train garden silver"),
    "token ids": ([5, 6, 7], [8, 9], [10]),
    "messages": tuple([{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}] for text in "abc"),
    "ShareGPT": tuple([{"from": "human", "value": text}, {"from": "gpt", "value": "yes"}] for text in "abc"),
    "JSON as text": tuple(json.dumps([{"role": "user", "content": text}]) for text in "abc"),
    "numbers": (1, 2, 3),
    "lists of texts": (["a", "b"], ["c"], ["d"]),
}


def corpora_page() -> str:
    """docs/corpora.md: formats from the registry, and for every kind of file whether it is read, by reading one."""
    from sae.corpus import distinct_documents, near_duplicates
    from sae.corpus.readers import LARGEST_UNPACKED
    from sae.corpus.recognition import FORMATS, MARKUP, NOT_TEXT
    from sae.corpus.text import LONGEST_DOCUMENT

    formats = [(f.title, " ".join(f"`{suffix}`" for suffix in f.suffixes), f.documents) for f in FORMATS]
    refused = list(dict.fromkeys((f"is {description}", remedy) for _, description, remedy in NOT_TEXT + MARKUP))
    limits = (
        f"\nA line, a JSON object and a document in a table have at most {LONGEST_DOCUMENT:,} characters, so that an endless line ends in an"
        " error and not in the memory's. A text file has no limit. A compressed Parquet or"
        f" Arrow file is unpacked to a temporary file of at most {LARGEST_UNPACKED >> 30} GiB.\n"
    )
    documents = CORPORA_DOCUMENTS.format(
        similar=f"{near_duplicates.SIMILAR:.0%}",
        boilerplate=f"{near_duplicates.BOILERPLATE:.1%}",
        largest=round(1 / distinct_documents.LARGEST),
        least=f"{distinct_documents.LEAST_CUT:,}",
        piece=round(1 / distinct_documents.PIECE),
    )
    with TemporaryDirectory() as folder:
        columns, encodings = _column_table(Path(folder)), _encoding_table(Path(folder))
    return (
        MARK + CORPORA_INTRO + _table(("format", "names", "a document is"), formats) + limits + documents + CORPORA_COLUMNS + columns
        + CORPORA_ENCODINGS + encodings + "\n## Refused by their first bytes\n\n" + _table(("the file", "what to do"), refused)
    )  # fmt: skip


def _column_table(folder: Path) -> str:
    from sae.corpus.recognition import COMPRESSIONS

    suffixes = ["", *(compression.suffix for compression in COMPRESSIONS)]
    rows, messages = [], dict[str, int]()
    for column, values in _COLUMNS.items():
        for suffix, data in _files(values).items():
            outcomes = [_outcome(folder / f"FILE{suffix}{c}", _compressed(data, c)) for c in suffixes]
            cells = [o if o == "read" else f"refused ({messages.setdefault(o, len(messages) + 1)})" for o in outcomes]
            rows.append((column, f"`{suffix}`", *cells))
    header = ("column", "file", "plain", *(f"`{suffix}`" for suffix in suffixes[1:]))
    return _table(header, rows) + "\n" + "".join(f"{n}. {message}\n" for message, n in messages.items())


def _encoding_table(folder: Path) -> str:
    encodings = {
        "UTF-8": "utf-8", "UTF-8 with a byte order mark": "utf-8-sig", "UTF-16 with a byte order mark": "utf-16",
        "UTF-16, little endian, without": "utf-16-le", "UTF-16, big endian, without": "utf-16-be",
        "UTF-32 with a byte order mark": "utf-32", "Latin-1": "latin-1",
    }  # fmt: skip
    texts = {
        ".txt": f"{_WORDS} caf\xe9", ".jsonl": f'{{"text": "{_WORDS} caf\xe9"}}\n', ".json": f'[{{"text": "{_WORDS} caf\xe9"}}]',
        ".csv": f"text\n{_WORDS} caf\xe9\n", ".tsv": f"text\tn\n{_WORDS} caf\xe9\t1\n",
    }  # fmt: skip
    rows = []
    for name, encoding in encodings.items():
        outcomes = [_outcome(folder / f"FILE{suffix}", text.encode(encoding)) for suffix, text in texts.items()]
        rows.append((name, *("read" if outcome == "read" else "refused" for outcome in outcomes)))
    return _table(("encoding", *(f"`{suffix}`" for suffix in texts)), rows)


def _files(values: tuple[Any, ...]) -> dict[str, bytes]:
    """A column as files of every format that has columns, by suffix."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    table, records = pa.table({"text": list(values)}), [{"text": value} for value in values]
    file, stream, old = pa.BufferOutputStream(), pa.BufferOutputStream(), pa.BufferOutputStream()
    feather.write_feather(table, old, compression="zstd")
    parquet.write_table(table, file)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    cells = [value if isinstance(value, str) else json.dumps(value) for value in values]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return {
        ".jsonl": "".join(json.dumps(record) + "\n" for record in records).encode(),
        ".json": json.dumps(records, indent=1).encode(),
        ".csv": "\n".join(["n,text", *(f"1,{cell}" for cell in quoted)]).encode(),
        ".tsv": "\n".join(["n\ttext", *(f"1\t{cell}" for cell in quoted)]).encode(),
        ".parquet": file.getvalue().to_pybytes(),
        ".arrow": stream.getvalue().to_pybytes(),
        ".feather": old.getvalue().to_pybytes(),
    }


def _compressed(data: bytes, suffix: str) -> bytes:
    import bz2
    import gzip
    import lzma

    import zstandard

    compress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    return compress[suffix](data) if suffix else data


def _outcome(path: Path, data: bytes) -> str:
    """What the corpus reader makes of a file: `read`, or the refusal."""
    from sae.corpus.sources import parse_source, read_source
    from sae.errors import CorpusError

    path.write_bytes(data)
    try:
        list(read_source(parse_source(str(path)), text_field="text", split="train"))
    except CorpusError as error:
        return re.sub(r"FILE[.\w]*(, (line|item) \d+,)?", "FILE", str(error).replace(f"{path.parent}/", ""))
    return "read"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def spec_page() -> str:
    """docs/spec.md: every table and key with its type, default and docstring. Raises `UsageError` if the example is wrong."""
    import tomllib

    spec.parse(tomllib.loads(EXAMPLE))
    scalars = {n: f for n, f in spec.Spec.model_fields.items() if _section(f.annotation) is None}
    parts = [MARK + SPEC_INTRO, "## Top level\n\n" + _rows(scalars)]
    named: dict[type[section.Section], list[str]] = {}
    for name, field in spec.Spec.model_fields.items():
        if section := _section(field.annotation):
            named.setdefault(section, []).append(name)
    for section, names in named.items():
        title = " and ".join(f"`[{name}]`" for name in names)
        words = [_one_line(section.__doc__ or "")]
        words += [f"`[{n}]`: {d}" for n in names if (d := _one_line(spec.Spec.model_fields[n].description or ""))]
        parts.append(f"## {title}\n\n" + "\n\n".join(words) + "\n\n" + _rows(section.model_fields))
    return "\n".join(parts)


def spec_schema() -> str:
    """docs/spec.schema.json: the JSON schema of a spec (draft 2020-12), for editors. Names of other packages pass, as plain strings."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "autointerp spec"}
    return json.dumps(spec.Spec.model_json_schema() | schema, indent=1) + "\n"


def training_page() -> str:
    """docs/training.md: the fields of the trainer's configuration, read from its source so that torch need not be there."""
    tree = ast.parse(Path(sae.__file__).parent.joinpath("training", "config.py").read_text(encoding="utf-8"))
    config = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainConfig")
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field, docstring in itertools.pairwise(config.body):
        if isinstance(field, ast.AnnAssign) and field.value and isinstance(docstring, ast.Expr):
            default = ast.unparse(field.value).replace("_", "").replace("'", '"')
            meaning = _one_line(ast.literal_eval(docstring.value))
            lines.append(f"| `{ast.unparse(field.target)}` | `{default}` | {meaning} |".replace("`None`", "none"))
    return MARK + TRAINING_INTRO + "\n".join(lines) + "\n"


def cli_page() -> str:
    """docs/cli.md: the help of every command as the program prints it."""
    from autointerp.cli.main import main

    parts = [MARK + "# Command line\n\nWhat `--help` prints, command by command.\n"]
    parts += [f"## `{path}`\n\n```text\n{text}\n```\n" for path, text in _helps(main, "autointerp", None)]
    return "\n".join(parts)


def summary_schema() -> str:
    """docs/summary.schema.json: the JSON schema of `summary.json` (draft 2020-12), for programs that read it."""
    from autointerp.findings.summary import Summary

    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Summary.model_json_schema(
        mode="serialization"
    )
    return json.dumps(schema, indent=1) + "\n"


def summary_page() -> str:
    """docs/summary.md: every field of `summary.json`, part by part."""
    schema = json.loads(summary_schema())
    parts = {"Summary": schema} | schema["$defs"]
    pages = [MARK + SUMMARY_INTRO]
    for name, part in parts.items():
        lines = ["| field | type | meaning |", "|---|---|---|"]
        for field, values in part["properties"].items():
            if field == "absent":
                continue
            meaning = values.get("description") or parts[values["$ref"].rpartition("/")[2]]["description"]
            cells = (f"`{field}`", _json_type(values), _one_line(meaning))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        pages.append(f"## {name}\n\n{_one_line(part['description'])}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(pages)


def _json_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_json_type(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_json_type(schema['items'])}"
    if schema["type"] == "object":
        return f"object of {_json_type(schema['additionalProperties'])}"
    kind: str = schema["type"]
    return "true or false" if kind == "boolean" else kind


PAGES: dict[str, Callable[[], str]] = {
    "spec.md": spec_page,
    "spec.schema.json": spec_schema,
    "training.md": training_page,
    "cli.md": cli_page,
    "dictionaries.md": dictionaries_page,
    "corpora.md": corpora_page,
    "summary.md": summary_page,
    "summary.schema.json": summary_schema,
    "python.md": python_page,
}


def main(arguments: list[str]) -> int:
    """Write every page, or with `--check` compare it. Gives the exit code."""
    stale = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"docs: out of date: {', '.join(stale)}: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


def _helps(command: click.Command, path: str, parent: click.Context | None) -> list[tuple[str, str]]:
    # A fixed width: the page must not depend on whose terminal wrote it.
    settings: dict[str, Any] = dict(command.context_settings) | {"terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    found = [(path, click.unstyle(command.get_help(context)).rstrip())]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                found += _helps(child, f"{path} {name}", context)
    return found


def _section(annotation: Any) -> type[section.Section] | None:
    options = (annotation, *get_args(annotation))
    return next((o for o in options if isinstance(o, type) and issubclass(o, section.Section)), None)


def _rows(fields: dict[str, FieldInfo]) -> str:
    lines = ["| key | type | default | meaning | |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        extra = field.json_schema_extra
        setting = "setting" if isinstance(extra, dict) and extra.get("setting") else ""
        kind = _kind(field.annotation) + _limits(field)
        cells = (f"`{field.alias or name}`", kind, _default(field), _one_line(field.description or ""), setting)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _kind(annotation: Any) -> str:
    plain = {str: "string", int: "integer", float: "number", bool: "true or false"}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a) for a in arguments if a is not type(None))
    if origin is dict:
        return "a table"
    if origin is tuple:
        return f"list of {_kind(arguments[0])}" + ("s" if arguments[0] in plain else "")
    if _section(annotation):
        return f"a table like `[{annotation.__name__.lower()}]`"
    raise TypeError(f"docs/generate.py has no words for the type {annotation!r}: add them to _kind")


def _limits(field: FieldInfo) -> str:
    words = []
    for limit in field.metadata:
        for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            if (bound := getattr(limit, attribute, None)) is not None:
                words.append(f"{sign} {bound:,}" if isinstance(bound, int) else f"{sign} {bound:g}")
        if pattern := getattr(limit, "pattern", None):
            words.append(f"matching `{pattern}`")
    return ", " + ", ".join(words) if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f'`"{field.default}"`' if isinstance(field.default, str) else f"`{field.default}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
