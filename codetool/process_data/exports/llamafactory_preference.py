"""`export=llamafactory_preference`: pairs of sibling steps for LLaMA-Factory's `stage: dpo` and `stage: rm`.

`preference.json` holds the rows of `trl_preference` in the ShareGPT form, `conversations`, `chosen` and `rejected` with
`from` and `value`, and a `system` text; `dataset_info.json` names it `<benchmark>_preference` with `ranking: true`
(data/README.md of LLaMA-Factory). Rows are written one by one, in one JSON array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codetool.process_data.exports import trl_preference
from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree, encode_row
from codetool.prompts.messages import Message
from codetool.runs import journal

FILE = "preference.json"
_SPEAKERS = {"user": "human", "assistant": "gpt"}


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `preference.json` and `dataset_info.json`, and return the number of pairs."""
    count = 0

    def encode() -> Iterator[bytes]:
        nonlocal count
        yield b"["
        for row in (row for tree in trees for row in trl_preference.make_rows(tree, settings)):
            yield (b",\n" if count else b"\n") + encode_row(convert_row(row)).rstrip()
            count += 1
        yield b"\n]\n"

    journal.atomic_write(folder / FILE, encode())
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "system": "system"}
    entry = {"file_name": FILE, "formatting": "sharegpt", "ranking": True, "columns": columns}
    info = json.dumps({f"{settings.benchmark}_preference": entry}, indent=2)
    journal.atomic_write(folder / "dataset_info.json", [info.encode() + b"\n"])
    return count


def convert_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `trl_preference` in LLaMA-Factory's ShareGPT form."""
    conversation = [message for message in row["prompt"] if message["role"] != "system"]
    return {
        "conversations": _convert_messages(conversation),
        "chosen": _convert_messages(row["chosen"])[0],
        "rejected": _convert_messages(row["rejected"])[0],
        "system": "\n\n".join(message["content"] for message in row["prompt"] if message["role"] == "system"),
    }


def _convert_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"from": _SPEAKERS[message["role"]], "value": message["content"]} for message in messages]
