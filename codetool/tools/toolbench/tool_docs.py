"""Reader of ToolBench's tool documents, `tools/<Category>/<tool>.json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from codetool.runs.bounded_input import parse_json, read_bytes
from codetool.tool_calls.toolbench_api import SERVER, Api, parse_tool
from codetool.types import Tool

log = logging.getLogger(__name__)

MAX_CACHED_TOOLS = 256  # tools in memory


class ToolDocuments:
    """The tool documents of a folder, which are read when first needed."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of categories, which need not exist."""
        self._folder = folder
        self._apis = lru_cache(MAX_CACHED_TOOLS)(self._read)

    def get_tool(self, api: Api) -> Tool:
        """The API as a Tool; without a document it has only a name and a URL."""
        documented = self._apis(api.category, api.tool).get(api)
        return documented or Tool(name=api.function, method="GET", server=SERVER, path=api.path)

    def _read(self, category: str, name: str) -> Mapping[Api, Tool]:
        file = self._folder / category / f"{name}.json"
        try:
            document = parse_json(read_bytes(file))
            tools = [parse_tool(_build_entry(entry, category, document)) for entry in document["api_list"]]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read and is skipped: %r", file, error)
            return {}
        return {api: tool for tool in tools if (api := Api.from_url(tool.server + tool.path))}


def _build_entry(api: Mapping[str, Any], category: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """An API of a tool's document in the format of a query's `api_list`."""
    descriptions = [document.get("tool_description"), api.get("description")]
    return {
        "category_name": category,
        "tool_name": document.get("standardized_name") or document["tool_name"],
        "api_name": api["name"],
        "api_description": " ".join(text.strip() for text in descriptions if text),
        "required_parameters": api.get("required_parameters") or [],
        "optional_parameters": api.get("optional_parameters") or [],
        "method": api.get("method"),
        "template_response": api.get("template_response"),
    }
