"""Learn from refusals which request fields a chat server does not support, and leave them out of later requests.

Each vendor supports a different subset of OpenAI's fields. The field that the error names (`error.param`) is used
first, then the message; a field is left out only if the server refuses that field.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from codetool.http.context_size import find_answer_cap, is_overflow
from codetool.http.server_error import ServerError

log = logging.getLogger(__name__)

LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
"""The two names of the field for the maximum number of new tokens."""
_OPTIONAL_FIELDS = ("n", "seed", "stop", "top_p", "temperature", "stream_options", "logprobs",
                    "return_token_ids")  # fmt: skip
"""Fields that a request can do without."""
_REQUIRED_LOGPROBS = frozenset({"top_logprobs", "logprob_token_ids"})
"""Fields of a request whose answer is useless without log-probabilities: that of a PRM's score."""
_CONSEQUENCE_BY_FIELD = {
    "n": "each candidate takes a request of its own",
    "seed": "draws cannot be repeated",
    "stop": "answers are cut after they came",
    "top_p": "the server's own value holds",
    "temperature": "the server's own value holds",
    "logprobs": "candidates have no log-probability",
    "return_token_ids": "candidates have no token ids",
    "stream_options": "tokens are estimated where the server does not count them",
}
_REFUSAL_PATTERN = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra (inputs?|fields?)|extraneous|additional propert|"
    r"not (\w+ ){0,2}(supported|permitted|allowed|valid|accepted|available|implemented|enabled|compatible)|"
    r"(does|do|did|is|are)(n't| not)\b|can(not|'t| not)|mutually exclusive|deprecated|removed|invalid|illegal|only|"
    r"must|forbidden|no longer|at most|incompatible|should|(less|greater|more) than|out of range|too (large|many)|"
    r"exceed",
    re.IGNORECASE,
)
_FIELD_WORDS = r"(?:parameters?|arguments?|fields?|propert(?:y|ies)|options?|keys?|names?|supplied|supports?|accepts?)"
_ONE_CHOICE_PATTERN = re.compile(
    r"(only|at most|more than|exactly) (one|1|a single) (\w+ )?(choice|completion|generation|candidate)|"
    r"multiple (choices|completions|generations|candidates)|number of (choices|completions)",
    re.IGNORECASE,
)


class RequestFields:
    """Fields and values that one server has refused, and requests without them."""

    def __init__(self, base_url: str) -> None:
        """Take the URL that messages name."""
        self._base_url = base_url
        self._dropped: set[str] = set()
        self._length_field = LENGTH_FIELDS[0]
        self._caps: dict[str, int] = {}

    def supports(self, field: str) -> bool:
        """Whether the server has not refused a field."""
        return field not in self._dropped

    def drop(self, field: str, reason: str) -> None:
        """Leave a field out of all further requests; logs a warning the first time."""
        if field not in self._dropped:
            self._dropped.add(field)
            log.warning(
                "%s %s: going on without it; %s",
                self._base_url,
                reason,
                _CONSEQUENCE_BY_FIELD.get(field, "no field replaces it"),
            )

    def adapt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body with supported fields, values within the server's caps, and its name of the length field."""
        sent = {name: value for name, value in body.items() if name not in self._dropped}
        for name, cap in self._caps.items():
            if isinstance(sent.get(name), int):
                sent[name] = min(sent[name], cap)
        if "max_tokens" in sent:
            sent[self._length_field] = sent.pop("max_tokens")
        return sent

    def learn_from(self, error: ServerError, sent: Mapping[str, Any]) -> bool:
        """Record the field or value that an error refuses. Returns whether it names one, so that a retry is useful."""
        if error.is_filtered or not (error.status in {400, 422} or _forbids_logprobs(error, sent)):
            return False
        length = next((name for name in LENGTH_FIELDS if name in sent), "")
        if length and (cap := find_answer_cap(error, sent[length])):
            self._record_cap("max_tokens", cap)
            return True
        if "top_logprobs" in sent and (maximum := _find_logprobs_cap(error, sent["top_logprobs"])):
            self._record_cap("top_logprobs", maximum)
            return True
        field = None if is_overflow(error) else find_refused_field(error, sent)
        if field in LENGTH_FIELDS:
            self._switch_length_field(field)
        elif field is not None:
            self.drop(field, f"refuses `{field}`")
        return field is not None

    def _record_cap(self, field: str, maximum: int) -> None:
        if self._caps.get(field) != maximum:
            self._caps[field] = maximum
            log.warning("%s takes at most `%s` %d: going on with it", self._base_url, field, maximum)

    def _switch_length_field(self, refused: str) -> None:
        """Use the other name of the length field, or none if the server has refused both."""
        if refused != self._length_field:
            return  # another request has recorded it meanwhile
        if refused == LENGTH_FIELDS[0]:
            self._length_field = LENGTH_FIELDS[1]
            log.info("%s refuses `%s`: going on with `%s`", self._base_url, *LENGTH_FIELDS)
        else:
            self.drop("max_tokens", "refuses `max_tokens` and `max_completion_tokens`")


