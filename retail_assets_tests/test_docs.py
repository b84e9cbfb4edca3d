"""The documentation names only what exists: files, headings, tables, commands, rules files."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import pytest

from retail_assets import contract
from retail_assets.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = sorted({table.group for table in contract.tables().values()})
FENCED = re.compile(r"^(`{3,}).*?^\1", re.MULTILINE | re.DOTALL)
NAMED_BLOCK = re.compile(r"`([\w/]+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)```", re.DOTALL)
"""A file's name, then what belongs in it."""


def named(page: Path) -> str:
    return page.name


@cache
def headings(page: Path) -> frozenset[str]:
    """Anchors as GitHub and MyST make them of headings."""
    found = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in found)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page):
    text = FENCED.sub("", page.read_text())
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        other = (page.parent / file) if file else page
        if not other.exists() or (anchor and anchor not in headings(other.resolve())):
            broken.append(target)
    assert not broken


def test_every_table_stands_on_the_page_of_its_group():
    missing = [
        table.name
        for table in contract.tables().values()
        if not (table.name.endswith("_quarantine") and table.name != "pos_quarantine")
        and f"#{table.name})" not in (ROOT / "docs" / f"{table.group}.md").read_text()
    ]
    assert not missing


def known(command: click.Command, words: list[str]) -> bool:
    """Whether words behind ``retail-assets`` begin with commands that exist."""
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        found = command.commands.get(words.pop(0))
        if found is None:
            return False
        command = found
    options = {o for p in command.params for o in p.opts}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    return given <= options | {"--help", "--version"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_exists_with_its_options(page):
    lines = re.findall(r"(?:^|[$`] ?|\s{4}|> )retail-assets ([^\n`#]*)", page.read_text(), re.M)
    lines = [line.split("|")[0] for line in lines]
    assert [line for line in lines if not known(cli, line.split())] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_rules_file_exists(page):
    shipped = {file.name for file in (ROOT / "data" / "rules").iterdir()}
    # Either form may be kept.
    shipped |= {"pricing_rules.xlsx"}
    found = set(re.findall(r"rules/([\w.]+\.(?:toml|csv|xlsx))", page.read_text()))
    assert found <= shipped


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_page_answers_the_same_questions(group):
    text = FENCED.sub("", (ROOT / "docs" / f"{group}.md").read_text())
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "What it answers",
        "Inputs",
        "Tables",
        "Method",
        "How far to trust it",
        "Configure",
        "When a check warns",
    ]


def test_every_check_is_explained_on_the_page_of_its_asset():
    from retail_assets.definitions import defs

    missing = [
        key.name
        for asset_checks in defs.asset_checks or ()
        for key in asset_checks.check_keys
        if f"| `{key.name}`"
        not in (
            ROOT / "docs" / f"{contract.table(key.asset_key.to_user_string()).group}.md"
        ).read_text()
    ]
    assert not missing


def test_the_worked_example_of_an_asset_holds(monkeypatch):
    """Its contract is read, its asset compiles, its model passes its own test."""
    blocks = dict(NAMED_BLOCK.findall((ROOT / "docs" / "add_an_asset.md").read_text()))
    tables = contract.parse_tables("\n" + blocks["retail_assets/tables.txt"])
    assert tables["discount_share"].key == ("category", "product_id")
    for file in blocks:
        if file.endswith(".py"):
            compile(blocks[file], file, "exec")
    name = "retail_assets.models.demand.discounts"
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(blocks["retail_assets/models/demand/discounts.py"], vars(module))
    tests: dict[str, object] = {}
    exec(blocks["retail_assets_tests/models/demand/test_discounts.py"], tests)
    own = [test for name, test in tests.items() if name.startswith("test_") and callable(test)]
    assert len(own) == 2
    for test in own:
        test()
