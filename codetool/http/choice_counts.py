"""Check the number of choices in a chat server's answers: too few, too many, or one whatever `n` is."""

from __future__ import annotations

from codetool.http.request_fields import RequestFields
from codetool.http.response_warnings import ResponseWarnings

MAX_SHORT_RESPONSES = 3
"""Number of responses with a single choice, and none with more, after which a server is assumed to ignore `n`."""
MAX_SURPLUS_RESPONSES = 3
"""Number of responses in a row with too many choices that are failed attempts; further ones are cut."""


class ChoiceCounts:
    """What is known of how many choices one server returns."""

    def __init__(self, fields: RequestFields, warnings: ResponseWarnings) -> None:
        """Take the server's request fields, from which `n` is dropped if it is ignored, and its warnings."""
        self._fields, self._warnings = fields, warnings
        self._short_count = 0
        """Number of responses with fewer choices than requested."""
        self._surplus_streak = 0
        """Number of responses in a row with more choices than requested."""
        self.gives_several = False
        """Whether any response had more than one choice, so that a missing choice is a fault."""

    def is_faulty_surplus(self, received: int, requested: int) -> bool:
        """Whether a response has too many choices and the server usually returns the right number."""
        self._surplus_streak = self._surplus_streak + 1 if received > requested else 0
        return 0 < self._surplus_streak <= MAX_SURPLUS_RESPONSES

    def record(self, received: int, requested: int) -> None:
        """Warn once of a server that returns too few choices, and stop sending `n` if it never returns several."""
        if received > 1:
            self.gives_several = True
        if received == requested:
            return
        self._warnings.warn_once(
            "short",
            f"gave {received} of {requested} candidates in one answer: those that are missing are asked for singly",
        )
        self._short_count += 1
        if not self.gives_several and self._short_count >= MAX_SHORT_RESPONSES:
            self._fields.drop("n", "gives one candidate whatever `n` is")
