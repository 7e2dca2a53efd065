"""Attribution: which features, at which tokens of a prompt, carry a difference of logits."""
