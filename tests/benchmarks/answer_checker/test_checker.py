"""Hand-written answers, right and wrong, for every type of answer."""

import pytest

from codetool.benchmarks.answer_checker.checker import matches
from codetool.types import Answer

NOLAN = Answer("name", "Christopher Nolan")
CUARON = Answer("name", "Alfonso Cuarón")
JOKER = Answer("name", "Joker")
DOWNEY = Answer("name", "Robert Downey Jr.")
TAEGU = Answer("name", "Daegu, South Korea")
KNIGHT = Answer("title", "The Dark Knight")
AVATAR = Answer("title", "Avatar")
SEVEN = Answer("title", "Se7en")
PREJUDICE = Answer("title", "Pride & Prejudice")
FURIOSA = Answer("title", "Furiosa: A Mad Max Saga")
TWELVE = Answer("number", 12)
MANY = Answer("number", 1234)
RATING = Answer("number", 8.5)
EPISODES = Answer("number", 138)
YEAR = Answer("number", 1984)
RELEASE = Answer("date", "2008-07-16")
YES = Answer("yes_no", True)
NO = Answer("yes_no", False)
HBO = Answer("url", "https://www.hbo.com/chernobyl")
CAST = Answer("list", ["Tom Hardy", "Mark Rylance", "Fionn Whitehead"])
FILMS = Answer("ordered_list", ["The Hunger Games", "The Hunger Games: Catching Fire", "Mockingjay - Part 1"])
GENRES = Answer("list", ["Drama", "Sci-Fi & Fantasy"])

RIGHT = [
    (NOLAN, "Christopher Nolan"),
    (NOLAN, "christopher nolan\n"),
    (NOLAN, "The director is Christopher Nolan."),
    (NOLAN, "Christopher Nolan directed The Dark Knight."),
    (NOLAN, "The Dark Knight was directed by Christopher Nolan (born 1970)."),
    (NOLAN, "The director of The Dark Knight is **Christopher Nolan**."),
    (NOLAN, "Director: Christopher Nolan"),
    (NOLAN, "Director:\nChristopher Nolan"),
    (NOLAN, "'Christopher Nolan'"),
    (NOLAN, '{"director": "Christopher Nolan"}'),
    (NOLAN, "['Christopher Nolan']"),
    (NOLAN, "It was Christopher Nolan, who also wrote it."),
    (CUARON, "Alfonso Cuaron"),
    (CUARON, "The film was made by ALFONSO CUARÓN"),
    (JOKER, "The Joker"),
    (JOKER, 'Heath Ledger plays "the Joker".'),
    (DOWNEY, "robert downey jr"),
    (DOWNEY, "It is Robert Downey Jr."),
    (TAEGU, "Daegu, South Korea"),
    (TAEGU, "Bong Joon Ho was born in Daegu, South Korea."),
    (KNIGHT, "Dark Knight"),
    (KNIGHT, "His best rated film is The Dark Knight."),
    (KNIGHT, "The Dark Knight (2008)"),
    (AVATAR, "Avatar has the higher rating."),
    (SEVEN, "se7en"),
    (PREJUDICE, "Pride and Prejudice"),
    (PREJUDICE, "The title is Pride and Prejudice."),
    (FURIOSA, "Furiosa - A Mad Max Saga"),
    (FURIOSA, "Today's most trending movie is Furiosa: A Mad Max Saga."),
    (TWELVE, "12"),
    (TWELVE, "12.0"),
    (TWELVE, "12 films"),
    (TWELVE, "twelve"),
    (TWELVE, "She has directed twelve films."),
    (TWELVE, '{"count": 12}'),
    (TWELVE, "[12]"),
    (MANY, "1,234"),
    (MANY, "There are 1234 of them."),
    (MANY, "$1,234"),
    (RATING, "8.50"),
    (RATING, "Its rating is 8.5/10."),
    (EPISODES, "2 Broke Girls has 138 episodes."),
    (YEAR, "'1984'"),
    (YEAR, "It appeared in 1984."),
    (RELEASE, "2008-07-16"),
    (RELEASE, "July 16, 2008"),
    (RELEASE, "Jul. 16th, 2008"),
    (RELEASE, "16 July 2008"),
    (RELEASE, "the 16th of July 2008"),
    (RELEASE, "7/16/2008"),
    (RELEASE, "16/07/2008"),
    (RELEASE, "16.7.2008"),
    (RELEASE, "2008-07-16T00:00:00.000Z"),
    (RELEASE, "The Dark Knight came out on Wednesday, July 16, 2008."),
    (YES, "yes"),
    (YES, "True"),
    (YES, "Yes, both of them are in the cast."),
    (YES, "The answer is yes."),
    (NO, "No."),
    (NO, "false"),
    (NO, "No, they do not share a director."),
    (HBO, "https://www.hbo.com/chernobyl"),
    (HBO, "http://hbo.com/chernobyl/"),
    (HBO, "The official site is https://www.hbo.com/chernobyl."),
    (HBO, "[Chernobyl](https://www.hbo.com/chernobyl)"),
    (CAST, '["Fionn Whitehead", "Tom Hardy", "Mark Rylance"]'),
    (CAST, "{'Tom Hardy', 'Fionn Whitehead', 'Mark Rylance'}"),
    (CAST, "Tom Hardy, Mark Rylance and Fionn Whitehead"),
    (CAST, "The main cast are Tom Hardy, Mark Rylance, and Fionn Whitehead."),
    (CAST, "- Tom Hardy\n- Mark Rylance\n- Fionn Whitehead"),
    (CAST, "Tom Hardy\nFionn Whitehead\nMark Rylance"),
    (CAST, '{"cast": ["Tom Hardy", "Mark Rylance", "Fionn Whitehead"]}'),
    (CAST, '[{"name": "Tom Hardy"}, {"name": "Mark Rylance"}, {"name": "Fionn Whitehead"}]'),
    (FILMS, '["The Hunger Games", "The Hunger Games: Catching Fire", "Mockingjay - Part 1"]'),
    (FILMS, "1. The Hunger Games (2012)\n2. The Hunger Games: Catching Fire (2013)\n3. Mockingjay - Part 1 (2014)"),
    (FILMS, "In The Hunger Games: The Hunger Games, The Hunger Games: Catching Fire, then Mockingjay - Part 1."),
    (GENRES, "Sci-Fi & Fantasy, Drama"),
    (GENRES, "The genres are Drama and Sci-Fi and Fantasy."),
]

