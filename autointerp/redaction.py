"""Hides keys and passwords in text that leaves the process: by their value if it is known, and by their look.

The known values are those of the environment variables whose names end in KEY, TOKEN, SECRET or PASSWORD, and the passwords in
URLs that other variables hold. They are read whenever a ledger or a judge is opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"
MIN_CHARS = 8
"""Shorter values are not hidden by value: they may be ordinary words, such as the `EMPTY` of local servers."""

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/@\"':]*):([^\s\"'\\]+)(?=@)")
_QUERY_PASSWORD = re.compile(
    r"([?&][^\s=&#]*(?:password|passwd|secret|token|api_?key)[^\s=&#]*=)([^&#\s\"'\\]+)", re.IGNORECASE
)
_LOOK = re.compile(
    r"\b(?:(?:sk|pk|rk|hf|ghp|gho|gsk|xai|glpat|xox[abp])[-_]|AIza|AKIA|ASIA)[A-Za-z0-9_\-]{12,}"
    r"|\b(?:sk|pk|rk)-[\w*.-]{4,}"
    r"|(?i:\bbearer|\bx-api-key[^\w*]{1,6}|\bapi[-_ ]?key[^\w*]{1,6}|\bpassword[^\w*]{1,6})\s*[A-Za-z0-9_\-.~+/=]{6,}"
)
_known: dict[str, None] = {}
"""Every form of every secret of this process, longest first."""


def learn(values: Iterable[str] = ()) -> None:
    """Hide the secrets in the environment from now on, and `values`, which come from elsewhere, such as a file."""
    secrets = {value.strip() for value in values}
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name):
            secrets.add(value.strip())
        elif "://" in value:
            secrets |= passwords_in(value)
    # Each secret as it is and as JSON escapes it.
    forms = {form for secret in secrets if len(secret) >= MIN_CHARS for form in (secret, json.dumps(secret)[1:-1])}
    if not forms <= _known.keys():
        ordered = sorted(forms | _known.keys(), key=len, reverse=True)  # so that none hides a part of another
        _known.clear()
        _known.update(dict.fromkeys(ordered))


def passwords_in(url: str) -> set[str]:
    """The passwords in a URL, as they stand there and decoded."""
    written = [match[2] for pattern in (_URL_PASSWORD, _QUERY_PASSWORD) for match in pattern.finditer(url)]
    return {form for password in written for form in (password, unquote(password))}


def hide_known(text: str) -> str:
    """The text without the values of this process's secrets. Fast: it is called for every text that the ledger stores."""
    for secret in tuple(_known):
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def hide(text: str) -> str:
    """The text without known secrets, passwords in URLs, and anything else that looks like a key or a password."""
    return _LOOK.sub(HIDDEN, hide_passwords(hide_known(text)))


def hide_passwords(url: str) -> str:
    """A URL, or a text with URLs, with the passwords hidden."""
    return _QUERY_PASSWORD.sub(rf"\1{HIDDEN}", _URL_PASSWORD.sub(rf"\1:{HIDDEN}", url))
