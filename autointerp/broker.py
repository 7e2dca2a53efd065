"""Redis: how the service reaches it. It carries hints and the limiter's counters, nothing that cannot be lost."""

from __future__ import annotations

import redis

from autointerp.settings import Settings


def connect(settings: Settings, *, timeout_s: float = 30.0) -> redis.Redis:
    """A client, safe to share between threads; the connection is made with the first command. Raises `UsageError`."""
    return redis.Redis.from_url(
        settings.broker_url,
        **(settings.broker_tls or {}),
        socket_timeout=timeout_s,
        socket_connect_timeout=min(5.0, timeout_s),
        socket_keepalive=True,
        health_check_interval=25,
    )
