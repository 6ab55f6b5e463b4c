"""Attributes of people, collections, companies, networks, seasons, episodes and lists.

Those of films and series are in `title_attributes`.
"""

from __future__ import annotations

from codetool.benchmarks.task_generator.answer_access import (
    attribute_of_record,
    attribute_of_response,
    describe_attribute,
)
from codetool.benchmarks.task_generator.grammar import TODAY, Attribute, write_request
from codetool.benchmarks.task_generator.title_attributes import MOVIE, SHOW
from codetool.types import AnswerType

ALL_RELEASED = f'max(film["release_date"] for film in films) <= "{TODAY}"'
FILMS = 'films = [film for film in found["{0}"] if film["release_date"]{1}]\n'


def _make_filmography_attribute(
    name: str, type: AnswerType, role: str, only: str, value: str, questions: tuple[str, ...], guard: str
) -> Attribute:
    return Attribute(
        name=name,
        source="person",
        type=type,
        questions=questions,
        thought=f"Get the person's film credits and print the {describe_attribute(name)}.",
        code="found = "
        + write_request("/person/{$x['id']}/movie_credits")
        + "\n"
        + FILMS.format(role, only)
        + f"print({value})",
        guard=f"len(films) > 3 and {ALL_RELEASED} and {guard}",
    )


ONLY_DIRECTED = ' and film["job"] == "Director"'
LATEST = 'max(films, key=lambda film: film["release_date"])'
FIRST = 'min(films, key=lambda film: film["release_date"])'
LATEST_IS_UNIQUE = 'sum(film["release_date"] == max(f["release_date"] for f in films) for film in films) == 1'
FIRST_IS_UNIQUE = 'sum(film["release_date"] == min(f["release_date"] for f in films) for film in films) == 1'
BEST_IS_UNIQUE = 'sum(film["vote_average"] == max(f["vote_average"] for f in films) for film in films) == 1'

