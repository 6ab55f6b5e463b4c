"""Hooks of `mkdocs build`: add the pages of all settings, and write formulas as MathML, which needs no script."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import settings_pages
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.codetool")  # mkdocs counts warnings of loggers below its own

FOLDER = "reference/settings"
NAVIGATION_ENTRY = "Settings"
"""Title in `nav` of `mkdocs.yml` below which the pages of all settings are listed."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of all settings in the navigation."""
    names = [name for name in settings_pages.make_pages() if name != "index"]
    entries = [f"{FOLDER}/index.md", *({name: f"{FOLDER}/{name}.md"} for name in names)]
    for section in config.nav or []:
        for title, children in section.items():
            if isinstance(children, list):
                section[title] = [_replace_entry(child, entries) for child in children]
    return config


def _replace_entry(child: Any, entries: list[Any]) -> Any:
    is_entry = isinstance(child, MutableMapping) and NAVIGATION_ENTRY in child
    return {NAVIGATION_ENTRY: entries} if is_entry else child


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of all settings."""
    for name, text in settings_pages.make_pages().items():
        files.append(File.generated(config, f"{FOLDER}/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the formulas of a page, in the notation of GitHub: blocks ```math and $`…`$ inside a line."""
    blocks = re.sub(r"(?ms)^```math\n(.*?)^```$", lambda match: _convert(match[1], "block"), markdown)
    return re.sub(r"\$`([^`]+)`\$", lambda match: _convert(match[1], "inline"), blocks)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Warn of scripts, styles and pictures that a page would load from another host; a strict build then fails."""
    for address in re.findall(
        r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""", output
    ):
        log.warning("%s loads %s from another host", page.file.src_uri, address)
    return output


def _convert(formula: str, display: str) -> str:
    mathml = convert(" ".join(formula.split()), display=display)
    return f'<p class="formula">{mathml}</p>' if display == "block" else mathml
