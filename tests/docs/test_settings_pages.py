"""The reference of the settings: every setting of every YAML file has a line with its type and meaning."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc import locate
from typing import Any

import option_settings
import pytest
import yaml
from option_settings import list_groups, read_common_settings, read_group
from settings_pages import COMMON, make_pages, name_page
from yaml_comments import read_settings

from codetool.config.config_sources import CONF

FILES = sorted(file for file in CONF.rglob("*.yaml") if "hydra" not in file.relative_to(CONF).parts)
HIDDEN = {"_target_", "_operational_", "_partial_", "defaults", "hydra"}


@cache
def pages() -> dict[str, str]:
    return make_pages()


def names_in(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted name of every value of parsed YAML, at any depth."""
    for name, value in content.items():
        if name in HIDDEN:
            continue
        if isinstance(value, dict) and value:
            yield from names_in(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONF)))
def test_every_value_of_a_file_has_a_line_in_the_section_of_its_option(file: Any) -> None:
    names = {*names_in(yaml.safe_load(file.read_text()) or {})}
    if file.parent == CONF:
        text = pages()[COMMON]
    else:
        [text] = re.findall(
            rf"(?ms)\{{#{file.stem}}}$(.*?)(?=^## |\Z)", pages()[name_page(file.parent.relative_to(CONF).as_posix())]
        )
    assert not [name for name in names if not re.search(rf"(?m)^\| `(?:[\w.]+\.)?{re.escape(name)}`", text)]


@pytest.mark.parametrize("group", [*list_groups(), COMMON])
def test_every_line_has_a_default_a_type_and_a_meaning(group: str) -> None:
    lines = [line for line in pages()[name_page(group)].splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert not [row for row in cells if len(row) != 4]
    assert not [row for row in cells if row[1].strip() and not (row[2].strip() and row[3].strip())]


@pytest.mark.parametrize("group", list_groups())
def test_an_option_that_extends_another_has_all_its_settings(group: str) -> None:
    for option in read_group(group):
        target = (yaml.safe_load((CONF / group / f"{option.name}.yaml").read_text()) or {}).get("_target_", "")
        target_class: Any = locate(target) if target.startswith("codetool.") else None
        if dataclasses.is_dataclass(target_class):
            fields = {field.name for field in dataclasses.fields(target_class) if field.init}
            chosen = {entry.partition("@")[2].partition(".")[0] for entry, _ in option.choices}
            assert fields - {row.name.partition(".")[0] for row in option.rows} <= chosen


def test_a_type_tells_choices_bounds_and_whether_there_may_be_none() -> None:
    types = {row.name: row.type for option in read_group("policy") for row in option.rows if option.name == "qwen7b"}
    assert types["backend"] == "`transformers` or `vllm` or `endpoint`"
    assert types["max_tokens"] == "integer ≥ 1" and types["path"] == "path or null"
    common = {row.name: row for row in read_common_settings()}
    assert common["limit"].type == "integer ≥ 1 or null" and common["limit"].operational
    assert not common["seed"].operational and common["tools.mode"].type.startswith("`offline` or ")


def test_where_an_inherited_setting_comes_from_is_told() -> None:
    text = pages()["policy"].partition("{#llama8b}")[2].partition("\n## ")[0]
    assert "(from [`policy=qwen7b`](policy.md#qwen7b))" in text
    assert "`policy.top_p` | `0.95` |" in text and "(from [`sampling=nucleus`](sampling.md#nucleus))" in text


def test_comments_that_go_on_and_those_above_are_read_and_texts_are_left_out() -> None:
    text = "# Head.\n_target_: a.B\na: 1  # first\n      # and second\n# above\nb:\n  c.d: x  # of c\n"
    text += "text: |\n  e: 2\nf: [1]\n"
    found = [(setting.path, setting.default, setting.comment) for setting in read_settings(text)]
    assert found == [
        (("a",), "1", "first and second"), (("b",), None, "above"), (("b", "c.d"), "x", "of c"),
        (("text",), "|", ""), (("f",), "[1]", ""),
    ]  # fmt: skip


def test_arguments_of_a_library_and_lists_of_unhashed_settings_are_told(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/one.yaml").write_text(
        "_target_: lab.Trainer\n_operational_: [devices]\ndevices: 1  # how many\n"
    )
    (tmp_path / "trainer/two.yaml").write_text("defaults: [one, _self_]\ndevices: 2  # how many\nsteps: 3  # of them\n")
    monkeypatch.setattr(option_settings, "CONF", tmp_path)
    rows = option_settings.read_option("trainer", "two").rows
    option_settings.read_option.cache_clear()
    assert [(row.name, row.type, row.operational) for row in rows] == [
        ("devices", "as in `Trainer`", True), ("steps", "as in `Trainer`", False),
    ]  # fmt: skip