PERSON = (
    Attribute(
        name="person_name",
        source="person",
        type="name",
        questions=("Who is $x?", "Name $x.", "What is the name of $x?"),
        thought="Print the name.",
        code='print($x["name"])',
    ),
    attribute_of_response(
        "birthday",
        "person",
        "date",
        "/person/{$x['id']}",
        'found["birthday"]',
        (
            "When was $x born?",
            "What is the date of birth of $x?",
            "On what day was $x born?",
            "Tell me the birthday of $x.",
        ),
        'bool(found["birthday"])',
    ),
    attribute_of_response(
        "birthplace",
        "person",
        "name",
        "/person/{$x['id']}",
        'found["place_of_birth"]',
        ("Where was $x born?", "What is the place of birth of $x?", "In which place was $x born?"),
        'bool(found["place_of_birth"])',
    ),
    attribute_of_response(
        "deathday",
        "person",
        "date",
        "/person/{$x['id']}",
        'found["deathday"]',
        ("When did $x die?", "On what date did $x die?", "What is the day of death of $x?"),
        'bool(found["deathday"])',
    ),
    attribute_of_record(
        "department",
        "person",
        "name",
        "known_for_department",
        ("Which department is $x known for?", "In which department does $x mainly work?"),
        "True",
    ),
    attribute_of_response(
        "portrait",
        "person",
        "url",
        "/person/{$x['id']}/images",
        'found["profiles"][0]["file_path"]',
        (
            "What does $x look like? Give me the first profile image.",
            "Give me the first photo of $x.",
            "I need the first profile picture of $x.",
        ),
        'len(found["profiles"]) > 0',
    ),
    attribute_of_response(
        "portraits",
        "person",
        "number",
        "/person/{$x['id']}/images",
        'len(found["profiles"])',
        ("How many profile images of $x are there?", "Count the photos of $x."),
        'len(found["profiles"]) > 1',
    ),
    _make_filmography_attribute(
        "film_count",
        "number",
        "cast",
        "",
        "len(films)",
        (
            "In how many films did $x act?",
            "How many films list $x in the cast?",
            "Count the films with $x as an actor.",
        ),
        "True",
    ),
    _make_filmography_attribute(
        "directed_count",
        "number",
        "crew",
        ONLY_DIRECTED,
        "len(films)",
        (
            "How many films has $x directed?",
            "Count the films directed by $x.",
            "What is the number of films that $x directed?",
        ),
        "True",
    ),
    _make_filmography_attribute(
        "directed_titles",
        "list",
        "crew",
        ONLY_DIRECTED,
        '[film["title"] for film in films]',
        ("Which films did $x direct?", "List all films directed by $x.", "Name the films that $x directed."),
        "len(films) < 7",
    ),
    _make_filmography_attribute(
        "latest_title",
        "title",
        "cast",
        "",
        LATEST + '["title"]',
        ("What is the latest film with $x?", "Which is the most recent film that $x acted in?"),
        LATEST_IS_UNIQUE,
    ),
    _make_filmography_attribute(
        "earliest_title",
        "title",
        "cast",
        "",
        FIRST + '["title"]',
        ("What is the earliest film with $x?", "In which film did $x act first?"),
        FIRST_IS_UNIQUE,
    ),
    _make_filmography_attribute(
        "latest_directed_title",
        "title",
        "crew",
        ONLY_DIRECTED,
        LATEST + '["title"]',
        ("What is the latest film directed by $x?", "Which film did $x direct most recently?"),
        LATEST_IS_UNIQUE,
    ),
    _make_filmography_attribute(
        "best_directed_title",
        "title",
        "crew",
        ONLY_DIRECTED,
        'max(films, key=lambda film: film["vote_average"])["title"]',
        ("What is the highest rated film directed by $x?", "Which film that $x directed has the best rating?"),
        BEST_IS_UNIQUE,
    ),
    _make_filmography_attribute(
        "directed_in_order",
        "ordered_list",
        "crew",
        ONLY_DIRECTED,
        '[film["title"] for film in sorted(films, key=lambda film: film["release_date"])]',
        (
            "List the films that $x directed from the oldest to the newest.",
            "In order of release, which films did $x direct?",
        ),
        'len(films) < 8 and len({film["release_date"] for film in films}) == len(films)',
    ),
    attribute_of_response(
        "show_titles",
        "person",
        "list",
        "/person/{$x['id']}/tv_credits",
        'sorted({show["name"] for show in found["cast"]})',
        ("Which TV shows has $x acted in?", "List the series with $x in the cast."),
        '1 < len({show["name"] for show in found["cast"]}) < 6',
    ),
    attribute_of_response(
        "famous_show_title",
        "person",
        "title",
        "/person/{$x['id']}/tv_credits",
        'max(found["cast"], key=lambda show: show["popularity"])["name"]',
        ("What is the most popular TV show with $x?", "Which is the most popular series that $x acted in?"),
        'len(found["cast"]) > 0 and sum(show["popularity"] == max(s["popularity"] for s in found["cast"]) for show in found["cast"]) == 1',
    ),
    Attribute(
        name="known_for",
        source="person",
        type="list",
        questions=(
            "Which works is $x known for?",
            "What is $x known for? Name the titles.",
            "List the titles that $x is best known for.",
        ),
        thought="Print the titles the person is known for.",
        code='print([work.get("title") or work["name"] for work in $x["known_for"]])',
        guard='len($x["known_for"]) > 1',
    ),
)

PARTS = "parts = " + write_request("/collection/{$x['id']}") + '["parts"]\n'


def _make_collection_attribute(
    name: str, type: AnswerType, value: str, questions: tuple[str, ...], guard: str
) -> Attribute:
    return Attribute(
        name=name,
        source="collection",
        type=type,
        questions=questions,
        thought=f"Get the films of the collection and print the {describe_attribute(name)}.",
        code=PARTS + f"print({value})",
        guard=f"{ALL_RELEASED.replace('films', 'parts')} and {guard}",
    )


RELEASE_DATES_DIFFER = 'len({film["release_date"] for film in parts}) == len(parts)'

