"""The templates of `tmdb_verified`, and the splits in which each occurs.

A chain is written as its parts: `movie > director > birthday` asks for the birthday of a film's director. Train has
every part, most of them alone or in a few pairs. Chains that only dev or test has are compositions of these parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from codetool.benchmarks.task_generator.attributes import ATTRIBUTES
from codetool.benchmarks.task_generator.comparisons import COMPARISONS, Comparison
from codetool.benchmarks.task_generator.entry_points import ENTRY_POINTS
from codetool.benchmarks.task_generator.grammar import Attribute, EntryPoint, Relation
from codetool.benchmarks.task_generator.relations import RELATIONS
from codetool.benchmarks.task_generator.subjects import Split
from codetool.types import AnswerType

Where = Literal["everywhere", "train", "dev", "test"]
"""`everywhere` means train, dev and test, each with subjects of its own; otherwise that split alone. Only compositions,
which no stored split has, are of `train` alone."""

EVERY_SPLIT = """
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

DEV_ONLY = """
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

TEST_ONLY = """
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
    """A template that leads from an entry point over relations to an attribute."""

    notation: str
    """`movie > director > birthday`."""
    where: Where

    @property
    def name(self) -> str:
        """`movie-director-birthday`."""
        return self.notation.replace(" > ", "-")

    @cached_property
    def entry_point(self) -> EntryPoint:
        """The entry point, which finds the subject."""
        return ENTRY_POINTS[self._parts[0]]

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """The relations, in order."""
        return tuple(RELATIONS[name] for name in self._parts[1:-1])

    @cached_property
    def attribute(self) -> Attribute:
        """The attribute that the query asks for."""
        return ATTRIBUTES[self._parts[-1]]

    @property
    def type(self) -> AnswerType:
        """Type of the answer."""
        return self.attribute.type

    @property
    def _parts(self) -> list[str]:
        return self.notation.split(" > ")


CHAINS_BY_SPLIT: Mapping[Where, str] = {"everywhere": EVERY_SPLIT, "dev": DEV_ONLY, "test": TEST_ONLY}
CHAINS = tuple(Chain(line, where) for where, text in CHAINS_BY_SPLIT.items() for line in text.strip().split("\n"))
TEMPLATES: tuple[Chain | Comparison, ...] = (*CHAINS, *COMPARISONS)


def is_in_split(where: Where, split: Split) -> bool:
    """Return whether templates with this `where` occur in the split."""
    return where in ("everywhere", split)
