"""Asks judges the ledger's questions: one call or one batch at a time, within budget, and never twice."""
