"""Templates about two subjects: which is earlier, longer or older, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from codetool.benchmarks.task_generator.grammar import write_request
from codetool.benchmarks.task_generator.subjects import Subject
from codetool.tmdb.store import Store
from codetool.types import AnswerType

Pairs = Callable[[Sequence[Subject], Sequence[Subject], Store, Random], Iterator[tuple[Subject, Subject]]]


@dataclass(frozen=True, kw_only=True)
class ComparisonStep:
    """One step: its thought, its code, and the guard that must hold after it."""

    thought: str
    code: str
    guard: str = "True"


def draw_pairs(
    left: Sequence[Subject], right: Sequence[Subject], store: Store, rng: Random
) -> Iterator[tuple[Subject, Subject]]:
    """Yield random pairs of different subjects, endlessly unless one side is empty."""
    while left and right:
        one, other = rng.choice(left), rng.choice(right)
        if one.key != other.key:
            yield one, other


def pair_film_and_actor(
    left: Sequence[Subject], right: Sequence[Subject], store: Store, rng: Random
) -> Iterator[tuple[Subject, Subject]]:
    """Pair each film alternately with an actor of its cast and with an actor of another film."""
    people = {subject.values["title"]: subject for subject in right}
    films = list(left)
    rng.shuffle(films)
    in_cast = True
    for film in films:
        cast = store.movies[int(film.values["id"])].cast
        matches = [
            name for name in people if (name in cast) == in_cast and people[name].values["id"] != film.values["id"]
        ]
        if matches:
            yield film, people[rng.choice(matches)]
            in_cast = not in_cast


def pair_films_by_director(
    left: Sequence[Subject], right: Sequence[Subject], store: Store, rng: Random
) -> Iterator[tuple[Subject, Subject]]:
    """Pair each film alternately with a film of the same director and with one of another director."""
    films = list(left)
    rng.shuffle(films)
    same_director = True
    for film in films:
        directors = store.movies[int(film.values["id"])].crew["Director"]
        matches = [
            other
            for other in films
            if other.key != film.key
            and (store.movies[int(other.values["id"])].crew["Director"] == directors) == same_director
        ]
        if matches:
            yield film, rng.choice(matches)
            same_director = not same_director


def pair_co_stars(
    left: Sequence[Subject], right: Sequence[Subject], store: Store, rng: Random
) -> Iterator[tuple[Subject, Subject]]:
    """Yield pairs of people who acted in at least one film together."""
    people = {subject.values["title"]: subject for subject in left}
    films = list(store.movies.values())
    rng.shuffle(films)
    for film in films:
        matches = [name for name in film.cast if name in people]
        if len(matches) > 1:
            one, other = rng.sample(matches, 2)
            yield people[one], people[other]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A template with two subjects; its wording and code refer to them as `$a_title`, `$b_query` and so on."""

    name: str
    where: Literal["everywhere", "dev", "test"]
    type: AnswerType
    subjects: tuple[str, str]
    """Keys of `subjects.SUBJECTS`."""
    questions: tuple[str, ...]
    steps: tuple[ComparisonStep, ...]
    pairs: Pairs = draw_pairs


def _make_search_step(variable: str, side: str, route: str, word: str) -> ComparisonStep:
    return ComparisonStep(
        thought=f"Find the {word} ${side}_subject.",
        code=f"{variable} = " + write_request(f"/search/{route}", f'{{"query": ${side}_query}}') + '["results"][0]',
        guard=f'{variable}["id"] == ${side}_id',
    )


def _make_step(thought: str, code: str, guard: str = "True") -> ComparisonStep:
    return ComparisonStep(thought=thought, code=code, guard=guard)


def _extend_step(step: ComparisonStep, thought: str, code: str, guard: str = "True") -> ComparisonStep:
    """Return the step extended by code that prints the answer."""
    return ComparisonStep(
        thought=f"{step.thought[:-1]} and {thought}",
        code=f"{step.code}\n{code}",
        guard=f"({step.guard}) and ({guard})",
    )


A_FILM, B_FILM = _make_search_step("first", "a", "movie", "film"), _make_search_step("second", "b", "movie", "film")
A_SHOW, B_SHOW = _make_search_step("first", "a", "tv", "series"), _make_search_step("second", "b", "tv", "series")
A_PERSON, B_PERSON = (
    _make_search_step("first", "a", "person", "person"),
    _make_search_step("second", "b", "person", "person"),
)
FIRST, SECOND = "{first['id']}", "{second['id']}"

