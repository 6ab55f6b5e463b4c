"""The facts to ask for, by the kind of record that has them; those of films and series stand in `title_attributes.py`."""

from __future__ import annotations

from codetool.benchmarks.task_generator.answer_access import detail, known, label
from codetool.benchmarks.task_generator.grammar import TODAY, Attribute, get
from codetool.benchmarks.task_generator.title_attributes import MOVIE, SHOW
from codetool.types import AnswerType

OUT = f'max(film["release_date"] for film in films) <= "{TODAY}"'
FILMS = 'films = [film for film in found["{0}"] if film["release_date"]{1}]\n'


def _filmography(
    name: str, type: AnswerType, role: str, only: str, value: str, questions: tuple[str, ...], guard: str
) -> Attribute:
    return Attribute(
        name=name, source="person", type=type, questions=questions,
        thought=f"Get the person's film credits and print the {label(name)}.",
        code="found = " + get("/person/{$x['id']}/movie_credits") + "\n" + FILMS.format(role, only) + f"print({value})",
        guard=f"len(films) > 3 and {OUT} and {guard}",
    )


DIRECTED = ' and film["job"] == "Director"'
LATEST = 'max(films, key=lambda film: film["release_date"])'
FIRST = 'min(films, key=lambda film: film["release_date"])'
ONE_LATEST = 'sum(film["release_date"] == max(f["release_date"] for f in films) for film in films) == 1'
ONE_FIRST = 'sum(film["release_date"] == min(f["release_date"] for f in films) for film in films) == 1'
ONE_BEST = 'sum(film["vote_average"] == max(f["vote_average"] for f in films) for film in films) == 1'

PERSON = (
    Attribute(
        name="person_name", source="person", type="name",
        questions=("Who is $x?", "Name $x.", "What is the name of $x?"),
        thought="Print the name.", code='print($x["name"])',
    ),
    detail("birthday", "person", "date", "/person/{$x['id']}", 'found["birthday"]', ("When was $x born?", "What is the date of birth of $x?", "On what day was $x born?", "Tell me the birthday of $x."), 'bool(found["birthday"])'),
    detail("birthplace", "person", "name", "/person/{$x['id']}", 'found["place_of_birth"]', ("Where was $x born?", "What is the place of birth of $x?", "In which place was $x born?"), 'bool(found["place_of_birth"])'),
    detail("deathday", "person", "date", "/person/{$x['id']}", 'found["deathday"]', ("When did $x die?", "On what date did $x die?", "What is the day of death of $x?"), 'bool(found["deathday"])'),
    known("department", "person", "name", "known_for_department", ("Which department is $x known for?", "In which department does $x mainly work?"), "True"),
    detail("portrait", "person", "url", "/person/{$x['id']}/images", 'found["profiles"][0]["file_path"]', ("What does $x look like? Give me the first profile image.", "Give me the first photo of $x.", "I need the first profile picture of $x."), 'len(found["profiles"]) > 0'),
    detail("portraits", "person", "number", "/person/{$x['id']}/images", 'len(found["profiles"])', ("How many profile images of $x are there?", "Count the photos of $x."), 'len(found["profiles"]) > 1'),
    _filmography("film_count", "number", "cast", "", "len(films)", ("In how many films did $x act?", "How many films list $x in the cast?", "Count the films with $x as an actor."), "True"),
    _filmography("directed_count", "number", "crew", DIRECTED, "len(films)", ("How many films has $x directed?", "Count the films directed by $x.", "What is the number of films that $x directed?"), "True"),
    _filmography("directed_titles", "list", "crew", DIRECTED, '[film["title"] for film in films]', ("Which films did $x direct?", "List all films directed by $x.", "Name the films that $x directed."), "len(films) < 7"),
    _filmography("latest_title", "title", "cast", "", LATEST + '["title"]', ("What is the latest film with $x?", "Which is the most recent film that $x acted in?"), ONE_LATEST),
    _filmography("earliest_title", "title", "cast", "", FIRST + '["title"]', ("What is the earliest film with $x?", "In which film did $x act first?"), ONE_FIRST),
    _filmography("latest_directed_title", "title", "crew", DIRECTED, LATEST + '["title"]', ("What is the latest film directed by $x?", "Which film did $x direct most recently?"), ONE_LATEST),
    _filmography("best_directed_title", "title", "crew", DIRECTED, 'max(films, key=lambda film: film["vote_average"])["title"]', ("What is the highest rated film directed by $x?", "Which film that $x directed has the best rating?"), ONE_BEST),
    _filmography("directed_in_order", "ordered_list", "crew", DIRECTED, '[film["title"] for film in sorted(films, key=lambda film: film["release_date"])]', ("List the films that $x directed from the oldest to the newest.", "In order of release, which films did $x direct?"), 'len(films) < 8 and len({film["release_date"] for film in films}) == len(films)'),
    detail("show_titles", "person", "list", "/person/{$x['id']}/tv_credits", 'sorted({show["name"] for show in found["cast"]})', ("Which TV shows has $x acted in?", "List the series with $x in the cast."), '1 < len({show["name"] for show in found["cast"]}) < 6'),
    detail("famous_show_title", "person", "title", "/person/{$x['id']}/tv_credits", 'max(found["cast"], key=lambda show: show["popularity"])["name"]', ("What is the most popular TV show with $x?", "Which is the most popular series that $x acted in?"), 'len(found["cast"]) > 0 and sum(show["popularity"] == max(s["popularity"] for s in found["cast"]) for show in found["cast"]) == 1'),
    Attribute(
        name="known_for", source="person", type="list",
        questions=("Which works is $x known for?", "What is $x known for? Name the titles.", "List the titles that $x is best known for."),
        thought="Print the titles the person is known for.",
        code='print([work.get("title") or work["name"] for work in $x["known_for"]])',
        guard='len($x["known_for"]) > 1',
    ),
)

