"""The check finds nothing in the shipped data, and each of its rules finds what it is for in a damaged small world."""

from datetime import date
from pathlib import Path

import pytest
import yaml
from damages import DAMAGES
from small_world import damage, write

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks.check_data import AS_OF, RULES, check_folder, main
from codetool.tmdb.store import FOLDER, load_store


@pytest.fixture
def world(tmp_path):
    """A small world in which nothing is wrong."""
    write(tmp_path)
    return tmp_path


def found(world, as_of=AS_OF):
    return [str(finding) for finding in check_folder(world, as_of)]


def test_nothing_is_wrong_with_the_shipped_data():
    assert found(FOLDER) == []


def test_nothing_is_wrong_with_the_small_world(world):
    assert found(world) == []


def test_its_today_is_the_replicas():
    text = (Path(__file__).parents[2] / "conf/replica/tmdb.yaml").read_text(encoding="utf-8")
    assert date.fromisoformat(yaml.safe_load(text)["as_of"]) == AS_OF


@pytest.mark.parametrize(
    ("rule", "file", "old", "new", "line"), [(rule, *case) for rule in DAMAGES for case in DAMAGES[rule]]
)
def test_a_rule_finds_its_damage(world, rule, file, old, new, line):
    damage(world, file, old, new)
    (check,) = [check for check in RULES if check.__name__ == rule]
    assert [text for text in map(str, check(Catalog(load_store(world), AS_OF))) if line in text]


def test_every_rule_has_its_damages():
    assert [rule.__name__ for rule in RULES] == [*DAMAGES]


def test_a_film_to_come_needs_no_votes_and_has_no_revenue(world):
    early = date(2003, 1, 1)
    damage(world, "movies.jsonl", '"vote_average": 6, "vote_count": 9', '"vote_average": 0, "vote_count": 0')
    assert not [line for line in found(world, early) if "2 The Lamp II" in line]
    damage(world, "movies.jsonl", '"runtime": 110', '"runtime": 110, "revenue": 8')
    assert "movies.jsonl: 2 The Lamp II: has revenue, but comes out on 2003-05-02 only" in found(world, early)


def test_the_command_prints_each_finding_on_a_line_and_fails(world, capsys):
    assert main(["--data", str(world)]) == 0
    assert capsys.readouterr().out == ""
    damage(world, "movies.jsonl", '"PG"', '"M"')
    damage(world, "movies.jsonl", '"FR"', '"XX"')
    assert main(["--data", str(world)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_command_takes_another_day(world, capsys):
    assert main(["--data", str(world), "--as-of", "2005-01-01"]) == 1
    assert "status: Ended, but it airs after 2005-01-01" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--data", "no/such/folder"], ["--as-of", "someday"]])
def test_a_wrong_argument_is_refused_in_words(arguments, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(arguments)
    assert refusal.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_what_is_found_clean_can_be_loaded(world):
    assert load_store(world).shows[5].seasons[1].episodes == 2
