"""Parse a ToolBench server's reply into an HTTP-like status and data.

A reply is `{"error": text, "response": anything}`. Services behind the server often report failures as data, such as an
HTML page `403 Forbidden` or an object with nothing but "You are not subscribed to this API". `reported_failures`
detects them, and they become failures here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from codetool.tool_calls.toolbench_api import parse_data
from codetool.tools.toolbench.reported_failures import detect_data_failure, detect_text_failure, infer_status
from codetool.types import JSON

SIMULATOR_FAILURE = "Failed to generate fake response"
"""Beginning of the text that StableToolBench's simulator stored in the cache when it failed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A tool's answer as HTTP status and data."""

    status: int
    """HTTP status: 200, or 400 and above for a failure."""
    data: JSON
    """The answer, parsed from JSON text where possible; for a failure, its message."""

    @property
    def body(self) -> str:
        """The body of the HTTP answer as JSON; `{"error": …}` for a failure.

        NaN and infinities are replaced by null, and lone surrogates by `?`.
        """
        content = self.data if self.status < 400 else {"error": self.data}
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(_replace_non_finite(content), ensure_ascii=False)
        return text.encode("utf-8", "replace").decode()


def parse_reply(error: JSON, response: JSON) -> Reply | None:
    """Parse the two fields of a reply; None if they hold a failed simulation instead of an answer."""
    if error:
        text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
        if text.startswith(SIMULATOR_FAILURE) and response in ("", None):
            return None
        return Reply(infer_status(text, 400), text.strip())
    data = parse_data(response) if isinstance(response, str) else response
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
