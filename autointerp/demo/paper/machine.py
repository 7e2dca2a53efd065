"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Instructions that decide how fast a CPU computes, and whether in bfloat16."""


def machine() -> dict[str, Any]:
    """Its processor, cores and threads, those of `FLAGS` that it has, and versions."""
    names, flags = _cpu_info()
    return {
        "cpu": names or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_info() -> tuple[str, set[str]]:
    """The processor's name and flags as Linux states them; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return "", set()
    rows = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in rows.items()}
    return values.get("model name", ""), set(values.get("flags", values.get("Features", "")).split())
