"""Attributes of films and series."""

from __future__ import annotations

from codetool.benchmarks.task_generator.answer_access import attribute_of_record, attribute_of_response
from codetool.benchmarks.task_generator.grammar import Attribute, Kind, write_request

WORD = {"movie": "film", "show": "series"}
ROUTE = {"movie": "movie", "show": "tv"}
PREFIX = {"movie": "", "show": "show_"}
KEYWORDS = {"movie": "keywords", "show": "results"}


def _make_basic_attributes(source: Kind) -> tuple[Attribute, ...]:
    """Make the attributes of a film or series that its record and its details contain."""
    route = f"/{ROUTE[source]}/{{$x['id']}}"
    prefix = PREFIX[source]
    return (
        attribute_of_record(
            f"{prefix}rating",
            source,
            "number",
            "vote_average",
            (
                "What is the average rating of $x?",
                "How is $x rated on average by users?",
                "Tell me the user score of $x.",
            ),
            "True",
        ),
        attribute_of_record(
            f"{prefix}poster",
            source,
            "url",
            "poster_path",
            ("Give me the poster of $x.", "I need the path of the main poster of $x.", "Show me the poster for $x."),
            "True",
        ),
        attribute_of_response(
            f"{prefix}genres",
            source,
            "list",
            route,
            '[genre["name"] for genre in found["genres"]]',
            ("Which genres does $x belong to?", "What are the genres of $x?", "List the genres given for $x."),
        ),
        attribute_of_response(
            f"{prefix}countries",
            source,
            "list",
            route,
            '[country["name"] for country in found["production_countries"]]',
            (
                "Which countries produced $x?",
                "In which countries was $x produced?",
                "Name the production countries of $x.",
            ),
            'len(found["production_countries"]) > 1',
        ),
        attribute_of_response(
            f"{prefix}companies",
            source,
            "list",
            route,
            '[company["name"] for company in found["production_companies"]]',
            ("Which companies produced $x?", "List the production companies of $x.", "What studios made $x?"),
            '1 < len(found["production_companies"]) < 5',
        ),
    )


def _make_list_attributes(source: Kind) -> tuple[Attribute, ...]:
    """Make the attributes of a film or series that lists contain: keywords, reviews, similar titles, images."""
    route = f"/{ROUTE[source]}/{{$x['id']}}"
    prefix = PREFIX[source]
    return (
        attribute_of_response(
            f"{prefix}keywords",
            source,
            "list",
            route + "/keywords",
            f'[keyword["name"] for keyword in found["{KEYWORDS[source]}"]]',
            ("Which keywords is $x tagged with?", "List the keywords of $x.", "What keywords are attached to $x?"),
            f'2 < len(found["{KEYWORDS[source]}"]) < 8',
        ),
        attribute_of_response(
            f"{prefix}keyword_count",
            source,
            "number",
            route + "/keywords",
            f'len(found["{KEYWORDS[source]}"])',
            ("How many keywords does $x have?", "Count the keywords that $x is tagged with."),
            f'len(found["{KEYWORDS[source]}"]) > 1',
        ),
        attribute_of_response(
            f"{prefix}reviews",
            source,
            "number",
            route + "/reviews",
            'found["total_results"]',
            (
                "How many reviews does $x have?",
                "How many user reviews of $x are there?",
                "Count the reviews written about $x.",
            ),
            'found["total_results"] > 1',
        ),
        attribute_of_response(
            f"{prefix}reviewer",
            source,
            "name",
            route + "/reviews",
            'found["results"][0]["author"]',
            ("Who wrote the first review listed for $x?", "Name the author of the first review of $x."),
            'len(found["results"]) > 1',
        ),
        *_make_related_attributes(source),
    )


def _make_related_attributes(source: Kind) -> tuple[Attribute, ...]:
    """Make the attributes of a film or series about similar titles and images."""
    route = f"/{ROUTE[source]}/{{$x['id']}}"
    word, title = WORD[source], "title" if source == "movie" else "name"
    prefix = PREFIX[source]
    return (
        attribute_of_response(
            f"{prefix}resembles",
            source,
            "title",
            route + "/similar",
            f'found["results"][0]["{title}"]',
            (
                f"Which {word} comes first on the list of titles similar to $x?",
                f"What is the first {word} listed as similar to $x?",
            ),
        ),
        attribute_of_response(
            f"{prefix}recommends",
            source,
            "ordered_list",
            route + "/recommendations",
            f'[item["{title}"] for item in found["results"][:3]]',
            (
                "What are the first three recommendations for someone who liked $x, in order?",
                "I enjoyed $x. Give me the top three recommendations in their order.",
            ),
            'len(found["results"]) > 3',
        ),
        attribute_of_response(
            f"{prefix}backdrop",
            source,
            "url",
            route + "/images",
            'found["backdrops"][0]["file_path"]',
            ("Give me the first backdrop image of $x.", "I want a wallpaper: what is the first backdrop of $x?"),
            'len(found["backdrops"]) > 0',
        ),
        attribute_of_response(
            f"{prefix}posters",
            source,
            "number",
            route + "/images",
            'len(found["posters"])',
            ("How many posters are stored for $x?", "Count the posters of $x."),
            'len(found["posters"]) > 1',
        ),
    )


