"""Templates about two subjects: which is earlier, longer, older; what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from codetool.benchmarks.task_generator.grammar import get
from codetool.benchmarks.task_generator.subjects import Subject
from codetool.tmdb.store import Store
from codetool.types import AnswerType

Pairs = Callable[[Sequence[Subject], Sequence[Subject], Store, Random], Iterator[tuple[Subject, Subject]]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: its sub-problem, its code, and what must hold after it."""

    thought: str
    code: str
    guard: str = "True"


def any_two(left: Sequence[Subject], right: Sequence[Subject], store: Store, draw: Random) -> Iterator[tuple[Subject, Subject]]:
    """Random pairs of different subjects, without end where there are any."""
    while left and right:
        one, other = draw.choice(left), draw.choice(right)
        if one.key != other.key:
            yield one, other


def cast_or_not(left: Sequence[Subject], right: Sequence[Subject], store: Store, draw: Random) -> Iterator[tuple[Subject, Subject]]:
    """A film with, in turn, an actor of its cast and an actor of another film of the split."""
    people = {subject.values["title"]: subject for subject in right}
    films = list(left)
    draw.shuffle(films)
    inside = True
    for film in films:
        cast = store.movies[int(film.values["id"])].cast
        known = [name for name in people if (name in cast) == inside and people[name].values["id"] != film.values["id"]]
        if known:
            yield film, people[draw.choice(known)]
            inside = not inside


def alike_or_not(left: Sequence[Subject], right: Sequence[Subject], store: Store, draw: Random) -> Iterator[tuple[Subject, Subject]]:
    """Two films, in turn of one director and of two."""
    films = list(left)
    draw.shuffle(films)
    alike = True
    for film in films:
        directors = store.movies[int(film.values["id"])].crew["Director"]
        known = [
            other
            for other in films
            if other.key != film.key and (store.movies[int(other.values["id"])].crew["Director"] == directors) == alike
        ]
        if known:
            yield film, draw.choice(known)
            alike = not alike


