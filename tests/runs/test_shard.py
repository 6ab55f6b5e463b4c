from collections import Counter

import pytest

from codetool.runs.shard import Shard


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0/4", "numbered from 1 to 4"),
        ("5/4", "numbered from 1 to 4"),
        ("1/0", "from 1 to 10,000"),
        ("1/10001", "from 1 to 10,000"),
        *((value, "write INDEX/COUNT") for value in ("a/b", "1/1e9", "-1/4", "1/4/2", " 1/4", "1/4\n", "٣/4", "", 3)),
        *((value, "write INDEX/COUNT") for value in (True, [1, 4], 0.5, "1/9999999999")),
    ],
)
def test_what_is_no_shard_is_refused_with_what_is_allowed(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shard.parse(value)


def test_every_task_is_in_one_shard_whatever_the_limit() -> None:
    tasks = [f"dev-{number}" for number in range(1600)]
    shards = Shard.parse("3/16").siblings
    owners = [[shard.index for shard in shards if shard.has(task)] for task in tasks]
    assert all(len(owner) == 1 for owner in owners)
    sizes = Counter(owner[0] for owner in owners)
    assert len(sizes) == 16 and 60 < min(sizes.values()) and max(sizes.values()) < 140


def test_the_division_stays_the_same_in_later_versions() -> None:
    assert [task for task in map(str, range(30)) if Shard(2, 5).has(task)] == [
        "2",
        "14",
        "17",
        "18",
        "20",
        "23",
        "25",
        "26",
        "28",
    ]
    assert Shard(1, 1).has("\ud800")  # any text is an id


def test_names_of_folders_are_read_back() -> None:
    assert Shard.parse_name("3-of-16") == Shard(3, 16) and Shard(3, 16).name == "3-of-16"
    assert [Shard.parse_name(name) for name in ("03-of-16", "3/16", "17-of-16", "merge")] == [None] * 4
