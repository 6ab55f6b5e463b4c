import pytest

from codetool.errors import ConfigError
from codetool.stages.words import check, sorted_out


def test_hydras_own_flags_and_their_values_are_not_options() -> None:
    flags, words = sorted_out(["-m", "search=beam", "--cfg", "job", "--config-dir", "x", "seed=1"])
    assert flags == ["-m", "--cfg", "job", "--config-dir", "x"]
    assert words == ["search=beam", "seed=1"]


def test_good_words_compose() -> None:
    [config] = check(["benchmark=tmdb", "search=beam", "search.width=3"])
    assert config.search.width == 3


def test_each_value_of_a_comma_list_is_composed() -> None:
    widths = [config.search.width for config in check(["search=beam,beam", "search.width=1,2,3"], multirun=True)]
    assert sorted(set(widths)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("search=bean", ["search=bean", "Allowed: beam, best_of_n", "Did you mean beam?"]),
        ("search.widht=3", ["search.widht=3", "search has:", "Did you mean search.width?"]),
        ("serch=beam", ["serch=beam", "Did you mean search?"]),
        ("benchmark=", ["benchmark="]),
        ("beam", ["beam", "name=value"]),
        ("polcy.model=x", ["polcy.model=x", "Did you mean policy.model?"]),
        ("hydra/launcher=jblib", ["hydra/launcher=jblib"]),
        ("search.n=2,3", ["search.n=2,3", "add -m"]),
    ],
)
def test_a_wrong_word_is_named_with_what_is_allowed(word: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        check([word])
    for text in expected:
        assert text in str(error.value)
    assert "Traceback" not in str(error.value)


def test_all_wrong_words_come_at_once_and_right_ones_are_not_blamed() -> None:
    with pytest.raises(ConfigError) as error:
        check(["search=bean", "policy=openai", "policy.modle=x", "seed=1", "polcy=openai"])
    lines = str(error.value).splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["polcy=openai", "policy.modle=x", "search=bean"]


def test_wrong_values_are_told_beside_wrong_words() -> None:
    with pytest.raises(ConfigError) as error:
        check(["serach=2", "policy.temperature=hot", "limit=0"])
    for text in ("serach=2", "policy.temperature='hot'", "limit=0"):
        assert text in str(error.value)


def test_every_value_of_a_comma_list_is_checked() -> None:
    with pytest.raises(ConfigError, match="search=graedy.*Did you mean greedy"):
        check(["search=beam,graedy"], multirun=True)


def test_a_word_that_only_another_option_knows_is_found_under_that_option() -> None:
    [config] = check(["policy=openai", "policy.model=m"])
    assert config.policy.model == "m"
