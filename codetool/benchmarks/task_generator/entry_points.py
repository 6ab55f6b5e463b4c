"""The ways in: a search by name, a place in one of the service's lists, an id."""

from __future__ import annotations

from codetool.benchmarks.task_generator.grammar import Entry, Kind, get


def _search(kind: Kind, route: str, nouns: tuple[str, ...], word: str, key: str = "name") -> Entry:
    return Entry(
        name=kind,
        kind=kind,
        subjects=kind,
        nouns=nouns,
        thought=f"Find the {word} $subject.",
        code=f"{kind} = " + get(f"/search/{route}", '{"query": $query}') + '["results"][0]',
        guard=f'{kind}["id"] == $id',
    )


def _place(name: str, kind: Kind, path: str, nouns: tuple[str, ...]) -> Entry:
    return Entry(
        name=name,
        kind=kind,
        subjects="place",
        nouns=nouns,
        thought="Get the list and take entry number $place.",
        code=f"{kind} = " + get(path) + '["results"][$index]',
    )


ENTRIES = {
    entry.name: entry
    for entry in (
        _search("movie", "movie", ("the film $title", "the movie $title", '"$title"', "$bare"), "film", "title"),
        _search("show", "tv", ("the series $title", "the TV show $title", '"$title"', "$bare"), "series"),
        _search("person", "person", ("$title",), "person"),
        _search("collection", "collection", ("the $title", "the $series film series", "the $series franchise"), "collection"),
        _search("company", "company", ("$title", "the studio $title", "the company $title"), "company"),
        Entry(
            name="movie_of_year",
            kind="movie",
            subjects="dated_movie",
            nouns=("the $year film $title", "$title ($year)", "the film $title from $year"),
            thought="Find the film $subject of $year.",
            code="movie = " + get("/search/movie", '{"query": $query, "year": $year}') + '["results"][0]',
            guard='movie["id"] == $id',
        ),
        _place("popular_movie", "movie", "/movie/popular", ("the $nth most popular film right now", "the film ranked number $place in popularity", "number $place on the list of popular films")),
        _place("top_movie", "movie", "/movie/top_rated", ("the $nth best rated film of all time", "number $place on the list of top rated films", "the film in $nth place among the top rated")),
        _place("playing_movie", "movie", "/movie/now_playing", ("the $nth film on the now playing list", "number $place among the films now in theaters")),
        _place("upcoming_movie", "movie", "/movie/upcoming", ("the $nth film on the list of upcoming releases", "number $place among the upcoming films")),
        _place("trending_movie", "movie", "/trending/movie/day", ("the $nth most trending film today", "number $place on today's list of trending films")),
        _place("trending_movie_week", "movie", "/trending/movie/week", ("the $nth most trending film this week", "number $place on this week's list of trending films")),
        _place("popular_show", "show", "/tv/popular", ("the $nth most popular TV show", "number $place on the list of popular series", "the series ranked number $place in popularity")),
        _place("top_show", "show", "/tv/top_rated", ("the $nth best rated TV show", "number $place on the list of top rated series")),
        _place("airing_show", "show", "/tv/on_the_air", ("the $nth show on the list of series currently on the air", "number $place among the series on the air this week")),
        _place("trending_show", "show", "/trending/tv/day", ("the $nth most trending TV show today", "number $place on today's list of trending series")),
        _place("trending_show_week", "show", "/trending/tv/week", ("the $nth most trending TV show this week", "number $place on this week's list of trending series")),
        _place("popular_person", "person", "/person/popular", ("the $nth most popular person", "number $place on the list of popular people", "the person ranked number $place in popularity")),
        Entry(
            name="genre_movie",
            kind="movie",
            subjects="genre_year",
            nouns=("the most popular $genre film released in $year", "the $genre film of $year with the highest popularity"),
            before=(
                "Find the id of the genre $genre.",
                "genres = "
                + get("/genre/movie/list")
                + '["genres"]\ngenre_id = next(genre["id"] for genre in genres if genre["name"] == $genre_text)\nprint(genre_id)',
            ),
            thought="List the $genre films of $year, most popular first, and take the first.",
            code="found = "
            + get("/discover/movie", '{"with_genres": genre_id, "primary_release_year": $year, "sort_by": "popularity.desc"}')
            + '\nmovie = found["results"][0]',
            guard='found["total_results"] > 1',
        ),
        Entry(
            name="language_movie",
            kind="movie",
            subjects="language",
            nouns=("the highest rated film whose original language is $language", "the best rated film made in $language"),
            thought="List the films in $language, best rated first, and take the first.",
            code="movie = "
            + get("/discover/movie", '{"with_original_language": $code, "sort_by": "vote_average.desc"}')
            + '["results"][0]',
        ),
        Entry(
            name="year_show",
            kind="show",
            subjects="show_year",
            nouns=("the most popular TV show that started in $year", "the show from $year that is most popular now"),
            thought="List the series that began in $year, most popular first, and take the first.",
            code="show = "
            + get("/discover/tv", '{"first_air_date_year": $year, "sort_by": "popularity.desc"}')
            + '["results"][0]',
        ),
        Entry(
            name="season",
            kind="season",
            subjects="season",
            nouns=("season $season of $bare", "the $nth season of $bare"),
            thought="Find the series $subject.",
            code="show = " + get("/search/tv", '{"query": $query}') + '["results"][0]',
            guard='show["id"] == $id',
        ),
        Entry(
            name="episode",
            kind="episode",
            subjects="episode",
            nouns=("episode $episode of season $season of $bare", "the $episode_nth episode of $bare's $nth season", "season $season, episode $episode of $bare"),
            thought="Find the series $subject.",
            code="show = " + get("/search/tv", '{"query": $query}') + '["results"][0]',
            guard='show["id"] == $id',
        ),
        Entry(name="review", kind="record", subjects="review", nouns=("the review with the id $review",), thought="Get the review.", code="record = " + get("/review/$review")),
        Entry(name="credit", kind="record", subjects="credit", nouns=("the credit with the id $credit",), thought="Get the credit.", code="record = " + get("/credit/$credit")),
        Entry(name="movie_genres", kind="list", subjects="movie_genre", nouns=("$genre",), thought="Get the list of film genres.", code="genres = " + get("/genre/movie/list") + '["genres"]'),
        Entry(name="show_genres", kind="list", subjects="show_genre", nouns=("$genre",), thought="Get the list of TV genres.", code="genres = " + get("/genre/tv/list") + '["genres"]'),
    )
}
