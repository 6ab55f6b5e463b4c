"""What the last step of a program written by a model prints, right and wrong: labels, literals, bounds, errors."""

import pytest

from codetool.benchmarks.answer_checker.checker import matches
from codetool.types import Answer

NOLAN = Answer("name", "Christopher Nolan")
SEVEN = Answer("title", "Se7en")
WAR = Answer("title", "1917")
RUNNER = Answer("title", "Blade Runner")
SEASONS = Answer("number", 5)
THOUSAND = Answer("number", 1000)
REVENUE = Answer("number", 165_000_000)
NONE = Answer("number", 0)
MATRIX = Answer("date", "1999-03-31")
EARLY = Answer("date", "1999-03-04")
YES = Answer("yes_no", True)
NO = Answer("yes_no", False)
HBO = Answer("url", "https://www.hbo.com/chernobyl")
FILMS = Answer("list", ["Thirteen", "Lords of Dogtown", "The Nativity Story"])
GENRES = Answer("list", ["Drama", "Mystery", "Sci-Fi & Fantasy"])
FUTURE = Answer("ordered_list", ["Back to the Future", "Back to the Future Part II", "Back to the Future Part III"])

RIGHT = [
    (NOLAN, "['Christopher Nolan']\n"),
    (NOLAN, "{'director': 'Christopher Nolan'}"),
    (NOLAN, "('Christopher Nolan',)"),
    (NOLAN, "Final answer: Christopher Nolan"),
    (NOLAN, "Director(s): Christopher Nolan"),
    (NOLAN, "1. Christopher Nolan"),
    (NOLAN, "- **Christopher Nolan**"),
    (NOLAN, "Christopher Nolan (ID: 525)"),
    (NOLAN, "The film Inception was directed by the British filmmaker Christopher Nolan."),
    (SEVEN, "{'title': 'Se7en'}"),
    (SEVEN, "Title: Se7en"),
    (SEVEN, "Se7en (1995)"),
    (SEVEN, "Se7en, 1995"),
    (SEVEN, "Se7en 8.4"),
    (SEVEN, "Se7en - 8.4"),
    (SEVEN, "Title: Se7en, Rating: 8.4"),
    (SEVEN, "The highest rated movie is Se7en with a vote average of 8.4."),
    (WAR, "1917"),
    (WAR, "Title: 1917 (2019)"),
    (SEASONS, "5 seasons"),
    (SEASONS, "five"),
    (SEASONS, "Number of seasons: 5"),
    (SEASONS, "{'number_of_seasons': 5}"),
    (SEASONS, "Seasons = 5"),
    (SEASONS, "2 Broke Girls: 5"),
    (SEASONS, "The number of seasons is 5 (five)."),
    (THOUSAND, "$1,000"),
    (THOUSAND, "1 thousand"),
    (REVENUE, "$165 million"),
    (REVENUE, "165,000,000 USD"),
    (NONE, "zero"),
    (MATRIX, "1999-03-31T00:00:00"),
    (MATRIX, "1999-03-31 00:00:00"),
    (MATRIX, "datetime.date(1999, 3, 31)"),
    (MATRIX, "The Matrix (1999) was released on March 31, 1999"),
    (MATRIX, "The Matrix\n1999-03-31"),
    (MATRIX, "31-03-1999"),
    (MATRIX, "03-31-1999"),
    (EARLY, "04-03-1999"),
    (EARLY, "3/4/1999"),
    (YES, "True"),
    (YES, "Both in cast: True"),
    (YES, "{'both': True}"),
    (YES, "{'result': true}"),
    (YES, "Yes they are."),
    (YES, "Yes, it is not a remake."),
    (NO, "Same director: False"),
    (NO, "No, Greta Gerwig did not direct Marriage Story; it was directed by Noah Baumbach."),
    (HBO, "hbo.com/chernobyl"),
    (HBO, "Homepage: https://www.hbo.com/chernobyl"),
    (HBO, "<https://www.hbo.com/chernobyl>"),
    (FILMS, "{'films': ['Thirteen', 'Lords of Dogtown', 'The Nativity Story']}"),
    (FILMS, "* Thirteen\n* The Nativity Story\n* Lords of Dogtown"),
    (FILMS, "Here are the films:\n\n1. **Thirteen**\n2. **Lords of Dogtown**\n3. **The Nativity Story**"),
    (FILMS, "Title: Thirteen\nTitle: Lords of Dogtown\nTitle: The Nativity Story"),
    (FILMS, "Thirteen - 2003-08-20\nLords of Dogtown - 2005-06-03\nThe Nativity Story - 2006-12-01"),
    (FILMS, "Thirteen: 6.8\nLords of Dogtown: 6.9\nThe Nativity Story: 6.7"),
    (FILMS, "Thirteen (released 2003-08-20), Lords of Dogtown (2005), The Nativity Story (2006)"),
    (FILMS, "Before Twilight, Catherine Hardwicke directed Thirteen, Lords of Dogtown, and The Nativity Story."),
    (GENRES, "Genres of Severance: Drama, Mystery, Sci-Fi & Fantasy"),
    (GENRES, "Severance is filed under Drama, Mystery and Sci-Fi & Fantasy."),
    (FUTURE, "First Back to the Future, second Back to the Future Part II, third Back to the Future Part III"),
    (FUTURE, "Back to the Future -> Back to the Future Part II -> Back to the Future Part III"),
]

