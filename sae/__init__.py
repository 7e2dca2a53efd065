"""Subjects, dictionaries, corpora, the harvest and the trainer. Knows nothing of judges, ledger or queue."""

import os

# Two busy OpenMP threads on a machine with other work spin against it: 1,170 tokens a second fell to 360. Takes effect only when set
# before torch is imported, which every module below does after this line.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