PARTS = "parts = " + get("/collection/{$x['id']}") + '["parts"]\n'


def _parts(name: str, type: AnswerType, value: str, questions: tuple[str, ...], guard: str) -> Attribute:
    return Attribute(
        name=name, source="collection", type=type, questions=questions,
        thought=f"Get the films of the collection and print the {label(name)}.",
        code=PARTS + f"print({value})", guard=f"{OUT.replace('films', 'parts')} and {guard}",
    )


DAYS = 'len({film["release_date"] for film in parts}) == len(parts)'

COLLECTION = (
    _parts("part_count", "number", "len(parts)", ("How many films are there in $x?", "Of how many films does $x consist?", "Count the films in $x."), "True"),
    _parts("part_titles", "list", '[film["title"] for film in parts]', ("Which films belong to $x?", "List the films of $x.", "Name all films in $x."), "len(parts) < 9"),
    _parts("parts_in_order", "ordered_list", '[film["title"] for film in sorted(parts, key=lambda film: film["release_date"])]', ("List the films of $x in order of release.", "From first to last, which films make up $x?"), f"2 < len(parts) < 9 and {DAYS}"),
    _parts("first_part_title", "title", 'min(parts, key=lambda film: film["release_date"])["title"]', ("Which film of $x came out first?", "What was the first film of $x?"), DAYS),
    _parts("last_part_date", "date", 'max(film["release_date"] for film in parts)', ("When was the latest film of $x released?", "On what date did the newest film in $x come out?"), DAYS),
    _parts("first_part_date", "date", 'min(film["release_date"] for film in parts)', ("When was the first film of $x released?", "On what date did $x begin in cinemas?"), DAYS),
    _parts("best_part_title", "title", 'max(parts, key=lambda film: film["vote_average"])["title"]', ("Which film of $x has the best rating?", "What is the highest rated film in $x?"), 'sum(film["vote_average"] == max(f["vote_average"] for f in parts) for film in parts) == 1'),
    _parts("part_years", "number", 'int(max(film["release_date"] for film in parts)[:4]) - int(min(film["release_date"] for film in parts)[:4])', ("How many years lie between the release years of the first and the latest film of $x?", "Over how many years, by release year, does $x extend?"), "len(parts) > 2"),
    known("collection_poster", "collection", "url", "poster_path", ("Give me the poster of $x.", "What is the path of the main poster of $x?"), "True"),
    detail("collection_backdrop", "collection", "url", "/collection/{$x['id']}/images", 'found["backdrops"][0]["file_path"]', ("Give me the first backdrop image of $x.", "What is the first backdrop stored for $x?"), 'len(found["backdrops"]) > 0'),
)

