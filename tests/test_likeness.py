"""Arguments that mean the same."""

import pytest

from codetool.likeness import alike


@pytest.mark.parametrize(
    "other",
    ["the dark knight", "Dark Knight", "The Dark Knight", "THE DARK KNIGHT!", "Dark  Knigth", " The Dark-Knight"],
)
def test_search_texts_forgive_case_articles_accents_and_slips(other):
    assert alike("query", "The Dark Knight", other)
    assert alike("query", "Amélie", "amelie")


@pytest.mark.parametrize(
    ("one", "other"),
    [("The Dark Knight", "Batman"), ("Avatar", "Titanic"), ("Toy Story 2", "Toy Story 3"), ("Up", "Us")],
)
def test_other_names_differ(one, other):
    assert not alike("query", one, other)


def test_other_arguments_are_compared_as_they_stand():
    assert alike("language", "en-US", "en-us")
    assert not alike("language", "en-US", "en-UK")
    assert not alike("with_genres", "12", "13")