def find_refused_field(error: ServerError, sent: Mapping[str, Any]) -> str | None:
    """Return the optional field of the request that the error refuses, None if it refuses something else."""
    fields = [name for name in (*_OPTIONAL_FIELDS, *LENGTH_FIELDS) if name in sent]
    if _REQUIRED_LOGPROBS.intersection(sent):
        fields.remove("logprobs")
    text = error.message.replace("\\n", " ").replace("\n", " ")
    if "top_p" in fields and "temperature" in fields and _are_exclusive(text):
        return "top_p"
    if error.param and error.param.lower() not in {"none", "null"}:
        return error.param if error.param in fields else None
    for clause in re.split(r"(?<=[.;!?])\s+(?=\W?[A-Z])", text):
        positions = {
            name: position for name in fields if (position := _find_mention(name, clause, sent[name])) is not None
        }
        if positions and _REFUSAL_PATTERN.search(clause):
            return min(positions, key=positions.__getitem__)
    return None


def _are_exclusive(text: str) -> bool:
    """Whether a message says that temperature and top_p cannot be used together."""
    both = "temperature" in text and "top_p" in text
    return (
        both and re.search(r"\bboth\b|mutually exclusive|only one|either|together|at the same time", text) is not None
    )


def _find_mention(field: str, text: str, value: Any) -> int | None:
    """Return the position where a text names a field, None if it does not. `n` and `stop` are ordinary words too."""
    patterns = [rf"['\"`‘“\[]{field}['\"`’”\]]", rf"{_FIELD_WORDS}[\s:=]+{field}(?!\w)", rf": ?{field}\W*$"]
    if field == "n":
        patterns += [
            rf"(?<![\w\\])n ?(=|==|>|>=|!=|<|<=) ?(1|{value})(?!\w)",
            r"(?<![\w\\])n (must|should|is|cannot|has|can)\b",
        ]
        patterns += [r"^\W*n: ", _ONE_CHOICE_PATTERN.pattern]
    elif field == "stop":
        patterns += [r"(?<!\w)stop([ _](sequences?|words?|strings?|tokens?))?( ?[:=]| (is|are|must|not|does|param))"]
    else:
        patterns += [rf"(?<![\w.]){field}(?!\w)"]
    positions = [match.start() for pattern in patterns if (match := re.search(pattern, text, re.IGNORECASE))]
    return min(positions, default=None)


def _forbids_logprobs(error: ServerError, sent: Mapping[str, Any]) -> bool:
    """Whether the server answers 403 since the account may not request log-probabilities, but may use the model."""
    return error.status == 403 and find_refused_field(error, sent) == "logprobs"


def _find_logprobs_cap(error: ServerError, requested: int) -> int | None:
    """Return the maximum of `top_logprobs` if the error names a number below the requested one."""
    if error.param != "top_logprobs" and "top_logprobs" not in error.message:
        return None
    numbers = [int(number) for number in re.findall(r"\d+", error.message)]
    return max((number for number in numbers if 1 < number < requested), default=None)