COLLECTION = (
    _make_collection_attribute(
        "part_count",
        "number",
        "len(parts)",
        ("How many films are there in $x?", "Of how many films does $x consist?", "Count the films in $x."),
        "True",
    ),
    _make_collection_attribute(
        "part_titles",
        "list",
        '[film["title"] for film in parts]',
        ("Which films belong to $x?", "List the films of $x.", "Name all films in $x."),
        "len(parts) < 9",
    ),
    _make_collection_attribute(
        "parts_in_order",
        "ordered_list",
        '[film["title"] for film in sorted(parts, key=lambda film: film["release_date"])]',
        ("List the films of $x in order of release.", "From first to last, which films make up $x?"),
        f"2 < len(parts) < 9 and {RELEASE_DATES_DIFFER}",
    ),
    _make_collection_attribute(
        "first_part_title",
        "title",
        'min(parts, key=lambda film: film["release_date"])["title"]',
        ("Which film of $x came out first?", "What was the first film of $x?"),
        RELEASE_DATES_DIFFER,
    ),
    _make_collection_attribute(
        "last_part_date",
        "date",
        'max(film["release_date"] for film in parts)',
        ("When was the latest film of $x released?", "On what date did the newest film in $x come out?"),
        RELEASE_DATES_DIFFER,
    ),
    _make_collection_attribute(
        "first_part_date",
        "date",
        'min(film["release_date"] for film in parts)',
        ("When was the first film of $x released?", "On what date did $x begin in cinemas?"),
        RELEASE_DATES_DIFFER,
    ),
    _make_collection_attribute(
        "best_part_title",
        "title",
        'max(parts, key=lambda film: film["vote_average"])["title"]',
        ("Which film of $x has the best rating?", "What is the highest rated film in $x?"),
        'sum(film["vote_average"] == max(f["vote_average"] for f in parts) for film in parts) == 1',
    ),
    _make_collection_attribute(
        "part_years",
        "number",
        'int(max(film["release_date"] for film in parts)[:4]) - int(min(film["release_date"] for film in parts)[:4])',
        (
            "How many years lie between the release years of the first and the latest film of $x?",
            "Over how many years, by release year, does $x extend?",
        ),
        "len(parts) > 2",
    ),
    attribute_of_record(
        "collection_poster",
        "collection",
        "url",
        "poster_path",
        ("Give me the poster of $x.", "What is the path of the main poster of $x?"),
        "True",
    ),
    attribute_of_response(
        "collection_backdrop",
        "collection",
        "url",
        "/collection/{$x['id']}/images",
        'found["backdrops"][0]["file_path"]',
        ("Give me the first backdrop image of $x.", "What is the first backdrop stored for $x?"),
        'len(found["backdrops"]) > 0',
    ),
)

COMPANY = (
    attribute_of_response(
        "headquarters",
        "company",
        "name",
        "/company/{$x['id']}",
        'found["headquarters"]',
        ("Where is the headquarters of $x?", "Where does $x have its headquarters?", "In which place is $x based?"),
        'bool(found["headquarters"])',
    ),
    attribute_of_response(
        "company_homepage",
        "company",
        "url",
        "/company/{$x['id']}",
        'found["homepage"]',
        ("What is the homepage of $x?", "Give me the website of $x."),
        'bool(found["homepage"])',
    ),
    attribute_of_response(
        "company_logo",
        "company",
        "url",
        "/company/{$x['id']}/images",
        'found["logos"][0]["file_path"]',
        (
            "What does the logo of $x look like? Give me the first one.",
            "Give me the first logo of $x.",
            "I need the first logo stored for $x.",
        ),
        'len(found["logos"]) > 0',
    ),
    attribute_of_response(
        "company_logos",
        "company",
        "number",
        "/company/{$x['id']}/images",
        'len(found["logos"])',
        ("How many logos of $x are stored?", "Count the logos of $x."),
        'len(found["logos"]) > 1',
    ),
    attribute_of_record(
        "company_country",
        "company",
        "name",
        "origin_country",
        ("Which country code is given for $x?", "What is the country code of $x?"),
        'bool($x["origin_country"])',
    ),
    Attribute(
        name="company_films",
        source="company",
        type="number",
        questions=(
            "How many films by $x are in the catalogue?",
            "How many films did $x produce, by the catalogue's count?",
        ),
        thought="List the company's films and print how many there are.",
        code="found = "
        + write_request("/discover/movie", '{"with_companies": $x["id"]}')
        + '\nprint(found["total_results"])',
        guard='found["total_results"] > 1',
    ),
    Attribute(
        name="company_film_title",
        source="company",
        type="title",
        questions=("What is the most popular film made by $x?", "Which film by $x is the most popular?"),
        thought="List the company's films, most popular first, and print the first.",
        code="found = "
        + write_request("/discover/movie", '{"with_companies": $x["id"], "sort_by": "popularity.desc"}')
        + '\nprint(found["results"][0]["title"])',
        guard='found["total_results"] > 1',
    ),
)