def _make_people_attributes(source: Kind) -> tuple[Attribute, ...]:
    """Make the attributes of a film or series about its cast."""
    route = f"/{ROUTE[source]}/{{$x['id']}}"
    prefix = PREFIX[source]
    return (
        attribute_of_response(
            f"{prefix}top_three",
            source,
            "ordered_list",
            route + "/credits",
            '[member["name"] for member in found["cast"][:3]]',
            (
                "Who are the first three actors in the cast list of $x, in order?",
                "Name the top three billed actors of $x in their order.",
            ),
            'len(found["cast"]) > 3',
        ),
        attribute_of_response(
            f"{prefix}character",
            source,
            "name",
            route + "/credits",
            'found["cast"][0]["character"]',
            (
                "Which character does the top-billed actor of $x play?",
                "What is the name of the lead's character in $x?",
            ),
            'len(found["cast"][0]["character"]) > 2 and "/" not in found["cast"][0]["character"]',
        ),
        attribute_of_response(
            f"{prefix}lead_name",
            source,
            "name",
            route + "/credits",
            'found["cast"][0]["name"]',
            (
                "Who plays the lead in $x?",
                "Who is the lead actor of $x?",
                "Who has top billing in $x?",
                "Which actor stars in $x?",
            ),
        ),
        attribute_of_response(
            f"{prefix}second_name",
            source,
            "name",
            route + "/credits",
            'found["cast"][1]["name"]',
            ("Who is billed second in $x?", "Name the actor in second place in the cast list of $x."),
        ),
    )


def _make_crew_attribute(name: str, job: str, questions: tuple[str, ...]) -> Attribute:
    return attribute_of_response(
        name,
        "movie",
        "name",
        "/movie/{$x['id']}/credits",
        f'next(member["name"] for member in found["crew"] if member["job"] == "{job}")',
        questions,
        f'sum(member["job"] == "{job}" for member in found["crew"]) == 1',
    )


MOVIE = (
    *_make_basic_attributes("movie"),
    *_make_list_attributes("movie"),
    *_make_people_attributes("movie"),
    Attribute(
        name="title",
        source="movie",
        type="title",
        questions=("What is $x?", "What is the title of $x?", "Tell me the title of $x.", "Name $x."),
        thought="Print its title.",
        code='print($x["title"])',
    ),
    attribute_of_record(
        "release_date",
        "movie",
        "date",
        "release_date",
        ("When was $x released?", "On what date did $x come out?", "What is the release date of $x?"),
        'bool($x["release_date"])',
    ),
    attribute_of_record(
        "original_title",
        "movie",
        "title",
        "original_title",
        ("What is the original title of $x?", "Under which title did $x come out in its own language?"),
        '$x["original_title"] != $x["title"] and $x["original_title"].isascii()',
    ),
    _make_crew_attribute(
        "director_name",
        "Director",
        ("Who directed $x?", "Who is the director of $x?", "Name the person who directed $x."),
    ),
    _make_crew_attribute(
        "composer_name",
        "Original Music Composer",
        ("Who composed the music for $x?", "Who wrote the score of $x?", "Name the composer of $x."),
    ),
    attribute_of_response(
        "runtime",
        "movie",
        "number",
        "/movie/{$x['id']}",
        'found["runtime"]',
        ("How long is $x in minutes?", "What is the running time of $x, in minutes?", "How many minutes does $x run?"),
    ),
    attribute_of_response(
        "budget",
        "movie",
        "number",
        "/movie/{$x['id']}",
        'found["budget"]',
        ("What was the budget of $x in dollars?", "How many dollars did it cost to make $x?"),
        'found["budget"] > 0',
    ),
    attribute_of_response(
        "revenue",
        "movie",
        "number",
        "/movie/{$x['id']}",
        'found["revenue"]',
        ("How much money did $x earn in dollars?", "What was the revenue of $x in dollars?"),
        'found["revenue"] > 0',
    ),
    attribute_of_response(
        "series_name",
        "movie",
        "title",
        "/movie/{$x['id']}",
        'found["belongs_to_collection"]["name"]',
        (
            "Which collection does $x belong to?",
            "What is the name of the collection that contains $x?",
            "Of which film collection is $x a part?",
        ),
        'bool(found["belongs_to_collection"])',
    ),
    attribute_of_response(
        "studio_name",
        "movie",
        "name",
        "/movie/{$x['id']}",
        'found["production_companies"][0]["name"]',
        ("Which production company is listed first for $x?", "Name the first production company of $x."),
        'len(found["production_companies"]) > 0',
    ),
    Attribute(
        name="certification",
        source="movie",
        type="name",
        questions=(
            "What is the US certification of $x?",
            "Which age rating did $x get in the United States?",
            "How was $x certified in the US?",
        ),
        thought="Get the release dates and print the certification of the US.",
        code="found = "
        + write_request("/movie/{$x['id']}/release_dates")
        + '\nus = next(country for country in found["results"] if country["iso_3166_1"] == "US")\nprint(us["release_dates"][0]["certification"])',
        guard='len(us["release_dates"][0]["certification"]) > 1',
    ),
    Attribute(
        name="us_release",
        source="movie",
        type="date",
        questions=("When was $x released in the United States?", "On what date did $x come out in the US?"),
        thought="Get the release dates and print the day in the US.",
        code="found = "
        + write_request("/movie/{$x['id']}/release_dates")
        + '\nus = next(country for country in found["results"] if country["iso_3166_1"] == "US")\nprint(us["release_dates"][0]["release_date"][:10])',
        guard='len(us["release_dates"]) == 1',
    ),
)

