"""Splitting: how the features of several dictionaries of one subject correspond, split, recur and absorb each other."""