WRONG = [
    (NOLAN, None),
    (NOLAN, ""),
    (NOLAN, "   "),
    (NOLAN, "Nolan or Spielberg"),
    (NOLAN, "Christopher Nolan or Steven Spielberg"),
    (NOLAN, "Christopher Nolan, Steven Spielberg"),
    (NOLAN, "Steven Spielberg, Christopher Nolan"),
    (NOLAN, "Steven Spielberg and Christopher Nolan"),
    (NOLAN, "Christopher Nolan - Steven Spielberg"),
    (NOLAN, "Christopher Nolan as well as Steven Spielberg"),
    (NOLAN, "Maybe Christopher Nolan"),
    (NOLAN, "It is not Christopher Nolan."),
    (NOLAN, "Who is Christopher Nolan?"),
    (NOLAN, "Jonathan Nolan"),
    (NOLAN, "Christopher Nolan Jr."),
    (NOLAN, "['Christopher Nolan', 'Steven Spielberg']"),
    (NOLAN, "Steven Spielberg\nChristopher Nolan\nMartin Scorsese"),
    (NOLAN, "KeyError: 'crew' for Christopher Nolan"),
    (NOLAN, "id 155 title The Dark Knight director Christopher Nolan " + "word " * 40),
    (NOLAN, "Who was the director of the film?"),
    (AVATAR, "Avatar: The Way of Water"),
    (AVATAR, "Avatar versus Avatar: The Way of Water: which of them is rated higher"),
    (AVATAR, "Avatar or Avatar: The Way of Water"),
    (KNIGHT, "The Dark Knight Rises"),
    (KNIGHT, "The Dark Knight, Inception"),
    (FURIOSA, "Furiosa"),
    (FURIOSA, "Mad Max"),
    (TWELVE, "13"),
    (TWELVE, "12 or 13"),
    (TWELVE, "about 11 to 12"),
    (TWELVE, "1, 2, 12"),
    (TWELVE, "Season 1 has 7 episodes, season 2 has 12"),
    (TWELVE, "[12, 13]"),
    (TWELVE, "True"),
    (TWELVE, "2008-12-12"),
    (TWELVE, "id12"),
    (TWELVE, "How many of the 12 films are there?"),
    (MANY, "1.234"),
    (MANY, "234"),
    (RATING, "8"),
    (EPISODES, "2 Broke Girls"),
    (RELEASE, "2008-07-18"),
    (RELEASE, "2008"),
    (RELEASE, "July 2008"),
    (RELEASE, "2008-07-16 or 2008-07-18"),
    (RELEASE, "2008-07-16, 2010-07-15, 2012-07-17"),
    (RELEASE, "['2008-07-16', '2008-07-18']"),
    (YES, "no"),
    (YES, "yes or no"),
    (YES, "Maybe yes"),
    (YES, "They are."),
    (YES, "Is the answer yes?"),
    (NO, "yes"),
    (NO, "There is yes and no."),
    (HBO, "https://www.hbo.com"),
    (HBO, "https://www.hbo.com/chernobyl https://www.hbo.com/the-wire"),
    (HBO, "hbo"),
    (CAST, "Tom Hardy, Mark Rylance"),
    (CAST, "Tom Hardy, Mark Rylance, Fionn Whitehead, Cillian Murphy"),
    (CAST, "Cillian Murphy, Tom Hardy, Mark Rylance, Fionn Whitehead"),
    (CAST, '["Tom Hardy", "Mark Rylance", "Fionn Whitehead", "Cillian Murphy"]'),
    (CAST, '{"a": "Tom Hardy", "b": "Mark Rylance", "c": "Fionn Whitehead"}'),
    (CAST, "Tom Hardy or Mark Rylance or Fionn Whitehead"),
    (FILMS, '["The Hunger Games: Catching Fire", "The Hunger Games", "Mockingjay - Part 1"]'),
    (FILMS, "The Hunger Games: Catching Fire, The Hunger Games, Mockingjay - Part 1"),
    (GENRES, "Drama, Mystery, Sci-Fi & Fantasy"),
]


@pytest.mark.parametrize(("answer", "text"), RIGHT)
def test_accepted(answer, text):
    assert matches(answer, text)


@pytest.mark.parametrize(("answer", "text"), WRONG)
def test_refused(answer, text):
    assert not matches(answer, text)


def test_deeply_nested_text_is_refused_and_does_not_break():
    assert not matches(NOLAN, "[" * 100_000)