COMPANY = (
    detail("headquarters", "company", "name", "/company/{$x['id']}", 'found["headquarters"]', ("Where is the headquarters of $x?", "Where does $x have its headquarters?", "In which place is $x based?"), 'bool(found["headquarters"])'),
    detail("company_homepage", "company", "url", "/company/{$x['id']}", 'found["homepage"]', ("What is the homepage of $x?", "Give me the website of $x."), 'bool(found["homepage"])'),
    detail("company_logo", "company", "url", "/company/{$x['id']}/images", 'found["logos"][0]["file_path"]', ("What does the logo of $x look like? Give me the first one.", "Give me the first logo of $x.", "I need the first logo stored for $x."), 'len(found["logos"]) > 0'),
    detail("company_logos", "company", "number", "/company/{$x['id']}/images", 'len(found["logos"])', ("How many logos of $x are stored?", "Count the logos of $x."), 'len(found["logos"]) > 1'),
    known("company_country", "company", "name", "origin_country", ("Which country code is given for $x?", "What is the country code of $x?"), 'bool($x["origin_country"])'),
    Attribute(
        name="company_films", source="company", type="number",
        questions=("How many films by $x are in the catalogue?", "How many films did $x produce, by the catalogue's count?"),
        thought="List the company's films and print how many there are.",
        code="found = " + get("/discover/movie", '{"with_companies": $x["id"]}') + '\nprint(found["total_results"])',
        guard='found["total_results"] > 1',
    ),
    Attribute(
        name="company_film_title", source="company", type="title",
        questions=("What is the most popular film made by $x?", "Which film by $x is the most popular?"),
        thought="List the company's films, most popular first, and print the first.",
        code="found = " + get("/discover/movie", '{"with_companies": $x["id"], "sort_by": "popularity.desc"}') + '\nprint(found["results"][0]["title"])',
        guard='found["total_results"] > 1',
    ),
)

NETWORK = (
    detail("network_headquarters", "network", "name", "/network/{$x['id']}", 'found["headquarters"]', ("Where is the headquarters of $x?", "Where is $x based?"), 'bool(found["headquarters"])'),
    detail("network_homepage", "network", "url", "/network/{$x['id']}", 'found["homepage"]', ("What is the homepage of $x?", "Give me the website of $x."), 'bool(found["homepage"])'),
    detail("network_country", "network", "name", "/network/{$x['id']}", 'found["origin_country"]', ("Which country code is given for $x?", "What is the country code of $x?"), 'bool(found["origin_country"])'),
    detail("network_logo", "network", "url", "/network/{$x['id']}/images", 'found["logos"][0]["file_path"]', ("Give me the first logo of $x.", "What does the logo of $x look like? The first one will do."), 'len(found["logos"]) > 0'),
)

S = "/tv/{$x['id']}/season/$season"
EP = S + "/episode/$episode"

