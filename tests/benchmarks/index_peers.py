"""The index of a whole dictionary beside delphi's cache and SAEDashboard's export: the same subject, tokens and features, in turn.

    python tests/benchmarks/index_peers.py --delphi ENVIRONMENT --dashboard ENVIRONMENT [--rounds N]

SmolLM2-135M, layer 15, a random TopK dictionary of 4,096 features, contexts of 128 tokens of the demo's text. Each program runs in a process and an
environment of its own, from loaded inputs to all its files, and the others wait meanwhile; a round runs each once. All compute in float32;
`ours, auto` is the index in the precision that it takes by itself on this machine. The programs must agree on the features' largest
activations. `make bench-index-peers` makes the environments and calls this. `--share N` lets SAEDashboard export N features alone; its ratios then
compare times a feature, each feature with a larger part of the one pass of the model.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from harvest import Case, make_dictionary, tiny
from index import Work, index
from peers import ask, worker

from sae.corpus.corpus import Corpus
from sae.formats.saelens import writer
from sae.subject.model import Subject, load_subject

HERE = Path(__file__).parent
CONTEXT = 128
OURS = {"ours": "float32", "ours, auto": "auto"}
HEADER = (
    "who",
    "features",
    "wall s",
    "CPU s",
    "wall a feature, times ours",
    "CPU a feature, times ours",
    "peak MiB",
    "bytes a feature",
)
HOLDS = {
    "ours": "statistics, histogram, 20 strongest and 5 fair samples of each of 10 bins with every token's activation, promoted and suppressed tokens, nearest and co-active features, correlated neurons; searchable as columns",
    "delphi": "every activation, as place and value; no examples, statistics, tokens or neighbours: these are computed later",
    "dashboard": "histograms, 20 strongest and 5 of each of 5 quantiles with every token's activation, logits, correlated neurons and features within the batch",
}  # fmt: skip
"""The contents of each output."""
SAME = 0.02
"""Median difference of the features' largest activations up to which two programs have read the same."""


@dataclass(frozen=True)
class Size:
    """A subject with its text, and the dictionary and tokens that are read."""

    inputs: Callable[[str], tuple[Subject, Corpus]]
    d_sae: int
    contexts: int
    context: int


def smollm2(precision: str) -> tuple[Subject, Corpus]:
    from harvest import demo

    from autointerp.demo import assets
    from autointerp.progress import quiet

    _, corpus = demo()
    return load_subject(str(assets.prepare(quiet).model), precision=precision), corpus


