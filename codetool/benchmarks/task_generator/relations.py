"""Relations between records, such as a film's director or a person's latest film; each takes one call."""

from __future__ import annotations

from codetool.benchmarks.task_generator.grammar import TODAY, Kind, Relation, write_request

ONE_PERSON_HAS_JOB = 'sum(member["job"] == "{0}" for member in credits["crew"]) == 1'
ALL_RELEASED = f'max(film["release_date"] for film in films) <= "{TODAY}"'


def _make_crew_relation(name: str, job: str, nouns: tuple[str, ...]) -> Relation:
    return Relation(
        name=name,
        source="movie",
        kind="person",
        nouns=nouns,
        thought=f"Get the film's credits and take the {name}.",
        code="credits = "
        + write_request("/movie/{$x['id']}/credits")
        + f'\n$y = next(member for member in credits["crew"] if member["job"] == "{job}")',
        guard=ONE_PERSON_HAS_JOB.format(job),
    )


def _make_cast_relation(name: str, source: Kind, route: str, index: int, nouns: tuple[str, ...]) -> Relation:
    word = "film" if source == "movie" else "series"
    return Relation(
        name=name,
        source=source,
        kind="person",
        nouns=nouns,
        thought=f"Get the {word}'s cast and take number {index + 1}.",
        code="$y = " + write_request(f"/{route}/{{$x['id']}}/credits") + f'["cast"][{index}]',
    )


def _make_film_relation(
    name: str, role: str, choice: str, nouns: tuple[str, ...], only: str = "", ties: str = "release_date"
) -> Relation:
    """Make the relation to one film of a person: `choice` is `max` or `min` by the field `ties`, over films of that role."""
    films = f'[film for film in credits["{role}"] if film["release_date"]{only}]'
    return Relation(
        name=name,
        source="person",
        kind="movie",
        nouns=nouns,
        thought=f"Get the person's film credits and choose the {name.replace('_', ' ')}.",
        code="credits = "
        + write_request("/person/{$x['id']}/movie_credits")
        + f"\nfilms = {films}"
        + f'\n$y = {choice}(films, key=lambda film: film["{ties}"])',
        guard=f'len(films) > 3 and {ALL_RELEASED} and sum(film["{ties}"] == $y["{ties}"] for film in films) == 1',
    )


ONLY_DIRECTED = ' and film["job"] == "Director"'

