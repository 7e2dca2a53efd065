"""The language model whose activations are read."""