SIZES = {"smollm2": Size(smollm2, 4096, 768, CONTEXT), "tiny": Size(lambda _: tiny(), 256, 32, 64)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--delphi", type=Path, help="environment that holds delphi (tests/benchmarks/delphi.txt)")
    parser.add_argument(
        "--dashboard", type=Path, help="environment that holds SAEDashboard (tests/benchmarks/dashboard.txt)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--share", type=int, help="features that SAEDashboard exports, in batches of 128; without it all"
    )
    parser.add_argument("--size", choices=SIZES, default="smollm2")
    parser.add_argument("--ours", choices=OURS.values(), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours:
        serve(SIZES[given.size], given.ours)
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Print the table, and the contents of each output."""
    size, threads = SIZES[given.size], str(torch.get_num_threads())
    share = given.share or size.d_sae
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        commands = {
            who: [sys.executable, str(HERE / "index_peers.py"), "--size", given.size, "--ours", precision]
            for who, precision in OURS.items()
        }
        if given.delphi or given.dashboard:
            lay_out(size, folder)
        if given.delphi:
            commands["delphi"] = [
                str(given.delphi / "bin" / "python"),
                str(HERE / "delphi_worker.py"),
                str(folder),
                "32",
                threads,
            ]
        if given.dashboard:
            commands["dashboard"] = [
                str(given.dashboard / "bin" / "python"),
                str(HERE / "dashboard_worker.py"),
                str(folder),
                threads,
            ]
        workers = {who: stack.enter_context(worker(command)) for who, command in commands.items()}
        lines = {"delphi": f"{size.d_sae} 0 {size.contexts}", "dashboard": f"0 {share}"}
        found: dict[str, list[dict[str, Any]]] = {who: [] for who in workers}
        for number in range(given.rounds):
            for who, process in workers.items():
                answer = ask(process, lines.get(who, "all"))
                found[who].append(answer)
                print(f"round {number + 1}, {who}: {answer['seconds']:.1f} s", file=sys.stderr, flush=True)
    _check(found)
    print(f"{size.contexts * size.context:,} tokens, {given.rounds} rounds, medians\n")
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for who in found:
        print("| " + " | ".join(_row(who, found, size, share)) + " |")
    print("\n" + "\n".join(f"{who}: {HOLDS[who]}" for who in HOLDS if who in found))


def _row(who: str, found: dict[str, list[dict[str, Any]]], size: Size, share: int) -> tuple[str, ...]:
    features = share if who == "dashboard" else size.d_sae

    def times(name: str) -> str:
        pairs = zip(found[who], found["ours"], strict=True)
        return f"{statistics.median(t[name] / features / (o[name] / size.d_sae) for t, o in pairs):.2f}"

    wall, cpu = (statistics.median(answer[name] for answer in found[who]) for name in ("seconds", "cpu_seconds"))
    last = found[who][-1]
    return (
        who, f"{features:,}", f"{wall:.1f}", f"{cpu:.1f}", times("seconds"), times("cpu_seconds"), f"{last['peak_mib']:.0f}",
        f"{last['disk_bytes'] / features:,.0f}",
    )  # fmt: skip


def _check(found: dict[str, list[dict[str, Any]]]) -> None:
    """Stop if the programs did not read the same features of the same tokens: their largest activations say so."""
    ours = np.array(found["ours"][0]["maxima"])
    for who, answers in found.items():
        theirs = np.array(answers[0]["maxima"])
        own = ours[: len(theirs)]
        active = own > 0
        apart = float(np.median(np.abs(theirs[active] - own[active]) / own[active]))
        print(
            f"{who}: largest activations of {active.sum():,} features, median difference {apart:.2%}", file=sys.stderr
        )
        if apart > SAME:
            raise SystemExit(f"{who} has read something else: its largest activations differ by {apart:.0%}")


def inputs(size: Size, precision: str) -> Work:
    """The subject, the first contexts of full length, and the dictionary, which is the same in every precision."""
    subject, corpus = size.inputs(precision)
    whole = corpus.contexts[corpus.contexts["length"] == size.context][: size.contexts]
    corpus = replace(corpus, contexts=whole, n_tokens=int(whole["length"].sum()))
    exact, _ = size.inputs("float32")
    return Work(subject, make_dictionary(Case(tiny, "topk", size.d_sae, 0, 0), exact, corpus), corpus)


def lay_out(size: Size, folder: Path) -> None:
    """Subject, tokens and dictionary as the others read them."""
    from safetensors.torch import save_file

    work = inputs(size, "float32")
    subject, made = work.subject, work.dictionary
    subject.model.save_pretrained(folder / "model")
    subject.tokenizer.save_pretrained(folder / "model")
    _for_transformers_4(folder / "model")
    np.save(folder / "tokens.npy", work.corpus.batch(np.arange(size.contexts))[0])
    layer = int(made.hook_point.rpartition(".")[2])
    place = folder / str(size.d_sae) / f"layers.{layer}"
    place.mkdir(parents=True)
    tensors = {"encoder.weight": made.W_enc, "encoder.bias": made.b_enc, "W_dec": made.W_dec, "b_dec": made.b_dec}
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, place / "sae.safetensors")
    facts = {
        "activation": "topk",
        "num_latents": size.d_sae,
        "k": made.k,
        "d_in": made.d_in,
        "normalize_decoder": False,
    }
    (place / "cfg.json").write_text(json.dumps(facts))
    writer.save(folder / "saelens", made, model_name=str(folder / "model"))
    config = json.loads((folder / "saelens" / "cfg.json").read_text())
    # The decoder's vectors have norm 1, so this changes nothing; SAEDashboard 0.8 stops at a TopK dictionary without it.
    (folder / "saelens" / "cfg.json").write_text(json.dumps(config | {"rescale_acts_by_decoder_norm": True}))


def _for_transformers_4(model: Path) -> None:
    """Name what the files of transformers 5 say as its former version reads it."""
    config = json.loads((model / "config.json").read_text())
    config |= {"rope_theta": config.get("rope_parameters", {}).get("rope_theta"), "torch_dtype": "float32"}
    config.pop("quantization_config", None)
    (model / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"tokenizer_class": "PreTrainedTokenizerFast"}))


def serve(size: Size, precision: str) -> None:
    """Our side: make the whole index each time it is asked for."""
    work = inputs(size, precision)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            started, cpu = time.perf_counter(), time.process_time()
            index(work, folder, [])
            answer: dict[str, Any] = {
                "seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - cpu,
                "disk_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
                "maxima": pq.read_table(folder / "units.parquet", columns=["maximum"])["maximum"].to_pylist(),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
