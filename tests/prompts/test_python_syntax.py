import ast
import gc
import sys

import pytest

from codetool.prompts.python_syntax import MAX_PARSED_CHARS, parse_python, parse_python_literal

LONG_LIST = f"[{'[], ' * 400}]"
LONG = "\n".join(f"x{n} = [a, (b, c), f(d=g(e))]" for n in range(400))


class ParsesWhenFinalized:
    """Garbage whose finalizer parses code, as an unhandled error's does to quote its line."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        ast.parse("f(1)")


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="later versions of Python allow it")
def test_finalizer_that_parses_code_does_not_spoil_the_parsing_that_it_interrupts() -> None:
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # the collections of this test need not look through what other tests have left
    gc.set_threshold(50)
    try:
        failed = 0
        for _ in range(6):  # Python itself fails in 19 of 20
            for _ in range(100):
                ParsesWhenFinalized()
            try:
                ast.parse(LONG)
            except SystemError:
                failed += 1
            for _ in range(100):
                ParsesWhenFinalized()
            assert parse_python(LONG) is not None
            assert len(parse_python_literal(LONG_LIST)) == 400
        assert failed, "Python itself does not mind any more"
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.parametrize("code", ["this is no program (", "x = '\x00'", "(" * 5000, "-" * 50_000 + "1"])
def test_code_that_python_cannot_parse_has_no_tree(code: str) -> None:
    assert parse_python(code) is None


@pytest.mark.filterwarnings("error")
def test_warnings_about_generated_code_are_not_shown() -> None:
    assert parse_python(r"x = '\d'") is not None


@pytest.mark.parametrize(
    "text",
    ["{{}}", "1 +", "x", "[" * 5000, "-" * 50_000 + "1", "'\x00'", "9" * 5000, "f(1)", "[f'{1}']", "1 if 1 else 2"],
)
def test_text_that_is_no_literal_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_python_literal(text)


def test_text_that_python_parses_for_minutes_is_not_parsed() -> None:
    fields = "{1}" * MAX_PARSED_CHARS
    assert parse_python(f"f'{fields}'") is None
    with pytest.raises(ValueError, match=f"longer than {MAX_PARSED_CHARS:,} characters"):
        parse_python_literal(f"[f'{fields}']")
    assert parse_python_literal(r"{'a': '\d', 'b': (None, True)}") == {"a": r"\d", "b": (None, True)}
