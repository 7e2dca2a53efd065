"""The result of a run: its summary, the evidence on the judge, and the tables."""
