import pytest
from pydantic import ValidationError

from codetool.errors import ConfigError, MissingError
from codetool.tools.allow_list import AllowList
from codetool.tools.secrets import Keyring, Secret

FILMS = {"films.test": Secret(env="FILM_KEY", header="Authorization", query=None, format="Bearer {key}")}
TWO_KEYS = {"FILM_KEY": "abcd1234", "B_KEY": "abcd1234efgh5678"}


@pytest.mark.parametrize("written", ["abc/def+12", "abc%2Fdef%2B12", "abc/def%2B12", r"abc\/def+12"])
def test_every_spelling_of_a_key_is_cut_out(written: str) -> None:
    keyring = Keyring(FILMS, {"FILM_KEY": "abc/def+12"})
    assert keyring.scrub(f"<{written}>") == "<[secret]>"


def test_a_key_too_short_to_tell_from_a_word_is_left_in_texts() -> None:
    assert Keyring(FILMS, {"FILM_KEY": "at"}).scrub("latest") == "latest"


def test_a_keyring_does_not_show_its_keys() -> None:
    assert "12345678" not in repr(Keyring(FILMS, {"FILM_KEY": "12345678"}))


def test_a_key_that_no_header_can_carry_is_named_by_its_variable_only() -> None:
    with pytest.raises(ConfigError, match="FILM_KEY") as caught:
        Keyring(FILMS, {"FILM_KEY": "se\ncret99"})
    assert "cret99" not in str(caught.value)


def test_all_missing_variables_are_named_at_once() -> None:
    secrets = FILMS | {"b.test": Secret(env="B_KEY", header=None, query="key", format="{key}")}
    with pytest.raises(MissingError, match=r"B_KEY.*FILM_KEY"):
        Keyring(secrets, {}).require(AllowList.from_hosts(["films.test", "b.test", "free.test"]))


@pytest.mark.parametrize("changed", [{"header": None}, {"format": "Bearer"}])
def test_a_secret_that_could_not_be_carried_is_refused(changed: dict[str, str | None]) -> None:
    with pytest.raises(ValidationError, match="FILM_KEY"):
        Secret(**{"env": "FILM_KEY", "header": "X", "query": None, "format": "{key}"} | changed)  # type: ignore[arg-type]


def test_a_key_may_hold_a_scheme_and_a_space() -> None:
    keyring = Keyring(FILMS, {"FILM_KEY": "Token 12345678"})
    keyring.require(AllowList.from_hosts(["films.test"]))
    assert keyring.scrub("sent: Token 12345678") == "sent: [secret]"


def test_a_key_that_begins_with_another_is_cut_out_whole() -> None:
    keyring = Keyring(FILMS | {"b.test": Secret(env="B_KEY", header="X", query=None, format="{key}")}, TWO_KEYS)
    assert keyring.scrub("abcd1234 and abcd1234efgh5678") == "[secret] and [secret]"