COMPARISONS = (
    Comparison(
        name="earlier_film",
        where="everywhere",
        type="title",
        subjects=("movie", "movie"),
        questions=(
            "Which came out first, $a_title or $b_title?",
            "Was $a_title or $b_title released earlier? Give the title of the earlier one.",
            "Between $a_title and $b_title, which film is older?",
        ),
        steps=(
            A_FILM,
            _extend_step(
                B_FILM,
                "print the earlier of the two.",
                'print(min([first, second], key=lambda film: film["release_date"])["title"])',
                'first["release_date"] != second["release_date"]',
            ),
        ),
    ),
    Comparison(
        name="better_film",
        where="everywhere",
        type="title",
        subjects=("movie", "movie"),
        questions=(
            "$a_title versus $b_title: which has the higher rating?",
            "Which film is rated higher, $a_title or $b_title?",
            "Did $a_title or $b_title get the better average rating? Give its title.",
        ),
        steps=(
            A_FILM,
            _extend_step(
                B_FILM,
                "print the better rated one.",
                'print(max([first, second], key=lambda film: film["vote_average"])["title"])',
                'first["vote_average"] != second["vote_average"]',
            ),
        ),
    ),
    Comparison(
        name="longer_film",
        where="test",
        type="number",
        subjects=("movie", "movie"),
        questions=(
            "By how many minutes is $a_title longer than $b_title?",
            "How many more minutes does $a_title run than $b_title?",
        ),
        steps=(
            A_FILM,
            _make_step(
                "Get the details of the first film.",
                "first_details = " + write_request(f"/movie/{FIRST}") + '\nprint(first_details["runtime"])',
            ),
            B_FILM,
            _make_step(
                "Get the details of the second film and print the difference.",
                "second_details = "
                + write_request(f"/movie/{SECOND}")
                + '\nprint(first_details["runtime"] - second_details["runtime"])',
                'first_details["runtime"] > second_details["runtime"]',
            ),
        ),
    ),
    Comparison(
        name="more_episodes",
        where="test",
        type="number",
        subjects=("show", "show"),
        questions=(
            "How many more episodes does $a_title have than $b_title?",
            "By how many episodes is $a_title longer than $b_title?",
        ),
        steps=(
            A_SHOW,
            _make_step(
                "Get the details of the first series.",
                "first_details = " + write_request(f"/tv/{FIRST}") + '\nprint(first_details["number_of_episodes"])',
            ),
            B_SHOW,
            _make_step(
                "Get the details of the second series and print the difference.",
                "second_details = "
                + write_request(f"/tv/{SECOND}")
                + '\nprint(first_details["number_of_episodes"] - second_details["number_of_episodes"])',
                'first_details["number_of_episodes"] > second_details["number_of_episodes"]',
            ),
        ),
    ),
    Comparison(
        name="older_person",
        where="everywhere",
        type="name",
        subjects=("person", "person"),
        questions=("Who is older, $a_title or $b_title?", "Which of the two was born first, $a_title or $b_title?"),
        steps=(
            A_PERSON,
            _make_step(
                "Get the details of the first person.",
                "first_details = " + write_request(f"/person/{FIRST}") + '\nprint(first_details["birthday"])',
                'bool(first_details["birthday"])',
            ),
            B_PERSON,
            _make_step(
                "Get the details of the second person and print who is older.",
                "second_details = "
                + write_request(f"/person/{SECOND}")
                + '\nprint(min([first_details, second_details], key=lambda person: person["birthday"])["name"])',
                'bool(second_details["birthday"]) and first_details["birthday"] != second_details["birthday"]',
            ),
        ),
    ),
    Comparison(
        name="film_or_series",
        where="dev",
        type="title",
        subjects=("movie", "show"),
        questions=(
            "Which came first, the film $a_title or the series $b_title?",
            "Which is older, the film $a_title or the TV show $b_title?",
        ),
        steps=(
            A_FILM,
            _extend_step(
                B_SHOW,
                "print which came first.",
                'print(first["title"] if first["release_date"] < second["first_air_date"] else second["name"])',
                'first["release_date"] != second["first_air_date"]',
            ),
        ),
    ),
    Comparison(
        name="acted_in",
        where="everywhere",
        type="yes_no",
        subjects=("movie", "person"),
        pairs=pair_film_and_actor,
        questions=(
            "Is $b_title in the cast of $a_title?",
            "Did $b_title act in $a_title?",
            "Does $b_title appear among the actors of $a_title?",
        ),
        steps=(
            A_FILM,
            _make_step(
                "Get the film's cast and look for the person.",
                "credits = "
                + write_request(f"/movie/{FIRST}/credits")
                + '\nprint("yes" if $b_query in [member["name"] for member in credits["cast"]] else "no")',
            ),
        ),
    ),
    Comparison(
        name="same_director",
        where="dev",
        type="yes_no",
        subjects=("movie", "movie"),
        pairs=pair_films_by_director,
        questions=(
            "Do $a_title and $b_title have the same director?",
            "Were $a_title and $b_title directed by the same person?",
        ),
        steps=(
            A_FILM,
            _make_step(
                "Get the director of the first film.",
                "first_crew = "
                + write_request(f"/movie/{FIRST}/credits")
                + '["crew"]\nprint([member["name"] for member in first_crew if member["job"] == "Director"])',
            ),
            B_FILM,
            _make_step(
                "Get the director of the second film and compare.",
                "second_crew = "
                + write_request(f"/movie/{SECOND}/credits")
                + '["crew"]\nboth = {member["id"] for member in first_crew if member["job"] == "Director"} & {member["id"] for member in second_crew if member["job"] == "Director"}\nprint("yes" if both else "no")',
            ),
        ),
    ),
    Comparison(
        name="films_together",
        where="test",
        type="list",
        subjects=("person", "person"),
        pairs=pair_co_stars,
        questions=(
            "In which films did $a_title and $b_title both act?",
            "List the films that have both $a_title and $b_title in the cast.",
        ),
        steps=(
            A_PERSON,
            _make_step(
                "Get the films of the first person.",
                'first_films = {film["title"] for film in '
                + write_request(f"/person/{FIRST}/movie_credits")
                + '["cast"]}\nprint(len(first_films))',
            ),
            B_PERSON,
            _make_step(
                "Get the films of the second person and print what they share.",
                'second_films = {film["title"] for film in '
                + write_request(f"/person/{SECOND}/movie_credits")
                + '["cast"]}\nprint(sorted(first_films & second_films))',
                "len(first_films & second_films) < 6",
            ),
        ),
    ),
    Comparison(
        name="discover_together",
        where="everywhere",
        type="title",
        subjects=("person", "person"),
        pairs=pair_co_stars,
        questions=(
            "What is the most popular film with both $a_title and $b_title in the cast?",
            "Which is the most popular film in which $a_title and $b_title act together?",
        ),
        steps=(
            A_PERSON,
            B_PERSON,
            _make_step(
                "List the films with both, most popular first, and print the first.",
                "found = "
                + write_request(
                    "/discover/movie",
                    '{"with_cast": f"{first[\'id\']},{second[\'id\']}", "sort_by": "popularity.desc"}',
                )
                + '\nprint(found["results"][0]["title"])',
                'found["total_results"] > 0',
            ),
        ),
    ),
    Comparison(
        name="director_years",
        where="test",
        type="number",
        subjects=("movie", "person"),
        questions=(
            "By how many years does the birth year of the director of $a_title precede that of $b_title?",
            "$b_title was born in a later year than the director of $a_title. How many years later?",
        ),
        steps=(
            A_FILM,
            _make_step(
                "Get the film's credits and take the director.",
                "credits = "
                + write_request(f"/movie/{FIRST}/credits")
                + '\ndirector = next(member for member in credits["crew"] if member["job"] == "Director")\nprint(director["id"], director["name"])',
                'sum(member["job"] == "Director" for member in credits["crew"]) == 1',
            ),
            _make_step(
                "Get the director's details.",
                "first_details = " + write_request("/person/{director['id']}") + '\nprint(first_details["birthday"])',
                'bool(first_details["birthday"])',
            ),
            B_PERSON,
            _make_step(
                "Get the other person's details and print the difference in years.",
                "second_details = "
                + write_request(f"/person/{SECOND}")
                + '\nprint(int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]))',
                'bool(second_details["birthday"]) and int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]) > 0',
            ),
        ),
    ),
    Comparison(
        name="lead_years",
        where="test",
        type="number",
        subjects=("show", "person"),
        questions=(
            "By how many years does the birth year of the lead actor of $a_title precede that of $b_title?",
            "$b_title was born in a later year than the lead actor of $a_title. How many years later?",
        ),
        steps=(
            A_SHOW,
            _make_step(
                "Get the series' cast and take the first.",
                "lead = " + write_request(f"/tv/{FIRST}/credits") + '["cast"][0]\nprint(lead["id"], lead["name"])',
            ),
            _make_step(
                "Get the lead's details.",
                "first_details = " + write_request("/person/{lead['id']}") + '\nprint(first_details["birthday"])',
                'bool(first_details["birthday"])',
            ),
            B_PERSON,
            _make_step(
                "Get the other person's details and print the difference in years.",
                "second_details = "
                + write_request(f"/person/{SECOND}")
                + '\nprint(int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]))',
                'bool(second_details["birthday"]) and int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]) > 0',
            ),
        ),
    ),
    Comparison(
        name="more_parts",
        where="test",
        type="number",
        subjects=("collection", "collection"),
        questions=(
            "How many more films than the $b_title does the $a_title have?",
            "By how many films is the $a_title longer than the $b_title?",
        ),
        steps=(
            _make_search_step("first", "a", "collection", "collection"),
            _make_step(
                "Get the films of the first collection.",
                "first_parts = " + write_request(f"/collection/{FIRST}") + '["parts"]\nprint(len(first_parts))',
            ),
            _make_search_step("second", "b", "collection", "collection"),
            _make_step(
                "Get the films of the second collection and print the difference.",
                "second_parts = "
                + write_request(f"/collection/{SECOND}")
                + '["parts"]\nprint(len(first_parts) - len(second_parts))',
                "len(first_parts) > len(second_parts)",
            ),
        ),
    ),
)