WRONG = [
    (NOLAN, "None"),
    (NOLAN, "[]"),
    (NOLAN, "either Christopher Nolan or Jonathan Nolan"),
    (NOLAN, "Christopher Nolan / Jonathan Nolan"),
    (NOLAN, "Christopher Nolan with Lana Wachowski"),
    (NOLAN, "Christopher Nolan's brother Jonathan"),
    (NOLAN, "Who directed Inception? Christopher Nolan? Steven Spielberg?"),
    (NOLAN, "Director: Emma Thomas; Writer: Christopher Nolan"),
    (NOLAN, "Director: Emma Thomas, Christopher Nolan"),
    (NOLAN, "Director: Christopher Nolan\nWriter: Jonathan Nolan"),
    (NOLAN, "Steven Spielberg directed it after Christopher Nolan"),
    (NOLAN, "It is Steven Spielberg, formerly Christopher Nolan"),
    (NOLAN, "The candidates are Christopher Nolan"),
    (NOLAN, "Error: Christopher Nolan not found"),
    (NOLAN, "Traceback (most recent call last): KeyError: 'Christopher Nolan'"),
    (NOLAN, "{'id': 155, 'cast': [{'name': 'Christian Bale'}], 'crew': [{'name': 'Christopher Nolan'}]}"),
    (SEVEN, "Se7en Fight Club"),
    (SEVEN, "Fight Club (Se7en)"),
    (RUNNER, "Blade Runner 2049"),
    (RUNNER, "Blade Runner 2"),
    (SEASONS, "at least 5"),
    (SEASONS, "more than five"),
    (SEASONS, "about 5"),
    (SEASONS, "5%"),
    (SEASONS, "5 million"),
    (SEASONS, "5th"),
    (SEASONS, "-5"),
    (SEASONS, "[1, 2, 3, 4, 5]"),
    (SEASONS, "5 seasons and 60 episodes"),
    (SEASONS, "{'seasons': 5, 'episodes': 60}"),
    (SEASONS, "KeyError: 5"),
    (THOUSAND, "1.000.000"),
    (REVENUE, "165"),
    (NONE, "None"),
    (MATRIX, "1999-03-30"),
    (MATRIX, "released after 1999-03-31"),
    (MATRIX, "around March 31, 1999"),
    (MATRIX, "1999-03-31 to 1999-04-01"),
    (MATRIX, "The Matrix: 1999-03-31\nThe Matrix Reloaded: 2003-05-15"),
    (YES, "Yes and no"),
    (YES, "Yes, no"),
    (YES, "yes/no"),
    (YES, "Not true"),
    (YES, "It is not true"),
    (YES, "1"),
    (YES, "['yes', 'no']"),
    (NO, "Not false"),
    (NO, "No information available"),
    (NO, "No results found"),
    (NO, "There is no data"),
    (NO, "I have no idea"),
    (NO, "None"),
    (HBO, "https://www.hbo.com/chernobyl2"),
    (HBO, "https://hbo.com.evil.org/chernobyl"),
    (FILMS, "Thirteen, Lords of Dogtown, The Nativity Story or Twilight"),
    (FILMS, "The films are Twilight, Thirteen, Lords of Dogtown, The Nativity Story"),
    (FILMS, "She directed Twilight before Thirteen, Lords of Dogtown, The Nativity Story"),
    (FILMS, "Thirteen\nLords of Dogtown\nThe Nativity Story\nTwilight"),
    (GENRES, "Comedy, Drama, Mystery, Sci-Fi & Fantasy"),
    (FUTURE, "Back to the Future Part II, Back to the Future, Back to the Future Part III"),
    (FUTURE, "{'Back to the Future', 'Back to the Future Part II', 'Back to the Future Part III'}"),
]


@pytest.mark.parametrize(("answer", "text"), RIGHT)
def test_accepted(answer, text):
    assert matches(answer, text)


@pytest.mark.parametrize(("answer", "text"), WRONG)
def test_refused(answer, text):
    assert not matches(answer, text)