NETWORK = (
    attribute_of_response(
        "network_headquarters",
        "network",
        "name",
        "/network/{$x['id']}",
        'found["headquarters"]',
        ("Where is the headquarters of $x?", "Where is $x based?"),
        'bool(found["headquarters"])',
    ),
    attribute_of_response(
        "network_homepage",
        "network",
        "url",
        "/network/{$x['id']}",
        'found["homepage"]',
        ("What is the homepage of $x?", "Give me the website of $x."),
        'bool(found["homepage"])',
    ),
    attribute_of_response(
        "network_country",
        "network",
        "name",
        "/network/{$x['id']}",
        'found["origin_country"]',
        ("Which country code is given for $x?", "What is the country code of $x?"),
        'bool(found["origin_country"])',
    ),
    attribute_of_response(
        "network_logo",
        "network",
        "url",
        "/network/{$x['id']}/images",
        'found["logos"][0]["file_path"]',
        ("Give me the first logo of $x.", "What does the logo of $x look like? The first one will do."),
        'len(found["logos"]) > 0',
    ),
)

SEASON_PATH = "/tv/{$x['id']}/season/$season"
EPISODE_PATH = SEASON_PATH + "/episode/$episode"

SEASON = (
    attribute_of_response(
        "season_date",
        "season",
        "date",
        SEASON_PATH,
        'found["air_date"]',
        ("When did $x start?", "On what date did $x begin to air?", "What is the air date of $x?"),
        'bool(found["air_date"])',
    ),
    attribute_of_response(
        "season_length",
        "season",
        "number",
        SEASON_PATH,
        'len(found["episodes"])',
        ("How many episodes are in $x?", "How many episodes does $x have?", "Count the episodes of $x."),
    ),
    attribute_of_response(
        "season_titles",
        "season",
        "ordered_list",
        SEASON_PATH,
        '[episode["name"] for episode in found["episodes"]]',
        (
            "List the episode titles of $x in order.",
            "What are the titles of the episodes of $x, from first to last?",
            "Name all episodes of $x, first to last.",
        ),
        'len(found["episodes"]) < 9 and not any(e["name"].startswith("Episode ") for e in found["episodes"])',
    ),
    attribute_of_response(
        "season_first_title",
        "season",
        "title",
        SEASON_PATH,
        'found["episodes"][0]["name"]',
        ("What is the title of the first episode of $x?", "Name the opening episode of $x."),
        'not found["episodes"][0]["name"].startswith("Episode ")',
    ),
    attribute_of_response(
        "season_last_title",
        "season",
        "title",
        SEASON_PATH,
        'found["episodes"][-1]["name"]',
        ("What is the title of the last episode of $x?", "Name the finale of $x."),
        'not found["episodes"][-1]["name"].startswith("Episode ")',
    ),
    attribute_of_response(
        "season_poster",
        "season",
        "url",
        SEASON_PATH + "/images",
        'found["posters"][0]["file_path"]',
        ("Give me the first poster of $x.", "Show me a poster of $x, the first one listed."),
        'len(found["posters"]) > 0',
    ),
    attribute_of_response(
        "season_lead",
        "season",
        "name",
        SEASON_PATH + "/credits",
        'found["cast"][0]["name"]',
        ("Who is first in the cast list of $x?", "Who has top billing in $x?"),
        'len(found["cast"]) > 1',
    ),
)

