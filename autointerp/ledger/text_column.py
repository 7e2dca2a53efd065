"""Column types: text of any origin, such as replies, and short text whose length both databases enforce."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Dialect, Text, TypeDecorator

from autointerp.redaction import hide_known

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class AnyText(TypeDecorator[str]):
    """Text without keys, as it is `storable`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return storable(hide_known(value))


def storable(text: str) -> str:
    """A text in which null bytes are U+2400 and lone surrogates U+FFFD, which databases cannot store."""
    return _UNSTORABLE.sub(lambda match: "\u2400" if match[0] == "\x00" else "\ufffd", text)


class ShortText(sa.String):
    """Text of limited length. PostgreSQL enforces the limit by itself; for SQLite, which does not, it is checked here."""

    def bind_processor(self, dialect: Dialect) -> Any:
        return self._check if dialect.name == "sqlite" else super().bind_processor(dialect)

    def _check(self, value: str | None) -> str | None:
        if value is not None and self.length is not None and len(value) > self.length:
            raise ValueError(f"value too long for a text of {self.length} characters")
        return value
