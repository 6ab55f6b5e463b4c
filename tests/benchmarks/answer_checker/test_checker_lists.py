"""What programs print as several values, right and wrong, by the answer stored and the query asked."""

import json

import pytest

from codetool.benchmarks.answer_checker.checker import matches
from codetool.types import Answer

IMAGES = ["/kqjL17yufvn9OVLyXYpvtyrFfak.jpg", "/ab12.jpg"]
REVIEWS = [
    "A slow film that rewards patience. The second half is where the whole thing comes together, "
    "and the last shot is worth the ticket alone.\nSeen twice.",
    "Loud, long and a little too proud of itself, but the cast carries it from the first scene until the credits roll.",
]
OTHER = (
    "Another review of another film, long enough to be one of its own kind and known to nobody who stored the first."
)

CASES = [  # answer, query, texts that give it, texts that do not
    (
        Answer("some_of", IMAGES),
        "",
        [
            "https://image.tmdb.org/t/p/original/kqjL17yufvn9OVLyXYpvtyrFfak.jpg",
            "['/kqjL17yufvn9OVLyXYpvtyrFfak.jpg', '/ab12.jpg']",
            "Inception: /ab12.jpg",
            "[{'file_path': '/ab12.jpg', 'width': 500, 'height': 750}]",
        ],
        ["/kqjL17yufvn9OVLyXYpvtyrFfak.jpg\n/zz.jpg"],
    ),
    (
        Answer("some_of", ["Inception", "Tenet", "Dunkirk"]),
        "Recommend me films like Memento",
        [
            "I recommend Inception and Tenet.",
            "You might like Inception or Tenet!",
            "1. Inception (2010)\n2. Tenet (2020)",
            "Inception is similar to Memento.",
            "Here are some films like Memento:\n- Inception\n- Dunkirk",
            "[{'id': 1, 'title': 'Inception'}, {'id': 2, 'title': 'Tenet'}]",
        ],
        ["Inception, Tenet, Memento", "I would not recommend Inception", "Have you seen Inception?"],
    ),
    (
        Answer("some_of", ["Star Wars", "Return of the Jedi"]),
        "Name a movie of the collection Star Wars",
        ["Star Wars", "A movie of the collection is Star Wars."],
        [
            "Here is: Name a movie of the collection Star Wars",
            "a movie of the collection Star Wars",
            "The Empire Strikes Back",
        ],
    ),
    (
        Answer("list", ["Drama", "Mystery"]),
        "What are the genres of Severance?",
        [
            "[{'id': 18, 'name': 'Drama'}, {'id': 9648, 'name': 'Mystery'}]",
            "Genres: ['Drama', 'Mystery']",
            "{'title': 'Severance', 'genres': ['Drama', 'Mystery']}",
            "Title: Severance\nGenres: Drama, Mystery",
        ],
        [],
    ),
    (
        Answer("list", ["Tom Hardy", "Mark Rylance"]),
        "",
        ["Tom Hardy as Farrier\nMark Rylance as Mr. Dawson", "- Tom Hardy (Farrier)\n- Mark Rylance (Mr. Dawson)"],
        ["- Tom Hardy (Cillian Murphy)\n- Mark Rylance", "Tom Hardy, Mark Rylance, Cillian Murphy and Kenneth Branagh"],
    ),
    (
        Answer("list", ["Inception", "Tenet"]),
        "",
        [
            '["Inception (2010)", "Tenet (2020)"]',
            "[('Inception', 2010), ('Tenet', 2020)]",
            '[{"title": "Inception", "release_date": "2010-07-16"}, {"title": "Tenet", "release_date": "2020-08-26"}]',
        ],
        ["The films not by him are Inception and Tenet"],
    ),
    (
        Answer("list", ["2012-12-12", "2013-12-11"]),
        "",
        ["The Hobbit 1: 2012-12-12\nThe Hobbit 2: December 11, 2013"],
        ["2012-12-12"],
    ),
    (Answer("ordered_list", ["2012-12-12", "2013-12-11"]), "", [], ["2013-12-11, 2012-12-12"]),
    (Answer("list", [["Shogun", "Shōgun"], ["Dark"]]), "", ["Shōgun and Dark"], []),
    (
        Answer("list", ["Drama", "Mystery", "Sci-Fi & Fantasy"]),
        "",
        [
            "Drama\nMystery\nSci-Fi & Fantasy",
            "Drama; Mystery; Sci-Fi & Fantasy",
            "Drama / Mystery / Sci-Fi and Fantasy",
            "drama, mystery, sci-fi & fantasy",
            "The genres of Severance are: Drama, Mystery, and Sci-Fi & Fantasy.",
            "Drama (18), Mystery (9648), Sci-Fi & Fantasy (10765)",
            "Genre 1: Drama\nGenre 2: Mystery\nGenre 3: Sci-Fi & Fantasy",
            "1: Drama\n2: Mystery\n3: Sci-Fi & Fantasy",
            "Drama | Mystery | Sci-Fi & Fantasy",
            "('Drama', 'Mystery', 'Sci-Fi & Fantasy')",
            "[['Drama', 'Mystery', 'Sci-Fi & Fantasy']]",
            "Drama Mystery Sci-Fi & Fantasy",
            "set(['Drama', 'Mystery', 'Sci-Fi & Fantasy'])",
        ],
        [
            "Drama, Mystery",
            "Drama, Mystery, Fantasy",
            "Drama, Mystery, Sci-Fi & Fantasy, Thriller",
            "{'Drama': 18, 'Mystery': 9648, 'Sci-Fi & Fantasy': 10765}",
            "The genres are Drama, Mystery, and Sci-Fi & Fantasy. These are the genres.",
            "Drama, Mystery and not Sci-Fi & Fantasy",
        ],
    ),
    (Answer("list", ["Drama"]), "", ["Drama", "['Drama']", "The genre is Drama."], ["Drama, Mystery"]),
    (
        Answer("list", ["Kate Winslet", "Leonardo DiCaprio"]),
        "Who stars in Titanic?",
        [
            "Titanic stars Leonardo DiCaprio and Kate Winslet.",
            "Leonardo DiCaprio and Kate Winslet star in Titanic.",
            "[{'name': 'Kate Winslet', 'character': 'Rose'}, {'name': 'Leonardo DiCaprio', 'character': 'Jack'}]",
            "Kate Winslet: Rose\nLeonardo DiCaprio: Jack",
            "Leonardo DiCaprio (Jack) and Kate Winslet (Rose)",
            "Leonardo DiCaprio as Jack, Kate Winslet as Rose",
        ],
        ["Not Kate Winslet and Leonardo DiCaprio"],
    ),
    (
        Answer("ordered_list", ["A New Hope", "Empire", "Return"]),
        "",
        ["1) A New Hope 2) Empire 3) Return", "A New Hope < Empire < Return"],
        ["Return, Empire, A New Hope", "{'1': 'A New Hope', '2': 'Empire', '3': 'Return'}"],
    ),
    (Answer("list", [5, 7, 9]), "How many episodes has each season?", ["[7, 9, 5]"], []),
    (Answer("ordered_list", [5, 7, 9]), "How many episodes has each season?", ["5, 7, 9"], []),
    (
        Answer("list", IMAGES),
        "",
        ["https://image.tmdb.org/t/p/w500/ab12.jpg\nhttps://image.tmdb.org/t/p/w500/kqjL17yufvn9OVLyXYpvtyrFfak.jpg"],
        [],
    ),
    (
        Answer("some_of", ["love", "ship", "iceberg"]),
        "Under which keywords is Titanic filed?",
        [
            "love, iceberg",
            "The keywords are: love, ship.",
            "[{'id': 1, 'name': 'love'}]",
            "{'movie': 'Titanic', 'keywords': ['love', 'ship']}",
        ],
        ["love, war", "{'id': 597, 'keywords': [{'id': 1, 'name': 'love'}]}", "[]", "I love this movie"],
    ),
    (
        Answer("list", ["Ethan Coen", "Joel Coen"]),
        "Who directed Fargo?",
        [
            "Joel Coen & Ethan Coen",
            "Fargo was directed by Joel Coen and Ethan Coen.",
            "Directors: Joel Coen, Ethan Coen",
            "Joel Coen and Ethan Coen directed Fargo.",
            "Director: Joel Coen\nDirector: Ethan Coen",
        ],
        ["Joel Coen", "Joel and Ethan Coen"],
    ),
    (Answer("list", ["The Matrix"]), "", ["The film is The Matrix."], []),
    (
        Answer("some_of", ["Inception", "Tenet"]),
        "",
        [
            "Title: Inception\nTitle: Tenet",
            "Inception\nInception",
            "Inception: 8.4\nTenet: 7.2",
            "Inception (8.4), Tenet (7.2)",
            "Inception, a film about dreams",
        ],
        ["None"],
    ),
    (
        Answer("some_of", ["Inception", "Tenet"]),
        "Name films similar to Memento",
        [
            "Memento: Inception, Tenet",
            "Films similar to Memento are Inception and Tenet.",
            "If you liked Memento, you should watch Inception.",
            "{'recommendations': ['Inception', 'Tenet']}",
        ],
        ["['Inception', 'Batman Begins']"],
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


def test_a_review_may_be_given_whole_or_from_its_beginning_with_its_author():
    answer = Answer("some_of", REVIEWS)
    for text in (
        REVIEWS[0],
        REVIEWS[0][:130] + "...",
        f"Review by Jane:\n{REVIEWS[1]}\n\nReview by Joe:\n{REVIEWS[0]}",
        str(REVIEWS),
        str([{"author": "Jane", "content": REVIEWS[0]}]),
    ):
        assert matches(answer, text)


def test_a_scrap_of_a_review_another_review_beside_it_and_a_dump_are_refused():
    raw = {"author": "Jane", "content": REVIEWS[0], "id": "x", "created_at": "y", "updated_at": "z", "url": "u"}
    for text in ("A slow film.", f"{REVIEWS[0]}\n{OTHER} {OTHER}", OTHER, str({"id": 1, "page": 1, "results": [raw]})):
        assert not matches(Answer("some_of", REVIEWS), text)


def test_a_long_list_that_the_limit_cuts_is_judged_by_its_whole_items():
    answer = Answer("some_of", [f"The film with the number {place}" for place in range(200)])
    text = "\n".join(answer.value)[:2_000]
    assert matches(answer, text)
    assert not matches(answer, text.replace("number 7\n", "other name\n"))
    raw = json.dumps([{"id": place, "title": title} for place, title in enumerate(answer.value)])[:2_000]
    assert matches(answer, raw)
    assert not matches(answer, raw.replace("number 7", "other name"))


def test_a_list_of_days_is_found_in_raw_records():
    films = [("An Unexpected Journey", "2012-12-12"), ("The Desolation of Smaug", "2013-12-11")]
    raw = [{"title": title, "release_date": day} for title, day in films]
    assert matches(Answer("list", [day for _, day in films]), str(raw))


def test_raw_records_of_right_images_are_a_dump():
    record = {"aspect_ratio": 1.778, "height": 1080, "file_path": IMAGES[0], "vote_average": 5.2, "width": 1920}
    for dump in ({"id": 1, "stills": [record]}, [record], {"stills": [record]}):
        assert not matches(Answer("some_of", IMAGES), str(dump))
    assert matches(Answer("some_of", IMAGES), str({"image": [record["file_path"]]}))


def test_a_long_text_before_a_list_is_no_introduction() -> None:
    answer = Answer("list", ["Alice Munro", "Bob Dylan"])
    told = "the winners are Alice Munro and Bob Dylan."
    long = "I have looked at very many pages of the service about prizes and people and so on today, and "
    assert matches(answer, f"T{told[1:]}", "Who won?") and not matches(answer, long + told, "Who won?")


@pytest.mark.parametrize(("length", "right"), [(1899, False), (1900, True), (1901, True)])
def test_an_unfinished_last_item_is_forgiven_only_where_the_answer_may_have_been_cut(length: int, right: bool) -> None:
    names = [f"Film number {place:03d} of all" for place in range(200)]
    whole = ", ".join(names[:75])
    text = (whole + ", " + "F" * length)[:length]
    assert matches(Answer("some_of", names), text) is right
