"""The jobs of a run: which questions are asked, in which round, and how an answer is stored."""
