import json

import pytest

from codetool.tools.live_content import MAX_PARSED_CHARS, is_json


@pytest.mark.parametrize("value", [{"a": "x" * MAX_PARSED_CHARS}, ["x" * MAX_PARSED_CHARS], "x" * MAX_PARSED_CHARS])
def test_a_long_text_is_json_by_its_ends(value: object) -> None:
    text = json.dumps(value)
    assert is_json(text) and not is_json(text[:-1]) and not is_json(text[1:])
