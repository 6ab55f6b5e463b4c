"""What programs print as a name or title, right and wrong, by the answer stored and the query asked."""

import pytest

from codetool.benchmarks.answer_checker.checker import matches
from codetool.types import Answer

CASES = [  # answer, query, texts that give it, texts that do not
    (
        Answer("name", "Christopher Nolan"),
        "Who made the film that is rated best?",
        [
            "Title: The Shawshank Redemption\nDirector: Christopher Nolan",
            "{'title': 'The Shawshank Redemption', 'director': 'Christopher Nolan'}",
        ],
        [],
    ),
    (
        Answer("name", "Christopher Nolan"),
        "Who directed Inception?",
        [
            "Movie: Inception, Director: Christopher Nolan",
            "Movie: Inception | Director: Christopher Nolan",
            "Who directed Inception? Christopher Nolan",
            "Query: Who directed Inception?\nAnswer: Christopher Nolan",
            "I found the film. The director is Christopher Nolan. He was born in London.",
            "Inception -> Christopher Nolan",
            "Director ID: 525, Director Name: Christopher Nolan",
            "[{'id': 525, 'name': 'Christopher Nolan', 'job': 'Director'}]",
            "The director of the movie 'Inception' is: Christopher Nolan",
            'The director of "Inception" is "Christopher Nolan".',
            "Inception's director: Christopher Nolan",
            "Christopher Nolan\nChristopher Nolan",
            "Christopher Nolan (525)",
            "directed by christopher nolan",
            "CHRISTOPHER NOLAN",
            "THE DIRECTOR IS CHRISTOPHER NOLAN",
            "Answer: **Christopher Nolan**.",
            "Final Answer: The director of Inception is Christopher Nolan.",
            "> Christopher Nolan",
            "(Christopher Nolan)",
            "Director = Christopher Nolan",
            "Christopher Nolan is the director of Inception",
            "Sure! The director is Christopher Nolan.",
            "Based on the credits, Christopher Nolan directed Inception.",
            "The movie was directed by Christopher Nolan, a British-American filmmaker.",
            '["Christopher Nolan"]',
            "##Step 2: The director of Inception is Christopher Nolan.",
            "Director found: Christopher Nolan",
            "Name: Christopher Nolan\nID: 525",
            "Name: Christopher Nolan\nJob: Director",
            "{'name': 'Christopher Nolan', 'job': 'Director'}",
            "{'id': 525, 'name': 'Christopher Nolan', 'job': 'Director'}",
            "Christopher Nolan (Director)",
            "Director: Christopher Nolan, Release Date: 2010-07-16",
            "Inception: Christopher Nolan",
            "Christopher Nolan directed Inception in 2010, and it starred Leonardo DiCaprio.",
            "The director is Emma Thomas and the writer is Christopher Nolan",
            "christopher_nolan",
            "Result: 'Christopher Nolan'\n",
            "=> Christopher Nolan",
        ],
        [
            "Director: Emma Thomas, Writer: Christopher Nolan",
            "Director: Christopher Nolan, Writer: Jonathan Nolan",
            "Who directed Inception?",
            "No director found for Christopher Nolan",
            "The director is not Christopher Nolan",
            "Christopher Nolan, not found",
            "Steven Spielberg rather than Christopher Nolan",
            "['Christopher Nolan', 'Christopher Nolan']",
            "Directors: Christopher Nolan, Emma Thomas",
            "Director: None",
            "It could be Christopher Nolan",
            "I guess Christopher Nolan",
            "Christopher Nolan?",
            "Cast: Leonardo DiCaprio, Tom Hardy. Director: Christopher Nolan",
            "525",
            "The director has worked with Christopher Nolan",
            "Christopher Edward Nolan",
            "('Director', 'Christopher Nolan')",
            "The director of Inception is Christopher Nolan.\n\nThis concludes the task.",
            "Christopher Nolan - Director",
            "Christopher Nolan, Director",
            "Inception (2010) - Christopher Nolan",
            "Inception, Christopher Nolan",
            "Nolan",
            "<b>Christopher Nolan</b>",
            "None\nChristopher Nolan",
            "Leonardo DiCaprio\nJoseph Gordon-Levitt\nChristopher Nolan",
        ],
    ),
    (
        Answer("name", "Christian Bale"),
        "Who gets top billing in The Dark Knight?",
        [
            "Christian Bale (Bruce Wayne / Batman)",
            "Christian Bale as Bruce Wayne",
            "The lead actor in The Dark Knight was Christian Bale, who played Bruce Wayne.",
        ],
        [],
    ),
    (Answer("name", "Adam McKay"), "Who directed Don't Look Up?", ["Don't Look Up was directed by Adam McKay."], []),
    (
        Answer("title", "Avatar"),
        "Which is rated higher, Avatar or Avatar: The Way of Water, on the site of the database",
        ["Avatar", "Avatar (7.6) has a higher rating than Avatar: The Way of Water (7.5)"],
        [
            "Avatar versus Avatar",
            "Avatar: The Way of Water has a higher rating than Avatar",
            "Avatar: 7.6, Avatar: The Way of Water: 7.5",
            "Avatar has a lower rating than Avatar: The Way of Water",
        ],
    ),
    (
        Answer("title", "Avatar: The Way of Water"),
        "Which is rated higher, Avatar or Avatar: The Way of Water, on the site of the database",
        ["Avatar: The Way of Water", "Avatar: The Way of Water has a higher rating."],
        [],
    ),
    (Answer("title", "It"), "Which is the latest horror film?", [], ["It seems that there is no such film"]),
    (Answer("title", "It"), "", ["It", "The film is It.", '"It" (2017)'], []),
    (Answer("title", "Her"), "", [], ["She directed her film"]),
    (Answer("title", "Friends"), "", [], ["They are friends"]),
    (Answer("title", "Infinity"), "", ["Infinity"], []),
    (Answer("title", "1917"), "", ["1917"], []),
    (Answer("title", "True"), "", ["True"], []),
    (
        Answer("title", ["Amélie", "Le Fabuleux Destin d'Amélie Poulain"]),
        "",
        ["Le fabuleux destin d'Amelie Poulain", "Amélie (Le Fabuleux Destin d'Amélie Poulain)"],
        ["Amélie, Delicatessen"],
    ),
    (
        Answer("name", "Missoula, Montana, USA"),
        "Tell me the birthplace of the person who made Mulholland Drive.",
        [
            "Missoula, Montana, USA",
            "David Lynch was born in Missoula, Montana, USA.",
            "Place of birth: Missoula, Montana, USA",
        ],
        [
            "Name: David Lynch\nPlace of birth: Missoula, Montana, USA",
            "Director: David Lynch, Place of birth: Missoula, Montana, USA",
            "London, England",
        ],
    ),
    (
        Answer("name", ["Missoula, Montana, USA", "Missoula"]),
        "Tell me the birthplace of the person who made Mulholland Drive.",
        ["Missoula"],
        [],
    ),
    (Answer("name", "Joker"), "What character does Heath Ledger play?", ["Heath Ledger: Joker"], []),
    (Answer("name", "Bruce Wayne / Batman"), "", ["Bruce Wayne / Batman"], []),
    (
        Answer("title", "The Dark Knight"),
        "What is his best rated film?",
        [
            "The Dark Knight (8.5)",
            "The Dark Knight with a rating of 8.5",
            "The Dark Knight, with a vote average of 8.5",
            "The Dark Knight: 8.512",
            "{'title': 'The Dark Knight', 'vote_average': 8.5}",
            "('The Dark Knight', 8.5)",
            "The Dark Knight 2008-07-16",
            "The Dark Knight, released on 2008-07-16",
        ],
        ["The Dark Knight, Inception, Memento, The Prestige", "1. The Dark Knight\n2. Inception"],
    ),
    (
        Answer("title", "Mad Max: Fury Road"),
        "",
        [
            "Title: Mad Max: Fury Road",
            "Mad Max: Fury Road | 7.6",
            "Title: Mad Max: Fury Road\nRelease date: 2015-05-13\nRating: 7.6",
            "{'title': 'Mad Max: Fury Road', 'director': 'George Miller'}",
            "Movie: Mad Max: Fury Road, Director: George Miller",
        ],
        [],
    ),
    (Answer("title", "Dune"), "Which is newer?", [], ["Dune: Part Two"]),
    (Answer("title", "Dune"), "", ["Dune (2021)"], []),
    (Answer("title", "M"), "", ["M"], []),
    (
        Answer("title", "Gran Torino"),
        "Which of his films is the latest?",
        ["Latest: Gran Torino (2008-12-12)"],
        ["13223 Gran Torino", "13223"],
    ),
    (Answer("title", "Cloverfield Lane"), "", [], ["10 Cloverfield Lane"]),
    (Answer("title", "Up"), "", [], ["up to you"]),
    (Answer("name", "Bong Joon-ho"), "Who directed Parasite?", ["Bong Joon Ho"], []),
    (
        Answer("name", "Tom Hanks"),
        "Who is older, Tom Hanks or Meg Ryan?",
        ["Tom Hanks is older than Meg Ryan.", "Tom Hanks (1956-07-09) is older than Meg Ryan (1961-11-19)"],
        ["Meg Ryan is older than Tom Hanks.", "Tom Hanks: 1956, Meg Ryan: 1961", "Tom Hanks or Meg Ryan"],
    ),
    (Answer("title", "Heat"), "", ["The movie Heat"], []),
    (Answer("title", "The Wire"), "", ["The show is The Wire, which ran for five seasons."], []),
    (Answer("title", "Who's Afraid of Virginia Woolf?"), "", ["Who's Afraid of Virginia Woolf?"], []),
    (
        Answer("title", "What's Eating Gilbert Grape"),
        "Name the film.",
        ["The film is What's Eating Gilbert Grape."],
        [],
    ),
    (Answer("title", "Catch-22"), "", ["Catch-22"], []),
    (Answer("title", "Ocean's Eleven"), "", ["Oceans Eleven"], []),
    (Answer("title", "WALL·E"), "", ["WALL-E"], []),
    (
        Answer("title", "Spider-Man: No Way Home"),
        "",
        ["Spider-Man: No Way Home", "The latest film is Spider-Man: No Way Home."],
        [],
    ),
    (Answer("title", "No Country for Old Men"), "", ["No Country for Old Men"], []),
    (Answer("title", "Not Okay"), "", ["The title is Not Okay."], []),
    (
        Answer("title", "Kill Bill: Vol. 1"),
        "",
        ["Kill Bill: Vol. 1", "The first is Kill Bill: Vol. 1."],
        ["Kill Bill: Vol. 2"],
    ),
    (
        Answer("title", "Birdman or (The Unexpected Virtue of Ignorance)"),
        "",
        ["Birdman or (The Unexpected Virtue of Ignorance)"],
        [],
    ),
    (
        Answer("title", "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb"),
        "",
        ["Title: Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb"],
        [],
    ),
    (
        Answer("title", "Crouching Tiger, Hidden Dragon"),
        "",
        ["Crouching Tiger, Hidden Dragon", "The film is Crouching Tiger, Hidden Dragon (2000)."],
        [],
    ),
    (
        Answer("name", "Frances McDormand"),
        "Who stars in Three Billboards Outside Ebbing, Missouri?",
        ["The star of Three Billboards Outside Ebbing, Missouri is Frances McDormand."],
        [],
    ),
]
RIGHT = [(answer, query, text) for answer, query, texts, _ in CASES for text in texts]
WRONG = [(answer, query, text) for answer, query, _, texts in CASES for text in texts]