EPISODE = (
    attribute_of_response(
        "episode_title",
        "episode",
        "title",
        EPISODE_PATH,
        'found["name"]',
        ("What is the title of $x?", "What is $x called?", "Give me the title of $x."),
        'not found["name"].startswith("Episode ")',
    ),
    attribute_of_response(
        "episode_date",
        "episode",
        "date",
        EPISODE_PATH,
        'found["air_date"]',
        ("When did $x air?", "On what date was $x first shown?", "What is the air date of $x?"),
        'bool(found["air_date"])',
    ),
    attribute_of_response(
        "episode_still",
        "episode",
        "url",
        EPISODE_PATH + "/images",
        'found["stills"][0]["file_path"]',
        (
            "Give me the first still of $x.",
            "I want a picture from $x; take the first still.",
            "Show me the first still image of $x.",
        ),
        'len(found["stills"]) > 0',
    ),
    attribute_of_response(
        "episode_director_name",
        "episode",
        "name",
        EPISODE_PATH + "/credits",
        'next(member["name"] for member in found["crew"] if member["job"] == "Director")',
        ("Who directed $x?", "Who is the director of $x?", "Name the director of $x."),
        'sum(member["job"] == "Director" for member in found["crew"]) == 1',
    ),
    attribute_of_response(
        "episode_guests",
        "episode",
        "list",
        EPISODE_PATH + "/credits",
        '[guest["name"] for guest in found["guest_stars"]]',
        ("Who are the guest stars of $x?", "List the guest stars in $x."),
        '0 < len(found["guest_stars"]) < 6',
    ),
)

RECORD = (
    Attribute(
        name="review_title",
        source="record",
        type="title",
        questions=("What title is $x about?", "Which work does $x discuss?"),
        thought="Print the title.",
        code='print($x["media_title"])',
    ),
    Attribute(
        name="review_author",
        source="record",
        type="name",
        questions=("Who wrote $x?", "Who is the author of $x?"),
        thought="Print the author.",
        code='print($x["author"])',
    ),
    Attribute(
        name="credit_person",
        source="record",
        type="name",
        questions=("Whose is $x?", "Which person does $x belong to?"),
        thought="Print the person's name.",
        code='print($x["person"]["name"])',
    ),
    Attribute(
        name="credit_title",
        source="record",
        type="title",
        questions=("For which title was $x given?", "Which work is $x from?"),
        thought="Print the work's title.",
        code='print($x["media"].get("title") or $x["media"]["name"])',
    ),
    Attribute(
        name="credit_department",
        source="record",
        type="name",
        questions=("Which department is recorded for $x?", "To which department does $x belong?"),
        thought="Print the department.",
        code='print($x["department"])',
    ),
)

LISTS = (
    Attribute(
        name="movie_genre_id",
        source="list",
        type="number",
        questions=("Which id does the film genre $x have?", "What number stands for the film genre $x?"),
        thought="Print the genre's id.",
        code='print(next(genre["id"] for genre in genres if genre["name"] == $genre_text))',
    ),
    Attribute(
        name="show_genre_id",
        source="list",
        type="number",
        questions=("Which id does the TV genre $x have?", "What number stands for the TV genre $x?"),
        thought="Print the genre's id.",
        code='print(next(genre["id"] for genre in genres if genre["name"] == $genre_text))',
    ),
)

ATTRIBUTES = {
    attribute.name: attribute
    for attribute in (*MOVIE, *SHOW, *PERSON, *COLLECTION, *COMPANY, *NETWORK, *SEASON, *EPISODE, *RECORD, *LISTS)
}
