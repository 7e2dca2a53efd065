"""Addresses of servers in a spec: whether one is valid, and whose it is."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def check_http_url(url: str) -> str:
    """The URL, if it is an http or https address with a host and without a password. Raises `ValueError`."""
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and (parts.port or 1) > 0 and url.isprintable() and " " not in url
        (parts.hostname or "").encode("idna")
    except ValueError:  # also of a host that cannot be encoded
        valid = False
    if not valid or parts.scheme not in ("http", "https"):
        raise ValueError("is not an address: write it like http://127.0.0.1:8080/v1 or https://HOST/v1")
    if "@" in parts.netloc:
        raise ValueError(
            "holds a user or a password, which would be stored with the spec: remove it, and let key_env name a variable"
        )
    return url


def is_own_address(url: str, host: str) -> bool:
    """Whether a URL is an https address of `host` or of its subdomains."""
    parts = urlsplit(url)
    name = (parts.hostname or "").rstrip(".")
    return parts.scheme == "https" and bool(host) and (name == host or name.endswith(f".{host}"))


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine itself."""
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