@pytest.mark.parametrize(("answer", "query", "text"), RIGHT)
def test_accepted(answer, query, text):
    assert matches(answer, text, query)


@pytest.mark.parametrize(("answer", "query", "text"), WRONG)
def test_refused(answer, query, text):
    assert not matches(answer, text, query)


def test_the_query_said_back_is_no_answer():
    query = "Which is rated higher, Avatar or Avatar: The Way of Water?"
    for text in (query, query.rstrip("?"), f"{query}\n{query}", query.lower(), f"Query: {query}"):
        assert not matches(Answer("title", "Avatar"), text, query)
    assert matches(Answer("title", "Avatar"), f"Query: {query}\nAnswer: Avatar", query)


def test_a_part_of_the_query_that_holds_the_value_is_no_answer():
    query = "What links Avatar: The Way of Water, which has a sequel, with Titanic?"
    assert not matches(
        Answer("title", "Avatar: The Way of Water"), "Avatar: The Way of Water, which has a sequel", query
    )


def test_a_raw_record_is_no_answer():
    raw = {"id": 603, "title": "The Matrix", "overview": "…", "release_date": "1999-03-31", "adult": False}
    assert not matches(Answer("date", "1999-03-31"), str(raw))
    assert not matches(Answer("title", "The Matrix"), str(raw))


def test_a_raw_record_that_the_limit_cut_is_no_answer():
    text = '{"adult":false,"budget":63000000,"genres":[{"id":28,"name":"Action"},{"id":878,"name":"Science Fiction"}],'
    text += '"id":603,"imdb_id":"tt0133093","original_title":"The Matrix","release_date":"1999-03-31","runtime":136,"v'
    for answer in (Answer("yes_no", False), Answer("date", "1999-03-31"), Answer("title", "The Matrix")):
        assert not matches(answer, text)


def test_words_right_after_a_digit_are_no_warning():
    assert not matches(Answer("number", 7), "5is", "How many?")