SHOW = (
    *_make_basic_attributes("show"),
    *_make_list_attributes("show"),
    *_make_people_attributes("show"),
    Attribute(
        name="show_title",
        source="show",
        type="title",
        questions=("What is $x?", "What is the name of $x?", "Tell me the name of $x.", "Name $x."),
        thought="Print its name.",
        code='print($x["name"])',
    ),
    attribute_of_record(
        "first_air_date",
        "show",
        "date",
        "first_air_date",
        (
            "When did $x first air?",
            "On what date did $x start?",
            "When was the first episode of $x broadcast?",
            "What is the premiere date of $x?",
        ),
        'bool($x["first_air_date"])',
    ),
    attribute_of_response(
        "seasons",
        "show",
        "number",
        "/tv/{$x['id']}",
        'found["number_of_seasons"]',
        ("How many seasons does $x have?", "How many seasons of $x are there?", "Count the seasons of $x."),
    ),
    attribute_of_response(
        "episodes",
        "show",
        "number",
        "/tv/{$x['id']}",
        'found["number_of_episodes"]',
        (
            "How many episodes does $x have in total?",
            "How many episodes of $x were made?",
            "Over all seasons, how many episodes of $x are there?",
        ),
    ),
    attribute_of_response(
        "last_air_date",
        "show",
        "date",
        "/tv/{$x['id']}",
        'found["last_air_date"]',
        (
            "When was $x last on the air?",
            "On what date did the last episode of $x air?",
            "What is the last air date of $x?",
        ),
        'found["status"] in ("Ended", "Canceled")',
    ),
    attribute_of_response(
        "status",
        "show",
        "name",
        "/tv/{$x['id']}",
        'found["status"]',
        ("What is the production status of $x?", "Which status is recorded for $x?"),
    ),
    attribute_of_response(
        "homepage",
        "show",
        "url",
        "/tv/{$x['id']}",
        'found["homepage"]',
        ("What is the homepage of $x?", "Give me the official website of $x.", "Where is $x on the web?"),
        'bool(found["homepage"])',
    ),
    attribute_of_response(
        "show_runtime",
        "show",
        "number",
        "/tv/{$x['id']}",
        'found["episode_run_time"][0]',
        ("How long is an episode of $x in minutes?", "How many minutes does one episode of $x run?"),
    ),
    attribute_of_response(
        "network_name",
        "show",
        "name",
        "/tv/{$x['id']}",
        'found["networks"][0]["name"]',
        ("Which network airs $x?", "On which network did $x run?", "What network is behind $x?"),
        'len(found["networks"]) == 1',
    ),
    attribute_of_response(
        "creator_name",
        "show",
        "name",
        "/tv/{$x['id']}",
        'found["created_by"][0]["name"]',
        ("Who created $x?", "Who is the creator of $x?", "Name the person who created $x."),
        'len(found["created_by"]) == 1',
    ),
    attribute_of_response(
        "last_season_date",
        "show",
        "date",
        "/tv/{$x['id']}",
        'found["seasons"][-1]["air_date"]',
        ("When did the latest season of $x begin?", "On what date did the most recent season of $x start?"),
        'len(found["seasons"]) > 1',
    ),
)
