"""docs/training.md, from the source of the trainer's configuration."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import sae
from pages.markdown import MARK, one_line

INTRO = """\
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


def page() -> str:
    """docs/training.md: the fields of the trainer's configuration, read from its source so that torch need not be there."""
    tree = ast.parse(Path(sae.__file__).parent.joinpath("training", "config.py").read_text(encoding="utf-8"))
    config = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainConfig")
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field, docstring in itertools.pairwise(config.body):
        if isinstance(field, ast.AnnAssign) and field.value and isinstance(docstring, ast.Expr):
            default = ast.unparse(field.value).replace("_", "").replace("'", '"')
            meaning = one_line(ast.literal_eval(docstring.value))
            lines.append(f"| `{ast.unparse(field.target)}` | `{default}` | {meaning} |".replace("`None`", "none"))
    return MARK + INTRO + "\n".join(lines) + "\n"