SEASON = (
    detail("season_date", "season", "date", S, 'found["air_date"]', ("When did $x start?", "On what date did $x begin to air?", "What is the air date of $x?"), 'bool(found["air_date"])'),
    detail("season_length", "season", "number", S, 'len(found["episodes"])', ("How many episodes are in $x?", "How many episodes does $x have?", "Count the episodes of $x.")),
    detail("season_titles", "season", "ordered_list", S, '[episode["name"] for episode in found["episodes"]]', ("List the episode titles of $x in order.", "What are the titles of the episodes of $x, from first to last?", "Name all episodes of $x, first to last."), 'len(found["episodes"]) < 9 and not any(e["name"].startswith("Episode ") for e in found["episodes"])'),
    detail("season_first_title", "season", "title", S, 'found["episodes"][0]["name"]', ("What is the title of the first episode of $x?", "Name the opening episode of $x."), 'not found["episodes"][0]["name"].startswith("Episode ")'),
    detail("season_last_title", "season", "title", S, 'found["episodes"][-1]["name"]', ("What is the title of the last episode of $x?", "Name the finale of $x."), 'not found["episodes"][-1]["name"].startswith("Episode ")'),
    detail("season_poster", "season", "url", S + "/images", 'found["posters"][0]["file_path"]', ("Give me the first poster of $x.", "Show me a poster of $x, the first one listed."), 'len(found["posters"]) > 0'),
    detail("season_lead", "season", "name", S + "/credits", 'found["cast"][0]["name"]', ("Who is first in the cast list of $x?", "Who has top billing in $x?"), 'len(found["cast"]) > 1'),
)

EPISODE = (
    detail("episode_title", "episode", "title", EP, 'found["name"]', ("What is the title of $x?", "What is $x called?", "Give me the title of $x."), 'not found["name"].startswith("Episode ")'),
    detail("episode_date", "episode", "date", EP, 'found["air_date"]', ("When did $x air?", "On what date was $x first shown?", "What is the air date of $x?"), 'bool(found["air_date"])'),
    detail("episode_still", "episode", "url", EP + "/images", 'found["stills"][0]["file_path"]', ("Give me the first still of $x.", "I want a picture from $x; take the first still.", "Show me the first still image of $x."), 'len(found["stills"]) > 0'),
    detail("episode_director_name", "episode", "name", EP + "/credits", 'next(member["name"] for member in found["crew"] if member["job"] == "Director")', ("Who directed $x?", "Who is the director of $x?", "Name the director of $x."), 'sum(member["job"] == "Director" for member in found["crew"]) == 1'),
    detail("episode_guests", "episode", "list", EP + "/credits", '[guest["name"] for guest in found["guest_stars"]]', ("Who are the guest stars of $x?", "List the guest stars in $x."), '0 < len(found["guest_stars"]) < 6'),
)

RECORD = (
    Attribute(name="review_title", source="record", type="title", questions=("What title is $x about?", "Which work does $x discuss?"), thought="Print the title.", code='print($x["media_title"])'),
    Attribute(name="review_author", source="record", type="name", questions=("Who wrote $x?", "Who is the author of $x?"), thought="Print the author.", code='print($x["author"])'),
    Attribute(name="credit_person", source="record", type="name", questions=("Whose is $x?", "Which person does $x belong to?"), thought="Print the person's name.", code='print($x["person"]["name"])'),
    Attribute(name="credit_title", source="record", type="title", questions=("For which title was $x given?", "Which work is $x from?"), thought="Print the work's title.", code='print($x["media"].get("title") or $x["media"]["name"])'),
    Attribute(name="credit_department", source="record", type="name", questions=("Which department is recorded for $x?", "To which department does $x belong?"), thought="Print the department.", code='print($x["department"])'),
)

LISTS = (
    Attribute(name="movie_genre_id", source="list", type="number", questions=("Which id does the film genre $x have?", "What number stands for the film genre $x?"), thought="Print the genre's id.", code='print(next(genre["id"] for genre in genres if genre["name"] == $genre_text))'),
    Attribute(name="show_genre_id", source="list", type="number", questions=("Which id does the TV genre $x have?", "What number stands for the TV genre $x?"), thought="Print the genre's id.", code='print(next(genre["id"] for genre in genres if genre["name"] == $genre_text))'),
)

ATTRIBUTES = {
    attribute.name: attribute
    for attribute in (*MOVIE, *SHOW, *PERSON, *COLLECTION, *COMPANY, *NETWORK, *SEASON, *EPISODE, *RECORD, *LISTS)
}
