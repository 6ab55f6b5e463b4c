"""Which candidates are the same program."""

import pytest
from search_world import step

from codetool.search.merging import make_program_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x=1"),
        ("x = 1  # why", "x = 1"),
        ("f(a,\n  b)", "f(a, b)"),
        ("s = 'a'", 's = "a"'),
        ("x = (1)", "x = 1"),
        ("x = = 1\n", "  x = = 1"),
    ],
)
def test_layout_and_comments_do_not_count(one, other):
    assert make_program_key(step("a", one)) == make_program_key(step("b", other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "y = 1"),
        ("x = 1", "x = 1.0"),
        ("x = 1; y = 2", "y = 2; x = 1"),
        ("def f():\n  'a'", "def f():\n  'b'"),
        ("x = = 1", "x = = 2"),
        ("x", None),
    ],
)
def test_other_programs_differ(one, other):
    assert make_program_key(step("a", one)) != make_program_key(step("a", other))


def test_text_without_code_is_compared_without_its_margins():
    assert make_program_key(step(" done ", None)) == make_program_key(step("done", None))
    assert make_program_key(step("done", None)) != make_program_key(step("undone", None))


@pytest.mark.parametrize("code", ["x", "x = = 1", None])
def test_a_finishing_step_is_not_an_unfinished_one(code):
    assert make_program_key(step("a", code)) != make_program_key(step("a", code, finished=True))


ODD = ["'\\d'", "\x00", "(" * 5000, "x = " + "-" * 100_000 + "1", "0x" + "f" * 9000, "'\udcff'"]


@pytest.mark.parametrize("code", ODD, ids=["escape", "null", "deep", "negations", "huge", "surrogate"])
def test_any_text_has_a_key(code):
    assert make_program_key(step("a", code)) == make_program_key(step("b", code))
