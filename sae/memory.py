"""Memory that is available to this process, known without torch."""

from __future__ import annotations

from pathlib import Path


def available_memory() -> int | None:
    """Bytes that can still be allocated, within the container's limit, or None if the system does not report it."""
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            limits.append(int(limit) - used + int(stat.get("inactive_file", 0)))  # files that are only cached make room
    except (OSError, ValueError):
        pass
    return min(limits, default=None)
