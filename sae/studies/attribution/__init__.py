"""Attribution of an answer to features: gradients through the real model, ablation, and the graph from layer to layer."""
