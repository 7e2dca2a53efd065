"""Facts of a fictitious run, in the form that `summarise` takes."""

from __future__ import annotations

from typing import Any

RUN_FACTS: dict[str, Any] = {
    "run_id": "run-0123abcd",
    "created_at": "2026-11-01T00:00:00Z",
    "finished_at": "2026-11-01T00:10:00Z",
    "served_models": [],
    "rubric": {"name": "specificity", "version": "1", "levels": [{"grade": g, "text": f"level {g}"} for g in range(4)]},
    "subject": {"name": "tiny", "fingerprint": "s", "precision": "float32"},
    "dictionary": {
        "name": "sae",
        "format": "saelens",
        "architecture": "jumprelu",
        "d_in": 16,
        "d_sae": 64,
        "fingerprint": "d",
    },
    "hook_point": "resid_post.1",
    "neuron_hook_point": "mlp_act.1",
    "corpus": {
        "sources": ["a.txt"],
        "n_documents": 10,
        "n_contexts": 20,
        "n_tokens": 1000,
        "n_counted": 980,
        "fingerprint": "c",
    },
    "cost_usd": 0.0,
    "cost_unknown_calls": 0,
    "tokens": {"input": 0, "output": 0},
    "calls": 0,
    "wall_s": 60.0,
    "stage_s": {},
    "harvest": "harvest-0123456789abcdef",
    "versions": {},
    "command": "autointerp run spec.toml",
    "lost_calls": 0,
    "lost_usd_at_most": 0.0,
    "failed_attempts": 0,
    "check": None,
    "studies": None,
}
