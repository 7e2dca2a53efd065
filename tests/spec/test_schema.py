"""The JSON schema for editors takes the specs that the program takes, and refuses wrong keys and types."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.locations import ROOT

from autointerp.spec.spec import parse

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "spec.schema.json").read_text(encoding="utf-8")))
SMALL: dict[str, Any] = {"subject": {"model": "m"}, "dictionary": {"path": "d"}, "corpus": {"sources": ["t"]}}


def test_a_small_spec_and_one_with_every_default_written_out_are_valid() -> None:
    SCHEMA.validate(SMALL)
    SCHEMA.validate(tomllib.loads(parse(SMALL).to_toml()))
    cascade = {"judge": {"model": "openai/x", "json": "schema"} | {"model": "openai-compatible/x", "server": "groq"}}
    SCHEMA.validate(SMALL | {"score": {"also": ["detection", "of-a-package"]}, "cascade": cascade})
    SCHEMA.validate(SMALL | {"studies": {"neighbours": {"minimum": 8}, "find": [{"text": "a"}, {"with": ["b"]}]}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": {"per_bim": 5}},
        {"score": {"per_bin": "5"}},
        {"judge": {"temperature": 3}},
        {"harvest": {"bins": 1}},
        {"subject": {}},
        {"studies": {"neighbours": {"minimum": 1}}},
        {"studies": {"find": [{"texts": "a"}]}},
        {"studies": {"neighbors": {}}},
    ],
)
def test_wrong_keys_types_and_limits_are_invalid(wrong: dict[str, Any]) -> None:
    assert list(SCHEMA.iter_errors(SMALL | wrong))


def test_every_key_has_its_meaning() -> None:
    for table in SCHEMA.schema["$defs"].values():
        for key, field in table["properties"].items():
            assert field.get("description") or "$ref" in field, key
