"""Write the reference of all settings as Markdown: one page for each group of `conf/`, and one for `config.yaml`.

    python docs/scripts/settings_pages.py FOLDER    writes the pages into a folder

`mkdocs build` makes the same pages in memory (`mkdocs_hooks.py`), so that they never differ from the YAML files.
"""

from __future__ import annotations

import argparse
import html
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from option_settings import Option, Row, find_places, list_groups, read_common_settings, read_group, read_stage_names

from codetool.config.config_sources import CONF

COMMON = "common"
"""Name of the page about `config.yaml`."""
TEXT_VALUES = ("|", ">", "|-", ">-")
"""Beginning of a value of several lines, such as a prompt."""
UNHASHED = "†"
HEAD = """| setting | default | type | meaning |
| --- | --- | --- | --- |"""
NOTE = f"""{UNHASHED} The setting does not change results: a command that differs only there continues the same run
folder. "(text)" stands for a value of several lines, such as a prompt; it is printed by `--cfg job`."""


def make_pages() -> dict[str, str]:
    """Return the pages by file name without its ending, with their Markdown."""
    pages = {"index": _format_index(), COMMON: _format_common()}
    return pages | {name_page(group): _format_group(group) for group in list_groups()}


def name_page(group: str) -> str:
    """Return the name of a group's page."""
    return group.replace("/", "_")


def _format_index() -> str:
    lines = [
        "# All settings",
        "",
        "These pages are made from the YAML files in `conf/` and their comments, whenever this documentation is built.",
        "`python run.py --help` prints the same on a terminal, `--cfg job` the whole configuration of a command.",
        "",
        "Settings that belong to no group (`seed`, `limit`, `tools.…`, `executor.…`) are on the page",
        f"[common]({COMMON}.md).",
        "",
        "| group | options |",
        "| --- | --- |",
    ]
    lines += [
        f"| [`{group}`]({name_page(group)}.md) | {', '.join(_link(group, each.name) for each in read_group(group))} |"
        for group in list_groups()
    ]
    return "\n".join([*lines, ""])


def _format_common() -> str:
    rows = read_common_settings()
    blocks = list(dict.fromkeys(row.name.partition(".")[0] for row in rows if "." in row.name))
    single = [row for row in rows if row.name.partition(".")[0] not in blocks]
    lines = ["# Common settings", "", "What `conf/config.yaml` sets for every command.", "", *_format_table(single, "")]
    for block in blocks:
        intro = next(row.comment for row in rows if row.name == block)
        lines += ["", f"## `{block}` {{#{block}}}", "", *([_capitalize(_escape(intro)), ""] if intro else [])]
        lines += _format_table([row for row in rows if row.name.startswith(f"{block}.")], "")
    return "\n".join([*lines, "", NOTE, ""])


def _format_group(group: str) -> str:
    options = read_group(group)
    lines = [f"# `{group}`", "", *_describe_place(group, options)]
    for option in options:
        lines += ["", f"## `{group}={option.name}` {{#{option.name}}}", "", *_format_header(option)]
        lines += _format_choices(option)
        if option.rows:
            lines += _format_table(option.rows, option.package)
    return "\n".join([*lines, "", NOTE, ""])


def _describe_place(group: str, options: Sequence[Option]) -> Iterator[str]:
    places = find_places(group)
    example = options[0].name
    if places:
        chosen = " or ".join(f"`{group}@{place}={example}`" for place in places)
        names = ", ".join(f"`{place}.NAME=VALUE`" for place in places)
        yield f"Choose an option with {chosen}. Its settings are set as {names}."
    elif any(option.package for option in options):
        yield f"Choose an option with `{group}={example}`."
    readers = [option.name for option in read_group("stage") if group in read_stage_names(option.name)]
    if readers and len(readers) < len(read_group("stage")):
        yield f"Stages that read it: {', '.join(_link('stage', name) for name in readers)}."


def _link(group: str, option: str, text: str = "") -> str:
    return f"[`{text or option}`]({name_page(group)}.md#{option})"


def _format_header(option: Option) -> Iterator[str]:
    """Yield the comment at the start of the file: sentences as text, indented commands as code."""
    is_code = False
    for line in option.header:
        if line.startswith("  ") != is_code:
            yield from ("", "```text") if not is_code else ("```", "")
            is_code = not is_code
        yield line.strip() if is_code else _escape(line)
    if is_code:
        yield "```"
    yield ""


def _format_choices(option: Option) -> list[str]:
    if not option.choices:
        return []
    links = []
    for entry, name in option.choices:
        group = entry.partition("@")[0]
        links.append(_link(group, name, f"{entry.replace('_global_.', '')}={name}"))
    return [f"It chooses {', '.join(links)}.", ""]


def _format_table(rows: Sequence[Row], package: str) -> Iterator[str]:
    yield HEAD
    for row in rows:
        name = f"{package}.{row.name}" if package else row.name
        kind = row.type if package else _map_types().get(name, row.type)
        kind, default = ("", "") if row.default is None else (kind, _format_default(row.default))
        comment = _escape(row.comment)
        if row.origin:
            group, _, option = row.origin.partition("=")
            comment += f" (from {_link(group, option, row.origin)})"
        yield f"| `{name}`{f' {UNHASHED}' if row.operational else ''} | {default} | {kind} | {comment} |"


@cache
def _map_types() -> dict[str, str]:
    """Return the type of every setting by its full name, for presets, which set those of other options."""
    types = {row.name: row.type for row in read_common_settings()}
    for group in list_groups():
        for option in read_group(group) if group != "experiment" else ():
            types |= {f"{option.package}.{row.name}".lstrip("."): row.type for row in option.rows}
    return types


def _format_default(text: str) -> str:
    if text in TEXT_VALUES:
        return "(text)"
    return "required" if text == "???" else f"`{text}`".replace("|", "\\|")


def _capitalize(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _escape(text: str) -> str:
    """Escape what Markdown, HTML or a table would take for markup; code between backticks stays."""
    parts = re.split(r"(`[^`]+`)", text)
    plain = (re.sub(r"([\\*_\[\]|])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2])
    code = [part.replace("|", "\\|") for part in parts[1::2]] + [""]
    return "".join(text for pair in zip(plain, code, strict=True) for text in pair)


def main() -> None:
    """Write the pages into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=f"Write the reference of the settings in {CONF} as Markdown.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in make_pages().items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
