"""The service's connection to Redis, which holds hints and rate limits only: nothing that must not be lost."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from autointerp.settings import Settings


def connect(settings: Settings, *, timeout_s: float = 30.0) -> redis.Redis:
    """A client that connects with its first command and may be shared between threads. Raises `UsageError`.

    It retries once, at once, which covers a restart of Redis. Longer waits are up to the caller.
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
