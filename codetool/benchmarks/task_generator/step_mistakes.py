"""Mistakes in one step of a reference program: a wrong field, form, variable, endpoint or parameter.

`corruptions` changes whole programs to test the answer checker. The mistakes here are for training data: a policy
learns to correct them in its next step, and a PRM learns to score them low.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from codetool.benchmarks.task_generator.confusions import ENDPOINTS, FIELDS

OTHER_MEDIUM = {"release_date": "first_air_date", "first_air_date": "release_date", "title": "name", "name": "title"}
"""Fields of films mapped to the fields of series that correspond to them, and the reverse."""


def make_mistakes(code: str) -> Iterator[tuple[str, str]]:
    """Yield copies of the code with one mistake each, as (kind, code). Some of the copies still run without an error.

    The kinds: `field` and `medium` read another field, `form` treats the response as the list inside it, `name` uses a
    variable that was never defined, `endpoint` calls a neighbouring endpoint, `parameter` misnames the search text.
    """
    for match in re.finditer(r'(?<=\[")\w+(?="\])', code):
        for kind, fields in (("field", FIELDS), ("medium", OTHER_MEDIUM)):
            if match[0] in fields:
                yield kind, _replace_match(code, match, fields[match[0]])
    for match in re.finditer(r'\["(results|cast|crew|parts)"\]', code):
        yield "form", _replace_match(code, match, "")
    for match in re.finditer(r"{(\w+)\['id'\]}", code):
        yield "name", _replace_match(code, match, f"{{{match[1]}_id}}")
    for match in re.finditer(r'(?<=requests\.get\().*?"(?=[,)])', code):
        right, wrong = next(((a, b) for a, b in ENDPOINTS if a in match[0]), ("", ""))
        if right:
            yield "endpoint", _replace_match(code, match, wrong.join(match[0].rsplit(right, 1)))
    for match in re.finditer(r'(?<={)"query"(?=:)', code):
        yield "parameter", _replace_match(code, match, '"name"')


def _replace_match(code: str, match: re.Match[str], text: str) -> str:
    return code[: match.start()] + text + code[match.end() :]
