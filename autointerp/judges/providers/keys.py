"""Which API key is sent to a judge's server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from autointerp import redaction
from autointerp.errors import UsageError
from autointerp.spec.addresses import is_loopback
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, provider_of
from autointerp.spec.servers import key_variable_at

NO_KEY = "none"
"""Sent in the place of a key: the SDKs insist on one, and servers without keys ignore it."""


def check_hosts(judges: Iterable[JudgeSettings]) -> None:
    """Raise `UsageError` if one variable's key would be sent to the servers of several hosts, of which it belongs to one."""
    hosts: dict[str, set[str]] = {}
    for settings in judges:
        provider = PROVIDERS[provider_of(settings.model)]
        variable = provider.key_variable(settings.address, settings.key_env)
        if settings.address and variable:
            hosts.setdefault(variable, set()).add(urlsplit(settings.address).hostname or "")
    for variable, named in hosts.items():
        if len(named) > 1:
            raise UsageError(
                f"the key of {variable} would be sent to {' and to '.join(sorted(named))}: give each server a variable of its own in"
                " key_env, in [judge], [explainer] and [cascade.judge]"
            )


def key_of(settings: JudgeSettings) -> tuple[str, str]:
    """The key that is sent to a judge's server, and the variable that holds it; `NO_KEY` and an empty string if it gets none.

    A provider's own key is sent to the provider's own address only, and a well-known server gets its own key only. A server on this
    machine gets none unless `key_env` names it. Raises `UsageError` if a key is needed and none is set, or none is named for this
    address.
    """
    provider = PROVIDERS[provider_of(settings.model)]
    variable = provider.key_variable(settings.address, settings.key_env)
    if variable:
        key = os.environ[variable].strip()
        redaction.learn([key])
        return key, variable
    if settings.key_env:
        raise UsageError(f"judge.key_env = {settings.key_env}: set {settings.key_env} in the environment to the key")
    if provider.needs_base_url and (own := key_variable_at(settings.address)):
        raise UsageError(
            f"{settings.model} at {settings.address} needs a key: set {own} in the environment, or name another variable in"
            " judge.key_env"
        )
    if provider.needs_key and settings.base_url is None:
        raise UsageError(f"judge.model = {settings.model} needs a key: set {provider.keys[0]} in the environment")
    if provider.needs_key and not is_loopback(settings.base_url or ""):
        raise UsageError(
            f"judge.base_url = {settings.base_url} is not an address of {provider.name}, whose key is sent to no other server:"
            f" set judge.key_env to the variable that holds the key for it, such as judge.key_env = {provider.keys[0]}"
        )
    return NO_KEY, ""
