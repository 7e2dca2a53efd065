"""The pictures in the docs: those of studies below their commands, well-formed and without anything that runs or is fetched; all of them small."""

from __future__ import annotations

import importlib
import re
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.locations import ROOT

DOCS = ROOT / "docs"
PAGES = [
    "finding-features", "steering", "attribution", "neighbours", "splitting", "completeness", "categories",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _docs_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_study_shows_the_picture_of_a_command(page: str) -> None:
    pictures = importlib.import_module("pictures")
    assert set(pictures.PICTURES) == set(PAGES)
    alt = re.findall(rf"!\[([^\]]+)\]\(pictures/{page}\.svg\)", (DOCS / f"{page}.md").read_text("utf-8"))
    assert len(alt) == 1
    assert len(alt[0]) > 30
    assert pictures.command_of(page)[0] == "autointerp"


@pytest.mark.parametrize("page", PAGES)
def test_pictures_stand_alone_and_run_nothing(page: str) -> None:
    path = DOCS / "pictures" / f"{page}.svg"
    assert path.stat().st_size <= importlib.import_module("pictures").LARGEST
    root = ElementTree.parse(path).getroot()
    names = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert names <= {"svg", "style", "title", "g", "text", "line", "rect", "circle", "path", "polyline"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}
    style = next(element.text or "" for element in root.iter() if element.tag.endswith("style"))
    assert "prefers-color-scheme:dark" in style
    assert "url(" not in style
    assert "@import" not in style


def test_every_picture_of_the_explorer_is_shown_with_words_and_is_small() -> None:
    shots = pytest.importorskip("screenshots", reason="playwright is not installed: pip install playwright")
    shown = re.findall(r"!\[([^\]]{30,})\]\(pictures/([a-z-]+)\.png\)", (DOCS / "explorer.md").read_text("utf-8"))
    assert sorted(name for _, name in shown) == sorted(shots.SHOTS)
    for name in shots.SHOTS:
        path = DOCS / "pictures" / f"{name}.png"
        assert path.stat().st_size <= shots.LARGEST
        with Image.open(path) as picture:
            assert picture.width == shots.WIDTH * shots.SCALE
