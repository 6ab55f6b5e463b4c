"""Fields of a chat request that a server does not take, learnt from its refusals and left out from then on.

Every vendor takes another subset of OpenAI's fields. The name that the error gives (`error.param`) is believed first,
then its words; a field is left out only where the server refuses that very field.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from codetool.http.context_size import answer_cap, is_overflow
from codetool.http.server_error import ServerError

log = logging.getLogger(__name__)

ANSWER_LENGTH = ("max_tokens", "max_completion_tokens")
"""The two names of the bound on an answer's tokens."""
_OPTIONAL = ("n", "seed", "stop", "top_p", "temperature", "stream_options")
"""Fields that an answer is possible without."""
_EFFECT = {
    "n": "each candidate takes a request of its own",
    "seed": "draws cannot be repeated",
    "stop": "answers are cut after they came",
    "top_p": "the server's own value holds",
    "temperature": "the server's own value holds",
    "stream_options": "tokens are estimated where the server does not count them",
}
_REFUSAL = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra (inputs?|fields?)|extraneous|additional propert|"
    r"not (\w+ ){0,2}(supported|permitted|allowed|valid|accepted|available|implemented|enabled|compatible)|"
    r"(does|do|did|is|are)(n't| not)\b|can(not|'t| not)|mutually exclusive|deprecated|removed|invalid|illegal|only|"
    r"must|forbidden|no longer|at most|incompatible|should|(less|greater|more) than|out of range|too (large|many)|"
    r"exceed",
    re.IGNORECASE,
)
_NAMED = r"(?:parameters?|arguments?|fields?|propert(?:y|ies)|options?|keys?|names?|supplied|supports?|accepts?)"
_ONE_CHOICE = re.compile(
    r"(only|at most|more than|exactly) (one|1|a single) (\w+ )?(choice|completion|generation|candidate)|"
    r"multiple (choices|completions|generations|candidates)|number of (choices|completions)",
    re.IGNORECASE,
)


class RequestFields:
    """What a server has refused so far, and requests without it."""

    def __init__(self, base_url: str) -> None:
        """Takes the address that messages name."""
        self._base_url = base_url
        self._dropped: set[str] = set()
        self._length = ANSWER_LENGTH[0]
        self._caps: dict[str, int] = {}

    def takes(self, field: str) -> bool:
        """Whether the server has not refused a field."""
        return field not in self._dropped

    def drop(self, field: str, reason: str) -> None:
        """Leave a field out of every further request, and say so once."""
        if field not in self._dropped:
            self._dropped.add(field)
            log.warning(
                "%s %s: going on without it; %s", self._base_url, reason, _EFFECT.get(field, "no field replaces it")
            )

    def adapt(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with what the server takes, the bound on the answer's length under the name that it has there."""
        sent = {name: value for name, value in body.items() if name not in self._dropped}
        for name, cap in self._caps.items():
            if isinstance(sent.get(name), int):
                sent[name] = min(sent[name], cap)
        if "max_tokens" in sent:
            sent[self._length] = sent.pop("max_tokens")
        return sent

    def learn(self, error: ServerError, sent: Mapping[str, Any]) -> bool:
        """Whether the error refuses a field or a value of what was sent, which further requests then do without."""
        if error.status not in {400, 422} or error.is_filtered:
            return False
        length = next((name for name in ANSWER_LENGTH if name in sent), "")
        if length and (cap := answer_cap(error, sent[length])):
            self._cap("max_tokens", cap)
            return True
        if "top_logprobs" in sent and (most := _most_logprobs(error, sent["top_logprobs"])):
            self._cap("top_logprobs", most)
            return True
        field = None if is_overflow(error) else refused_field(error, sent)
        if field in ANSWER_LENGTH:
            self._rename_length(field)
        elif field is not None:
            self.drop(field, f"refuses `{field}`")
        return field is not None

    def _cap(self, field: str, most: int) -> None:
        if self._caps.get(field) != most:
            self._caps[field] = most
            log.warning("%s takes at most `%s` %d: going on with it", self._base_url, field, most)

    def _rename_length(self, refused: str) -> None:
        """Use the other name of the bound; neither where the server has refused both."""
        if refused != self._length:
            return  # another request has learnt it meanwhile
        if refused == ANSWER_LENGTH[0]:
            self._length = ANSWER_LENGTH[1]
            log.info("%s refuses `%s`: going on with `%s`", self._base_url, *ANSWER_LENGTH)
        else:
            self.drop("max_tokens", "refuses `max_tokens` and `max_completion_tokens`")


def refused_field(error: ServerError, sent: Mapping[str, Any]) -> str | None:
    """The optional field of what was sent that the error refuses, None where it refuses something else."""
    fields = [name for name in (*_OPTIONAL, *ANSWER_LENGTH) if name in sent]
    text = error.message.replace("\\n", " ").replace("\n", " ")
    if "top_p" in fields and "temperature" in fields and _excludes_each_other(text):
        return "top_p"
    if error.param and error.param.lower() not in {"none", "null"}:
        return error.param if error.param in fields else None
    for clause in re.split(r"(?<=[.;!?])\s+(?=\W?[A-Z])", text):
        places = {name: place for name in fields if (place := _mention(name, clause, sent[name])) is not None}
        if places and _REFUSAL.search(clause):
            return min(places, key=places.__getitem__)
    return None


def _excludes_each_other(text: str) -> bool:
    """Whether the words allow temperature or top_p, but not both."""
    both = "temperature" in text and "top_p" in text
    return (
        both and re.search(r"\bboth\b|mutually exclusive|only one|either|together|at the same time", text) is not None
    )


def _mention(field: str, text: str, value: Any) -> int | None:
    """Where the text names a field of a request, None where it does not. `n` and `stop` are words and letters too."""
    patterns = [rf"['\"`‘“\[]{field}['\"`’”\]]", rf"{_NAMED}[\s:=]+{field}(?!\w)", rf": ?{field}\W*$"]
    if field == "n":
        patterns += [
            rf"(?<![\w\\])n ?(=|==|>|>=|!=|<|<=) ?(1|{value})(?!\w)",
            r"(?<![\w\\])n (must|should|is|cannot|has|can)\b",
        ]
        patterns += [r"^\W*n: ", _ONE_CHOICE.pattern]
    elif field == "stop":
        patterns += [r"(?<!\w)stop([ _](sequences?|words?|strings?|tokens?))?( ?[:=]| (is|are|must|not|does|param))"]
    else:
        patterns += [rf"(?<![\w.]){field}(?!\w)"]
    found = [match.start() for pattern in patterns if (match := re.search(pattern, text, re.IGNORECASE))]
    return min(found, default=None)


def _most_logprobs(error: ServerError, asked: int) -> int | None:
    """How many log-probabilities a token the server gives at most, where it names a number below those asked for."""
    if error.param != "top_logprobs" and "top_logprobs" not in error.message:
        return None
    numbers = [int(number) for number in re.findall(r"\d+", error.message)]
    return max((number for number in numbers if 1 < number < asked), default=None)
