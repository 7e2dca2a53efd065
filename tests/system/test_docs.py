from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from support.locations import ROOT
from support.pages import FENCE, PAGES, fences

LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command in ```sh fences: comments and prompts dropped, pipes and lists taken apart."""
    found = []
    for page, body in fences("sh"):
        for line in body.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            lexer.wordchars += "[]{}@:,%+^$"
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("|&;<>()"):
                    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                        words.pop(0)
                    found += [(page, words)] if words else []
                    words = []
                else:
                    words.append(word)
    return found


def problem_with(words: list[str]) -> str:
    """What is wrong with `autointerp ...`, or an empty string. Nothing is run and no file need exist."""
    from autointerp.cli.main import main

    command: click.Command = main
    context = click.Context(main, info_name="autointerp", **main.context_settings)
    rest = words
    try:
        while isinstance(command, click.Group):
            parser = command.make_parser(context)
            parser.allow_interspersed_args = False
            _, rest, _ = parser.parse_args(list(rest))
            if not rest:
                return "" if words else "no command"
            name, child, rest = command.resolve_command(context, rest)
            assert child is not None
            command, context = child, click.Context(child, info_name=name, parent=context)
        values, extra, _ = command.make_parser(context).parse_args(list(rest))
        for parameter in command.params:
            given = values.get(parameter.name)
            if parameter.required and not (isinstance(given, str | list | tuple) and given):
                return f"{parameter.human_readable_name} is missing"
            if isinstance(parameter.type, click.Choice) and isinstance(given, str):
                parameter.type.convert(given, parameter, context)
        return f"unexpected {extra}" if extra else ""
    except click.ClickException as error:
        return error.format_message()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_generated_pages_are_up_to_date() -> None:
    """In a process of its own, because click keeps the help option of a command from its first use."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_mode_notices_a_stale_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    generator = importlib.import_module("generate")
    monkeypatch.setattr(generator, "DOCS", tmp_path)
    monkeypatch.setattr(generator, "PAGES", {"one.md": lambda: "one\n", "two.md": lambda: "two\n"})
    assert generator.main(["--check"]) == 1
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    (tmp_path / "two.md").write_text("old")
    assert generator.main(["--check"]) == 1
    assert (tmp_path / "two.md").read_text() == "old"


def test_every_key_of_the_spec_is_documented() -> None:
    from autointerp.spec.section import Section
    from autointerp.spec.spec import Spec
    from autointerp.spec.study_sections import KINDS

    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    sections = [f.annotation for f in Spec.model_fields.values() if isinstance(f.annotation, type)]
    for section in [s for s in (*sections, *KINDS.values()) if issubclass(s, Section)]:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name} has no docstring"
            assert f"| `{field.alias or name}` |" in text or f"## `[studies.{name}]`" in text


def test_commands_in_the_docs_exist_with_their_options() -> None:
    wrong = {
        f"{page}: {shlex.join(words)}": problem_with(words[1:])
        for page, words in commands()
        if words[0] == "autointerp"
    }
    assert {line: problem for line, problem in wrong.items() if problem} == {}


def test_unknown_commands_in_the_docs_would_be_noticed() -> None:
    assert "No such command" in problem_with(["evaluate", "spec.toml"])
    assert "No such option" in problem_with(["run", "spec.toml", "--fast"])
    assert "is missing" in problem_with(["run"])
    assert problem_with(["run", "spec.toml", "--dry-run"]) == ""


def test_make_targets_in_the_docs_exist_and_are_listed() -> None:
    targets = set(re.findall(r"TARGETS := (.+)", (ROOT / "Makefile").read_text())[0].split())
    listed = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE)) == targets
    named = [(page, words[1]) for page, words in commands() if words[0] in ("make", "./dev") and len(words) > 1]
    assert named, "the docs name no make target"
    assert [(page, target) for page, target in named if target not in targets] == []


def test_specs_in_the_docs_are_valid() -> None:
    from autointerp.dictionaries.training_file import Training
    from autointerp.spec.matrix import cells_of

    whole = [tomllib.loads(body) for _, body in fences("toml") if "[subject]" in body]
    assert len(whole) > 1
    for data in whole:
        Training.model_validate(data) if "train" in data else cells_of(data, Path("spec.toml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_in_the_docs_resolve(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        destination = (page.parent / path).resolve() if path else page
        assert destination.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(destination), f"{target}: no such heading"


def test_every_page_is_in_the_menu_of_the_site() -> None:
    named = set(re.findall(r"([\w-]+)\.md", (ROOT / "mkdocs.yml").read_text("utf-8")))
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} == named


def test_the_site_is_built_without_dead_links(tmp_path: Path) -> None:
    zensical = Path(sys.executable).with_name("zensical")
    if not zensical.is_file():
        pytest.skip("zensical is not installed")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    config = shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run([zensical, "build", "--config-file", config], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    built = {page.stem for page in (tmp_path / "site").glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"README"} <= built


KEYS_OF = {
    "search": "search", "unit": "unit", "lists": "lists", "map": "map", "try": "try", "compare": "compare", "run": "run",
    "judgements": "calls", "judgement": "call",
}  # fmt: skip
"""The template of a page, by its name in the table of keys."""
OF_LISTS = {"j", "k", "Enter", "Home", "End", "/", "Esc", "\N{EN DASH}"}
ARROWS = {"&larr;", "&rarr;", "&uarr;", "&darr;"}


def test_the_table_of_keys_has_those_of_every_page_of_the_explorer() -> None:
    text = (ROOT / "docs" / "explorer.md").read_text("utf-8").partition("## Keys")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([a-z]+) \| (.*) \|$", text, re.MULTILINE))
    rows.pop("page")
    assert rows.keys() == KEYS_OF.keys()
    for page, template in KEYS_OF.items():
        source = (ROOT / "autointerp/explorer/web/templates" / f"{template}.html.j2").read_text("utf-8")
        keys = {key.replace("&minus;", "-") for key in re.findall("<kbd>(.*?)</kbd>", source)} - OF_LISTS - ARROWS
        assert set(re.findall("`(.*?)`", rows[page])) - OF_LISTS == keys, page
