"""A column type for text of any origin: replies, tokens, error messages."""

from __future__ import annotations

import re

from sqlalchemy import Dialect, Text, TypeDecorator

from autointerp.redaction import hide_known

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class AnyText(TypeDecorator[str]):
    """Text without keys, and in which null bytes become U+2400 and lone surrogates U+FFFD, which databases cannot store."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        value = hide_known(value)
        return _UNSTORABLE.sub(lambda match: "\u2400" if match[0] == "\x00" else "\ufffd", value)
