"""The templates of `tmdb_verified`, and in which splits each occurs.

A chain is written as its parts: `movie > director > birthday` asks for the birthday of a film's director. Train shows
every part, most of them alone or in a few pairs; what only dev or only test has is composed of parts that train shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from codetool.benchmarks.task_generator.attributes import ATTRIBUTES
from codetool.benchmarks.task_generator.comparisons import COMPARISONS, Comparison
from codetool.benchmarks.task_generator.entry_points import ENTRIES
from codetool.benchmarks.task_generator.grammar import Attribute, Entry, Hop
from codetool.benchmarks.task_generator.relations import HOPS
from codetool.benchmarks.task_generator.subjects import Split
from codetool.types import AnswerType

Where = Literal["everywhere", "dev", "test"]
"""`everywhere`: train, dev and test, each with subjects of its own; else that split alone."""

EVERYWHERE = """
movie > release_date
movie > rating
movie > poster
movie > original_title
movie > director_name
movie > composer_name
movie > lead_name
movie > second_name
movie > character
movie > top_three
movie > runtime
movie > budget
movie > revenue
movie > genres
movie > series_name
movie > studio_name
movie > companies
movie > countries
movie > certification
movie > us_release
movie > keywords
movie > keyword_count
movie > reviews
movie > reviewer
movie > resembles
movie > recommends
movie > backdrop
movie > posters
movie_of_year > director_name
movie_of_year > runtime
show > first_air_date
show > show_rating
show > show_poster
show > seasons
show > episodes
show > last_air_date
show > status
show > homepage
show > show_runtime
show > network_name
show > creator_name
show > show_genres
show > show_lead_name
show > show_character
show > show_keywords
show > show_reviews
show > show_reviewer
show > show_resembles
show > show_recommends
show > show_backdrop
season > season_date
season > season_length
season > season_titles
season > season_last_title
season > season_poster
season > season_lead
episode > episode_title
episode > episode_date
episode > episode_director_name
episode > episode_guests
episode > episode_still
person > birthday
person > birthplace
person > deathday
person > department
person > portrait
person > film_count
person > directed_count
person > directed_titles
person > latest_title
person > earliest_title
person > best_directed_title
person > show_titles
person > famous_show_title
person > known_for
collection > part_count
collection > part_titles
collection > first_part_title
collection > last_part_date
collection > collection_poster
collection > collection_backdrop
company > headquarters
company > company_homepage
company > company_logo
company > company_film_title
popular_movie > title
top_movie > title
playing_movie > title
upcoming_movie > title
trending_movie > title
popular_show > show_title
top_show > show_title
airing_show > show_title
trending_show > show_title
popular_person > person_name
genre_movie > title
language_movie > title
year_show > show_title
review > review_author
credit > credit_person
movie_genres > movie_genre_id
show_genres > show_genre_id
movie > director > portrait
movie > lead > birthplace
movie > studio > company_logo
movie > series > part_count
show > show_lead > birthday
show > network > network_homepage
show > network > network_logo
person > latest_film > runtime
collection > first_part > lead_name
popular_movie > director_name
top_show > creator_name
trending_movie > keywords
movie > similar > release_date
show > show_recommended > seasons
popular_person > birthday
top_movie > lead > portrait
collection > best_part > release_date
person > best_directed > composer_name
movie > director > famous_film > release_date
movie > second > portrait
movie > composer > birthplace
movie > recommended > genres
person > latest_directed > runtime
person > first_directed > release_date
person > best_directed > genres
person > earliest_film > rating
person > famous_film > certification
person > famous_show > first_air_date
show > show_second > birthplace
show > show_similar > first_air_date
show > show_studio > company_logo
show > network > network_country
show > network > network_show > episodes
collection > last_part > rating
company > studio_film > release_date
episode > episode_director > birthplace
upcoming_movie > release_date
playing_movie > runtime
airing_show > network_name
"""

DEV = """
movie > director > birthplace
movie > composer > birthday
movie > lead > film_count
movie > studio > company_homepage
show > show_lead > portrait
show > creator > birthplace
show > network > network_headquarters
person > earliest_film > director_name
collection > last_part > runtime
popular_show > network_name
top_movie > runtime
season > season_first_title
trending_show > show_lead > birthday
movie > director > first_directed > title
"""

TEST = """
movie > director > birthday
movie > lead > birthday
movie > second > birthplace
movie > director > directed_count
movie > director > latest_directed_title
movie > lead > famous_show_title
movie > studio > headquarters
movie > series > first_part_title
movie > similar > director_name
movie > recommended > runtime
show > show_lead > birthplace
show > show_second > birthday
show > creator > birthday
show > show_studio > headquarters
show > show_similar > creator_name
person > latest_film > director_name
person > famous_film > genres
person > famous_show > seasons
collection > first_part > director_name
movie > series > best_part > release_date
collection > last_part > lead_name
company > studio_film > director_name
episode > episode_director > birthday
popular_movie > lead > birthday
popular_show > show_lead > birthplace
trending_movie > director > birthplace
top_show > network > network_headquarters
airing_show > creator_name
playing_movie > director_name
upcoming_movie > lead_name
genre_movie > director_name
popular_person > famous_film > director_name
movie > director > first_directed > release_date
movie > lead > latest_film > director_name
movie > series > last_part > director_name
movie > director > best_directed > runtime
movie > lead > earliest_film > director_name
person > latest_directed > lead > birthday
movie > second > famous_film > runtime
collection > first_part > director > birthday
collection > first_part > lead > birthplace
company > studio_film > director > birthplace
show > network > network_show > show_lead_name
movie > studio > studio_film > director > birthday
collection > first_part > director > latest_directed > lead_name
"""


@dataclass(frozen=True)
class Chain:
    """A template that walks from an entry over hops to an attribute."""

    spelled: str
    """`movie > director > birthday`."""
    where: Where

    @property
    def name(self) -> str:
        """`movie-director-birthday`."""
        return self.spelled.replace(" > ", "-")

    @cached_property
    def entry(self) -> Entry:
        """The way in."""
        return ENTRIES[self._parts[0]]

    @cached_property
    def hops(self) -> tuple[Hop, ...]:
        """The ways on."""
        return tuple(HOPS[name] for name in self._parts[1:-1])

    @cached_property
    def attribute(self) -> Attribute:
        """What is asked for."""
        return ATTRIBUTES[self._parts[-1]]

    @property
    def type(self) -> AnswerType:
        """Type of the answer."""
        return self.attribute.type

    @property
    def _parts(self) -> list[str]:
        return self.spelled.split(" > ")


SPELLED: Mapping[Where, str] = {"everywhere": EVERYWHERE, "dev": DEV, "test": TEST}
CHAINS = tuple(Chain(line, where) for where, text in SPELLED.items() for line in text.strip().split("\n"))
TEMPLATES: tuple[Chain | Comparison, ...] = (*CHAINS, *COMPARISONS)


def occurs(where: Where, split: Split) -> bool:
    """Whether templates of that sort occur in the split."""
    return where in ("everywhere", split)
