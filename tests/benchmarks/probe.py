"""What `ai.Probe` adds to a training loop: processor time of the probes over that of the steps, in one run.

    python tests/benchmarks/probe.py [--steps N] [--every N] [--width N] [--layers N] [--d-sae N]

A step reads a batch of texts by a model with random weights, and trains a relu dictionary on its values.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import autointerp as ai

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.planted_world import world as planted

CONTEXT, BATCH = 128, 16


class Trained(nn.Module):
    """A relu dictionary."""

    def __init__(self, width: int, d_sae: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(width, d_sae), nn.Linear(d_sae, width)
        self.encode, self.decode = nn.Sequential(self.encoder, nn.ReLU()), self.decoder

    def loss(self, x: Tensor) -> Tensor:
        f = self.encode(x)
        return (self.decode(f) - x).square().mean() + 1e-3 * f.abs().mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    sizes = {"steps": 200, "every": 50, "width": 256, "layers": 6, "d-sae": 2048}
    for name, usual in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = planted.make(Path(folder), documents=400)
        tokenizer = AutoTokenizer.from_pretrained(world.subject)
        sizes = {"hidden_size": given.width, "intermediate_size": 4 * given.width, "num_hidden_layers": given.layers}
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=4, **sizes)).eval()
        layer = given.layers // 2
        probe = ai.Probe(model, world.corpus, tokenizer=tokenizer, spec={"corpus.context_tokens": CONTEXT})
        dictionary = Trained(given.width, given.d_sae)
        optimizer = torch.optim.Adam(dictionary.parameters(), lr=1e-3)
        spent = {"steps": 0.0}
        for step in range(1, given.steps + 1):
            started = time.process_time()
            with torch.no_grad():
                tokens = torch.randint(len(tokenizer), (BATCH, CONTEXT))
                read = model.model(tokens, output_hidden_states=True).hidden_states[layer + 1]
            optimizer.zero_grad()
            dictionary.loss(read.flatten(0, 1)).backward()
            optimizer.step()
            spent["steps"] += time.process_time() - started
            if step % given.every == 0:
                started = time.process_time()
                figures = probe(dictionary, hook_point=f"resid_post.{layer}")
                spent[f"probe at {step}"] = time.process_time() - started
                print(f"{step}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()), flush=True)
    probes = sum(spent.values()) - spent["steps"]
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items()))
    print(f"overhead: {probes / spent['steps']:.0%} of the steps' processor time, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