def worked_together(left: Sequence[Subject], right: Sequence[Subject], store: Store, draw: Random) -> Iterator[tuple[Subject, Subject]]:
    """Pairs of people who acted in at least one film together."""
    people = {subject.values["title"]: subject for subject in left}
    films = list(store.movies.values())
    draw.shuffle(films)
    for film in films:
        known = [name for name in film.cast if name in people]
        if len(known) > 1:
            one, other = draw.sample(known, 2)
            yield people[one], people[other]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A template with two subjects; its words and code name them `$a_title`, `$b_query` and so on."""

    name: str
    where: Literal["everywhere", "dev", "test"]
    type: AnswerType
    subjects: tuple[str, str]
    """Keys of `subjects.SUBJECTS`."""
    questions: tuple[str, ...]
    steps: tuple[Step, ...]
    pairs: Pairs = any_two


def _find(variable: str, side: str, route: str, word: str) -> Step:
    return Step(
        thought=f"Find the {word} ${side}_subject.",
        code=f"{variable} = " + get(f"/search/{route}", f'{{"query": ${side}_query}}') + '["results"][0]',
        guard=f'{variable}["id"] == ${side}_id',
    )


def _then(thought: str, code: str, guard: str = "True") -> Step:
    return Step(thought=thought, code=code, guard=guard)


def _with(step: Step, thought: str, code: str, guard: str = "True") -> Step:
    """The step with more code, in which it says the answer."""
    return Step(
        thought=f"{step.thought[:-1]} and {thought}",
        code=f"{step.code}\n{code}",
        guard=f"({step.guard}) and ({guard})",
    )


A_FILM, B_FILM = _find("first", "a", "movie", "film"), _find("second", "b", "movie", "film")
A_SHOW, B_SHOW = _find("first", "a", "tv", "series"), _find("second", "b", "tv", "series")
A_PERSON, B_PERSON = _find("first", "a", "person", "person"), _find("second", "b", "person", "person")
FIRST, SECOND = "{first['id']}", "{second['id']}"

COMPARISONS = (
    Comparison(
        name="earlier_film", where="everywhere", type="title", subjects=("movie", "movie"),
        questions=("Which came out first, $a_title or $b_title?", "Was $a_title or $b_title released earlier? Give the title of the earlier one.", "Between $a_title and $b_title, which film is older?"),
        steps=(A_FILM, _with(B_FILM, "print the earlier of the two.", 'print(min([first, second], key=lambda film: film["release_date"])["title"])', 'first["release_date"] != second["release_date"]')),
    ),
    Comparison(
        name="better_film", where="everywhere", type="title", subjects=("movie", "movie"),
        questions=("$a_title versus $b_title: which has the higher rating?", "Which film is rated higher, $a_title or $b_title?", "Did $a_title or $b_title get the better average rating? Give its title."),
        steps=(A_FILM, _with(B_FILM, "print the better rated one.", 'print(max([first, second], key=lambda film: film["vote_average"])["title"])', 'first["vote_average"] != second["vote_average"]')),
    ),
    Comparison(
        name="longer_film", where="test", type="number", subjects=("movie", "movie"),
        questions=("By how many minutes is $a_title longer than $b_title?", "How many more minutes does $a_title run than $b_title?"),
        steps=(
            A_FILM,
            _then("Get the details of the first film.", "first_details = " + get(f"/movie/{FIRST}") + '\nprint(first_details["runtime"])'),
            B_FILM,
            _then("Get the details of the second film and print the difference.", "second_details = " + get(f"/movie/{SECOND}") + '\nprint(first_details["runtime"] - second_details["runtime"])', 'first_details["runtime"] > second_details["runtime"]'),
        ),
    ),
    Comparison(
        name="more_episodes", where="test", type="number", subjects=("show", "show"),
        questions=("How many more episodes does $a_title have than $b_title?", "By how many episodes is $a_title longer than $b_title?"),
        steps=(
            A_SHOW,
            _then("Get the details of the first series.", "first_details = " + get(f"/tv/{FIRST}") + '\nprint(first_details["number_of_episodes"])'),
            B_SHOW,
            _then("Get the details of the second series and print the difference.", "second_details = " + get(f"/tv/{SECOND}") + '\nprint(first_details["number_of_episodes"] - second_details["number_of_episodes"])', 'first_details["number_of_episodes"] > second_details["number_of_episodes"]'),
        ),
    ),
    Comparison(
        name="older_person", where="everywhere", type="name", subjects=("person", "person"),
        questions=("Who is older, $a_title or $b_title?", "Which of the two was born first, $a_title or $b_title?"),
        steps=(
            A_PERSON,
            _then("Get the details of the first person.", "first_details = " + get(f"/person/{FIRST}") + '\nprint(first_details["birthday"])', 'bool(first_details["birthday"])'),
            B_PERSON,
            _then("Get the details of the second person and print who is older.", "second_details = " + get(f"/person/{SECOND}") + '\nprint(min([first_details, second_details], key=lambda person: person["birthday"])["name"])', 'bool(second_details["birthday"]) and first_details["birthday"] != second_details["birthday"]'),
        ),
    ),
    Comparison(
        name="film_or_series", where="dev", type="title", subjects=("movie", "show"),
        questions=("Which came first, the film $a_title or the series $b_title?", "Which is older, the film $a_title or the TV show $b_title?"),
        steps=(A_FILM, _with(B_SHOW, "print which came first.", 'print(first["title"] if first["release_date"] < second["first_air_date"] else second["name"])', 'first["release_date"] != second["first_air_date"]')),
    ),
    Comparison(
        name="acted_in", where="everywhere", type="yes_no", subjects=("movie", "person"), pairs=cast_or_not,
        questions=("Is $b_title in the cast of $a_title?", "Did $b_title act in $a_title?", "Does $b_title appear among the actors of $a_title?"),
        steps=(A_FILM, _then("Get the film's cast and look for the person.", "credits = " + get(f"/movie/{FIRST}/credits") + '\nprint("yes" if $b_query in [member["name"] for member in credits["cast"]] else "no")')),
    ),
    Comparison(
        name="same_director", where="dev", type="yes_no", subjects=("movie", "movie"), pairs=alike_or_not,
        questions=("Do $a_title and $b_title have the same director?", "Were $a_title and $b_title directed by the same person?"),
        steps=(
            A_FILM,
            _then("Get the director of the first film.", "first_crew = " + get(f"/movie/{FIRST}/credits") + '["crew"]\nprint([member["name"] for member in first_crew if member["job"] == "Director"])'),
            B_FILM,
            _then("Get the director of the second film and compare.", "second_crew = " + get(f"/movie/{SECOND}/credits") + '["crew"]\nboth = {member["id"] for member in first_crew if member["job"] == "Director"} & {member["id"] for member in second_crew if member["job"] == "Director"}\nprint("yes" if both else "no")'),
        ),
    ),
    Comparison(
        name="films_together", where="test", type="list", subjects=("person", "person"), pairs=worked_together,
        questions=("In which films did $a_title and $b_title both act?", "List the films that have both $a_title and $b_title in the cast."),
        steps=(
            A_PERSON,
            _then("Get the films of the first person.", "first_films = {film[\"title\"] for film in " + get(f"/person/{FIRST}/movie_credits") + '["cast"]}\nprint(len(first_films))'),
            B_PERSON,
            _then("Get the films of the second person and print what they share.", "second_films = {film[\"title\"] for film in " + get(f"/person/{SECOND}/movie_credits") + '["cast"]}\nprint(sorted(first_films & second_films))', "len(first_films & second_films) < 6"),
        ),
    ),
    Comparison(
        name="discover_together", where="everywhere", type="title", subjects=("person", "person"), pairs=worked_together,
        questions=("What is the most popular film with both $a_title and $b_title in the cast?", "Which is the most popular film in which $a_title and $b_title act together?"),
        steps=(
            A_PERSON,
            B_PERSON,
            _then("List the films with both, most popular first, and print the first.", "found = " + get("/discover/movie", "{\"with_cast\": f\"{first['id']},{second['id']}\", \"sort_by\": \"popularity.desc\"}") + '\nprint(found["results"][0]["title"])', 'found["total_results"] > 0'),
        ),
    ),
    Comparison(
        name="director_years", where="test", type="number", subjects=("movie", "person"),
        questions=("By how many years does the birth year of the director of $a_title precede that of $b_title?", "$b_title was born in a later year than the director of $a_title. How many years later?"),
        steps=(
            A_FILM,
            _then("Get the film's credits and take the director.", "credits = " + get(f"/movie/{FIRST}/credits") + '\ndirector = next(member for member in credits["crew"] if member["job"] == "Director")\nprint(director["id"], director["name"])', 'sum(member["job"] == "Director" for member in credits["crew"]) == 1'),
            _then("Get the director's details.", "first_details = " + get("/person/{director['id']}") + '\nprint(first_details["birthday"])', 'bool(first_details["birthday"])'),
            B_PERSON,
            _then("Get the other person's details and print the difference in years.", "second_details = " + get(f"/person/{SECOND}") + '\nprint(int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]))', 'bool(second_details["birthday"]) and int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]) > 0'),
        ),
    ),
    Comparison(
        name="lead_years", where="test", type="number", subjects=("show", "person"),
        questions=("By how many years does the birth year of the lead actor of $a_title precede that of $b_title?", "$b_title was born in a later year than the lead actor of $a_title. How many years later?"),
        steps=(
            A_SHOW,
            _then("Get the series' cast and take the first.", "lead = " + get(f"/tv/{FIRST}/credits") + '["cast"][0]\nprint(lead["id"], lead["name"])'),
            _then("Get the lead's details.", "first_details = " + get("/person/{lead['id']}") + '\nprint(first_details["birthday"])', 'bool(first_details["birthday"])'),
            B_PERSON,
            _then("Get the other person's details and print the difference in years.", "second_details = " + get(f"/person/{SECOND}") + '\nprint(int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]))', 'bool(second_details["birthday"]) and int(second_details["birthday"][:4]) - int(first_details["birthday"][:4]) > 0'),
        ),
    ),
    Comparison(
        name="more_parts", where="test", type="number", subjects=("collection", "collection"),
        questions=("How many more films than the $b_title does the $a_title have?", "By how many films is the $a_title longer than the $b_title?"),
        steps=(
            _find("first", "a", "collection", "collection"),
            _then("Get the films of the first collection.", "first_parts = " + get(f"/collection/{FIRST}") + '["parts"]\nprint(len(first_parts))'),
            _find("second", "b", "collection", "collection"),
            _then("Get the films of the second collection and print the difference.", "second_parts = " + get(f"/collection/{SECOND}") + '["parts"]\nprint(len(first_parts) - len(second_parts))', "len(first_parts) > len(second_parts)"),
        ),
    ),
)
