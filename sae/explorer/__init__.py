"""Every unit of a dictionary in one pass: statistics, examples, co-activation, and what units write."""
