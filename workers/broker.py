"""Redis: how the service reaches it. It carries hints and the limiter's counters, nothing that cannot be lost."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from autointerp.settings import Settings


def connect(settings: Settings, *, timeout_s: float = 30.0) -> redis.Redis:
    """A client, safe to share between threads; the connection is made with the first command. Raises `UsageError`.

    It tries once more, at once, as after a restart of Redis; whoever asks knows better than it how long to wait.
    """
    return redis.Redis.from_url(
        settings.broker_url,
        **(settings.broker_tls or {}),
        socket_timeout=timeout_s,
        socket_connect_timeout=min(5.0, timeout_s),
        socket_keepalive=True,
        health_check_interval=25,
        retry=Retry(NoBackoff(), 1),
    )
