"""What a ToolBench server's reply means: the data in it, or that the tool has failed.

A reply is `{"error": text, "response": anything}`. Servers behind it report their failures as data: a page `403
Forbidden`, an object that says nothing but "You are not subscribed to this API". Those are failures here
(`reported_failures` says which).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from codetool.tool_calls.toolbench_api import read_text
from codetool.tools.toolbench.reported_failures import detect_data_failure, detect_text_failure, infer_status
from codetool.types import JSON

SIMULATOR_FAILURE = "Failed to generate fake response"
"""What StableToolBench's simulator has left in the cache where it failed: it says nothing of the call."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool answered, as REST would have it."""

    status: int
    """HTTP status: 200, or one of 400 and above for a failure."""
    data: JSON
    """The answer, read from its text if it was one; of a failure what there is of a message."""

    @property
    def body(self) -> str:
        """The body of the HTTP answer: JSON, of a failure `{"error": …}`.

        What no JSON and no wire can hold is replaced: a number that is none by null, half a surrogate pair by `?`.
        """
        content = self.data if self.status < 400 else {"error": self.data}
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(_replace_non_finite(content), ensure_ascii=False)
        return text.encode("utf-8", "replace").decode()


def parse_reply(error: JSON, response: JSON) -> Reply | None:
    """What a reply's two fields come to; None where nobody has answered, which a server may have kept as an answer."""
    if error:
        text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
        if text.startswith(SIMULATOR_FAILURE) and response in ("", None):
            return None
        return Reply(infer_status(text, 400), text.strip())
    data = read_text(response) if isinstance(response, str) else response
    if isinstance(data, str):
        failure = detect_text_failure(data)
        return Reply(*failure) if failure else Reply(200, data)
    return Reply(detect_data_failure(data) or 200, data)


def _replace_non_finite(value: JSON) -> JSON:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _replace_non_finite(item) for name, item in value.items()}
    return [_replace_non_finite(item) for item in value] if isinstance(value, list | tuple) else value
