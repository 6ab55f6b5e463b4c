"""Answers that say the same are grouped as the checker reads them, without a reference."""

import random

import pytest

from codetool.benchmarks.answer_checker.equal_answers import MAX_READ_CHARS, group_equal_answers, says_the_same

SAME = [
    ("Christopher Nolan", "The director is Christopher Nolan."),
    ("Director: Nolan", "nolan"),
    ('{"director": "Nolan"}', "Nolan"),
    ("Amélie", "amelie"),
    ("5", "There are 5 seasons."),
    ("5.0", "five"),
    ("1,234", "1234"),
    ("2h 28m", "148 minutes"),
    ("It was released in 2010.", "The release year is 2010."),
    ("2010-07-16", "July 16, 2010"),
    ("It was released on July 16, 2010.", "16.7.2010"),
    ("True", "Yes."),
    ("['A One', 'B Two']", "A One\nB Two"),
    ("A One, B Two", '["A One", "B Two"]'),
    ("A One and B Two", "A One, B Two"),
    ("[1, 2]", "1, 2"),
    ("/abc.jpg", "https://image.tmdb.org/t/p/w500/abc.jpg"),
    ("None", " None\n"),
]
DIFFERENT = [
    ("Nolan", "Christopher Nolan"),
    ("Nolan or Villeneuve", "Nolan"),
    ("Toy Story", "Toy Story 3"),
    ("12 Angry Men", "12"),
    ("8.5", "8.52"),
    ("8.5", "85"),
    ("5", "-5"),
    ("2010-07-16", "2010-07-17"),
    ("yes", "no"),
    ("['A One', 'B Two']", "['B Two', 'A One']"),
    ("['A One', 'B Two']", "['A One']"),
    ("None", ""),
]


@pytest.mark.parametrize(("answer", "other"), SAME)
def test_form_does_not_matter(answer: str, other: str) -> None:
    assert says_the_same(answer, other) and says_the_same(other, answer)


@pytest.mark.parametrize(("answer", "other"), DIFFERENT)
def test_content_matters(answer: str, other: str) -> None:
    assert not says_the_same(answer, other) and not says_the_same(other, answer)


def test_groups_do_not_depend_on_the_order_of_the_answers() -> None:
    answers = ["The director is Nolan.", "5", "Nolan", "5 seasons", "", "Ang Lee", "nolan"]
    assert group_equal_answers(answers) == [2, 1, 2, 1, 0, 3, 2]
    turned = list(reversed(answers))
    assert group_equal_answers(turned) == list(reversed(group_equal_answers(answers)))
    assert group_equal_answers([]) == []


def test_raw_data_is_compared_by_its_words_and_takes_no_time() -> None:
    chooser = random.Random(0)
    texts = ["".join(chooser.choice("ab, \n[]{}1.\"'") for _ in range(5 * MAX_READ_CHARS)) for _ in range(8)]
    assert len(set(group_equal_answers(texts))) == 8
    assert says_the_same(texts[0], texts[0].upper())
