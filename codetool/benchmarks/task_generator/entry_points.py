"""Entry points of chains: a search by name, a position in one of the service's lists, or an id."""

from __future__ import annotations

from codetool.benchmarks.task_generator.grammar import EntryPoint, Kind, write_request


def _make_search(kind: Kind, route: str, nouns: tuple[str, ...], word: str, key: str = "name") -> EntryPoint:
    return EntryPoint(
        name=kind,
        kind=kind,
        subjects=kind,
        nouns=nouns,
        thought=f"Find the {word} $subject.",
        code=f"{kind} = " + write_request(f"/search/{route}", '{"query": $query}') + '["results"][0]',
        guard=f'{kind}["id"] == $id',
    )


def _make_list_position(name: str, kind: Kind, path: str, nouns: tuple[str, ...]) -> EntryPoint:
    return EntryPoint(
        name=name,
        kind=kind,
        subjects="place",
        nouns=nouns,
        thought="Get the list and take entry number $place.",
        code=f"{kind} = " + write_request(path) + '["results"][$index]',
    )


ENTRY_POINTS = {
    entry_point.name: entry_point
    for entry_point in (
        _make_search("movie", "movie", ("the film $title", "the movie $title", '"$title"', "$bare"), "film", "title"),
        _make_search("show", "tv", ("the series $title", "the TV show $title", '"$title"', "$bare"), "series"),
        _make_search("person", "person", ("$title",), "person"),
        _make_search(
            "collection", "collection", ("the $title", "the $series film series", "the $series franchise"), "collection"
        ),
        _make_search("company", "company", ("$title", "the studio $title", "the company $title"), "company"),
        EntryPoint(
            name="movie_of_year",
            kind="movie",
            subjects="dated_movie",
            nouns=("the $year film $title", "$title ($year)", "the film $title from $year"),
            thought="Find the film $subject of $year.",
            code="movie = " + write_request("/search/movie", '{"query": $query, "year": $year}') + '["results"][0]',
            guard='movie["id"] == $id',
        ),
        _make_list_position(
            "popular_movie",
            "movie",
            "/movie/popular",
            (
                "the $nth most popular film right now",
                "the film ranked number $place in popularity",
                "number $place on the list of popular films",
            ),
        ),
        _make_list_position(
            "top_movie",
            "movie",
            "/movie/top_rated",
            (
                "the $nth best rated film of all time",
                "number $place on the list of top rated films",
                "the film in $nth place among the top rated",
            ),
        ),
        _make_list_position(
            "playing_movie",
            "movie",
            "/movie/now_playing",
            ("the $nth film on the now playing list", "number $place among the films now in theaters"),
        ),
        _make_list_position(
            "upcoming_movie",
            "movie",
            "/movie/upcoming",
            ("the $nth film on the list of upcoming releases", "number $place among the upcoming films"),
        ),
        _make_list_position(
            "trending_movie",
            "movie",
            "/trending/movie/day",
            ("the $nth most trending film today", "number $place on today's list of trending films"),
        ),
        _make_list_position(
            "trending_movie_week",
            "movie",
            "/trending/movie/week",
            ("the $nth most trending film this week", "number $place on this week's list of trending films"),
        ),
        _make_list_position(
            "popular_show",
            "show",
            "/tv/popular",
            (
                "the $nth most popular TV show",
                "number $place on the list of popular series",
                "the series ranked number $place in popularity",
            ),
        ),
        _make_list_position(
            "top_show",
            "show",
            "/tv/top_rated",
            ("the $nth best rated TV show", "number $place on the list of top rated series"),
        ),
        _make_list_position(
            "airing_show",
            "show",
            "/tv/on_the_air",
            (
                "the $nth show on the list of series currently on the air",
                "number $place among the series on the air this week",
            ),
        ),
        _make_list_position(
            "trending_show",
            "show",
            "/trending/tv/day",
            ("the $nth most trending TV show today", "number $place on today's list of trending series"),
        ),
        _make_list_position(
            "trending_show_week",
            "show",
            "/trending/tv/week",
            ("the $nth most trending TV show this week", "number $place on this week's list of trending series"),
        ),
        _make_list_position(
            "popular_person",
            "person",
            "/person/popular",
            (
                "the $nth most popular person",
                "number $place on the list of popular people",
                "the person ranked number $place in popularity",
            ),
        ),
        EntryPoint(
            name="genre_movie",
            kind="movie",
            subjects="genre_year",
            nouns=(
                "the most popular $genre film released in $year",
                "the $genre film of $year with the highest popularity",
            ),
            before=(
                "Find the id of the genre $genre.",
                "genres = "
                + write_request("/genre/movie/list")
                + '["genres"]\ngenre_id = next(genre["id"] for genre in genres if genre["name"] == $genre_text)\nprint(genre_id)',
            ),
            thought="List the $genre films of $year, most popular first, and take the first.",
            code="found = "
            + write_request(
                "/discover/movie",
                '{"with_genres": genre_id, "primary_release_year": $year, "sort_by": "popularity.desc"}',
            )
            + '\nmovie = found["results"][0]',
            guard='found["total_results"] > 1',
        ),
        EntryPoint(
            name="language_movie",
            kind="movie",
            subjects="language",
            nouns=(
                "the highest rated film whose original language is $language",
                "the best rated film made in $language",
            ),
            thought="List the films in $language, best rated first, and take the first.",
            code="movie = "
            + write_request("/discover/movie", '{"with_original_language": $code, "sort_by": "vote_average.desc"}')
            + '["results"][0]',
        ),
        EntryPoint(
            name="year_show",
            kind="show",
            subjects="show_year",
            nouns=("the most popular TV show that started in $year", "the show from $year that is most popular now"),
            thought="List the series that began in $year, most popular first, and take the first.",
            code="show = "
            + write_request("/discover/tv", '{"first_air_date_year": $year, "sort_by": "popularity.desc"}')
            + '["results"][0]',
        ),
        EntryPoint(
            name="season",
            kind="season",
            subjects="season",
            nouns=("season $season of $bare", "the $nth season of $bare"),
            thought="Find the series $subject.",
            code="show = " + write_request("/search/tv", '{"query": $query}') + '["results"][0]',
            guard='show["id"] == $id',
        ),
        EntryPoint(
            name="episode",
            kind="episode",
            subjects="episode",
            nouns=(
                "episode $episode of season $season of $bare",
                "the $episode_nth episode of $bare's $nth season",
                "season $season, episode $episode of $bare",
            ),
            thought="Find the series $subject.",
            code="show = " + write_request("/search/tv", '{"query": $query}') + '["results"][0]',
            guard='show["id"] == $id',
        ),
        EntryPoint(
            name="review",
            kind="record",
            subjects="review",
            nouns=("the review with the id $review",),
            thought="Get the review.",
            code="record = " + write_request("/review/$review"),
        ),
        EntryPoint(
            name="credit",
            kind="record",
            subjects="credit",
            nouns=("the credit with the id $credit",),
            thought="Get the credit.",
            code="record = " + write_request("/credit/$credit"),
        ),
        EntryPoint(
            name="movie_genres",
            kind="list",
            subjects="movie_genre",
            nouns=("$genre",),
            thought="Get the list of film genres.",
            code="genres = " + write_request("/genre/movie/list") + '["genres"]',
        ),
        EntryPoint(
            name="show_genres",
            kind="list",
            subjects="show_genre",
            nouns=("$genre",),
            thought="Get the list of TV genres.",
            code="genres = " + write_request("/genre/tv/list") + '["genres"]',
        ),
    )
}
