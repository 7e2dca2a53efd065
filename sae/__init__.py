"""Subjects, dictionaries, corpora, the harvest and the trainer. Knows nothing about judges, the ledger or the queue."""

import os

# On a machine with other work, OpenMP threads that wait in a busy loop slow each other down: 1,170 tokens per second fell to 360.
# This takes effect only if it is set before torch is imported; every module of this package imports torch after this line.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
