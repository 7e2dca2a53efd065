"""Figures as files of their own: with the classes that pages have colours for."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from support.locations import ROOT

from autointerp.report.figures import svg


def test_a_figure_alone_has_a_size_a_ground_and_colours_for_dark_screens() -> None:
    drawing = svg.figure(120, 40.5, svg.text(4, 20, "a < b"), 'said "so" & more')
    root = ElementTree.fromstring(svg.alone(drawing))
    assert (root.get("viewBox"), root.get("width"), root.get("height")) == ("0 0 120 40.5", "120", "40.5")
    assert root.get("aria-label") == 'said "so" & more'
    style, ground, title, words = root
    assert "prefers-color-scheme:dark" in (style.text or "")
    assert ground.get("class") == "ground"
    assert (title.text, words.text) == ('said "so" & more', "a < b")
    assert svg.alone(drawing) == svg.figure(120, 40.5, svg.text(4, 20, "a < b"), 'said "so" & more', standalone=True)


def test_only_figures_can_stand_alone() -> None:
    with pytest.raises(AssertionError):
        svg.alone("<p>no figure</p>")


def test_classes_of_figures_have_colours_alone_as_in_pages() -> None:
    css = (ROOT / "autointerp" / "report" / "templates" / "base.css").read_text("utf-8")
    in_pages = {name for rule in re.findall(r"svg ([^{]*){", css) for name in re.findall(r"\.(\w+)", rule)}
    alone = set(re.findall(r"\.([a-z]\w*)[{,.]", svg.PALETTE))
    assert in_pages - alone == set()