RELATIONS = {
    relation.name: relation
    for relation in (
        _make_crew_relation(
            "director", "Director", ("the director of $x", "the person who directed $x", "whoever directed $x")
        ),
        _make_crew_relation(
            "composer", "Original Music Composer", ("the composer of $x", "the person who wrote the music for $x")
        ),
        _make_cast_relation(
            "lead", "movie", "movie", 0, ("the lead actor of $x", "the star of $x", "the top-billed actor in $x")
        ),
        _make_cast_relation(
            "second",
            "movie",
            "movie",
            1,
            ("the second-billed actor in $x", "the actor in second place in the cast list of $x"),
        ),
        _make_cast_relation(
            "show_lead", "show", "tv", 0, ("the lead actor of $x", "the star of $x", "the top-billed actor in $x")
        ),
        _make_cast_relation(
            "show_second",
            "show",
            "tv",
            1,
            ("the second-billed actor in $x", "the actor listed second in the cast of $x"),
        ),
        Relation(
            name="creator",
            source="show",
            kind="person",
            nouns=("the creator of $x", "the person who created $x"),
            thought="Get the series' details and take its creator.",
            code="details = " + write_request("/tv/{$x['id']}") + '\n$y = details["created_by"][0]',
            guard='len(details["created_by"]) == 1',
        ),
        Relation(
            name="studio",
            source="movie",
            kind="company",
            nouns=("the first production company listed for $x", "the company named first among the producers of $x"),
            thought="Get the film's details and take the first production company.",
            code="$y = " + write_request("/movie/{$x['id']}") + '["production_companies"][0]',
        ),
        Relation(
            name="show_studio",
            source="show",
            kind="company",
            nouns=("the first production company listed for $x", "the company named first among those that made $x"),
            thought="Get the series' details and take the first production company.",
            code="$y = " + write_request("/tv/{$x['id']}") + '["production_companies"][0]',
        ),
        Relation(
            name="network",
            source="show",
            kind="network",
            nouns=("the network that airs $x", "the network behind $x", "the network of $x"),
            thought="Get the series' details and take its network.",
            code="details = " + write_request("/tv/{$x['id']}") + '\n$y = details["networks"][0]',
            guard='len(details["networks"]) == 1',
        ),
        Relation(
            name="series",
            source="movie",
            kind="collection",
            nouns=("the collection that $x belongs to", "the film series that $x is part of"),
            thought="Get the film's details and take its collection.",
            code="$y = " + write_request("/movie/{$x['id']}") + '["belongs_to_collection"]',
            guard="bool($y)",
        ),
        Relation(
            name="similar",
            source="movie",
            kind="movie",
            nouns=("the first film listed as similar to $x", "the film most similar to $x"),
            thought="Get the similar films and take the first.",
            code="$y = " + write_request("/movie/{$x['id']}/similar") + '["results"][0]',
        ),
        Relation(
            name="recommended",
            source="movie",
            kind="movie",
            nouns=("the first film recommended to people who liked $x", "the first recommendation for $x"),
            thought="Get the recommendations and take the first.",
            code="$y = " + write_request("/movie/{$x['id']}/recommendations") + '["results"][0]',
        ),
        Relation(
            name="show_similar",
            source="show",
            kind="show",
            nouns=("the first TV show listed as similar to $x", "the series most similar to $x"),
            thought="Get the similar series and take the first.",
            code="$y = " + write_request("/tv/{$x['id']}/similar") + '["results"][0]',
        ),
        Relation(
            name="show_recommended",
            source="show",
            kind="show",
            nouns=("the first TV show recommended to viewers of $x", "the first recommendation for fans of $x"),
            thought="Get the recommended series and take the first.",
            code="$y = " + write_request("/tv/{$x['id']}/recommendations") + '["results"][0]',
        ),
        _make_film_relation(
            "latest_film", "cast", "max", ("the latest film with $x", "the most recent film with $x in the cast")
        ),
        _make_film_relation(
            "earliest_film", "cast", "min", ("the earliest film with $x", "the first film with $x in the cast")
        ),
        _make_film_relation(
            "latest_directed",
            "crew",
            "max",
            ("the latest film directed by $x", "the most recent film that $x directed"),
            ONLY_DIRECTED,
        ),
        _make_film_relation(
            "first_directed",
            "crew",
            "min",
            ("the first film directed by $x", "the earliest film that $x directed"),
            ONLY_DIRECTED,
        ),
        _make_film_relation(
            "best_directed",
            "crew",
            "max",
            ("the best rated film directed by $x", "the highest rated film that $x directed"),
            ONLY_DIRECTED,
            "vote_average",
        ),
        _make_film_relation(
            "famous_film",
            "cast",
            "max",
            ("the most popular film with $x", "the film with $x that is most popular now"),
            "",
            "popularity",
        ),
        Relation(
            name="famous_show",
            source="person",
            kind="show",
            nouns=("the most popular TV show with $x in the cast", "the most popular series that $x acted in"),
            thought="Get the person's TV credits and choose the most popular series.",
            code="credits = "
            + write_request("/person/{$x['id']}/tv_credits")
            + '\n$y = max(credits["cast"], key=lambda show: show["popularity"])',
            guard='sum(show["popularity"] == $y["popularity"] for show in credits["cast"]) == 1',
        ),
        *(
            Relation(
                name=f"{word}_part",
                source="collection",
                kind="movie",
                nouns=nouns,
                thought=f"Get the films of the collection and choose the {word} one.",
                code="parts = "
                + write_request("/collection/{$x['id']}")
                + f'["parts"]\n$y = {choice}(parts, key=lambda film: film["{key}"])',
                guard=f'{ALL_RELEASED.replace("films", "parts")} and sum(film["{key}"] == $y["{key}"] for film in parts) == 1',
            )
            for word, choice, key, nouns in (
                ("first", "min", "release_date", ("the first film of $x", "the earliest released film in $x")),
                ("last", "max", "release_date", ("the latest film of $x", "the most recently released film in $x")),
                ("best", "max", "vote_average", ("the best rated film of $x", "the highest rated film in $x")),
            )
        ),
        Relation(
            name="studio_film",
            source="company",
            kind="movie",
            nouns=("the most popular film made by $x", "the most popular film that $x produced"),
            thought="List the company's films, most popular first, and take the first.",
            code="found = "
            + write_request("/discover/movie", '{"with_companies": $x["id"], "sort_by": "popularity.desc"}')
            + '\n$y = found["results"][0]',
            guard='found["total_results"] > 1',
        ),
        Relation(
            name="network_show",
            source="network",
            kind="show",
            nouns=("the most popular series of $x", "the most popular TV show on $x"),
            thought="List the network's series, most popular first, and take the first.",
            code="found = "
            + write_request("/discover/tv", '{"with_networks": $x["id"], "sort_by": "popularity.desc"}')
            + '\n$y = found["results"][0]',
            guard='found["total_results"] > 1',
        ),
        Relation(
            name="episode_director",
            source="episode",
            kind="person",
            nouns=("the director of $x", "the person who directed $x"),
            thought="Get the episode's credits and take the director.",
            code="credits = "
            + write_request("/tv/{$x['id']}/season/$season/episode/$episode/credits")
            + '\n$y = next(member for member in credits["crew"] if member["job"] == "Director")',
            guard=ONE_PERSON_HAS_JOB.format("Director"),
        ),
    )
}
