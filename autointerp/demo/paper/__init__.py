"""The paper's own checks on the demo's model, with three dictionaries of different sizes trained from one stream."""
