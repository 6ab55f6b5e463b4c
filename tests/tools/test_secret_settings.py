"""How keys for other hosts are written on a command line, and what is said of other spellings."""

import pytest
from broker_world import settings
from pydantic import ValidationError

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.credentials.api_keys import read_key
from codetool.errors import ConfigError
from codetool.tmdb.replica import TMDBReplica
from codetool.tools.secrets import Keyring, Secret
from codetool.tools.toolbench.proxy import ToolBenchProxyConfig

PASTED = "sk_live_0123456789abcdef"


def keyring(*words: str) -> Keyring:
    [composed] = compose_all(words)
    secrets = validate(composed).tools.secrets
    return Keyring(secrets, {secret.env: f"value-of-{secret.env}" for secret in secrets.values()})


SPELLINGS: dict[tuple[str, ...], tuple[dict[str, str], dict[str, str]]] = {
    ("+tools.secrets.mine.host=api.example.com", "+tools.secrets.mine.env=KEY"): (
        {"Authorization": "Bearer value-of-KEY"},
        {},
    ),
    ("+tools.secrets.mine.host=api.example.com", "+tools.secrets.mine.env=KEY", "+tools.secrets.mine.query=key"): (
        {},
        {"key": "value-of-KEY"},
    ),
    ("+tools.secrets.api.example.com.env=KEY", "+tools.secrets.api.example.com.header=X-Key"): (
        {"X-Key": "value-of-KEY"},
        {},
    ),
    (
        "+tools.secrets.a={host: api.example.com, env: A}",
        "+tools.secrets.b={host: api.example.com, env: B, header: X}",
    ): (
        {"Authorization": "Bearer value-of-A", "X": "value-of-B"},
        {},
    ),
}


@pytest.mark.parametrize("words", SPELLINGS)
def test_a_key_for_another_host_may_be_written_so(words: tuple[str, ...]) -> None:
    assert keyring(*words).credentials_for("api.example.com") == SPELLINGS[words]


def test_the_default_secret_stays() -> None:
    carried = keyring("+tools.secrets.mine.host=127.0.0.1:8080", "+tools.secrets.mine.env=KEY")
    assert carried.credentials_for("api.themoviedb.org") == ({"Authorization": "Bearer value-of-TMDB_API_KEY"}, {})
    assert carried.credentials_for("127.0.0.1:8080") == ({"Authorization": "Bearer value-of-KEY"}, {})


@pytest.mark.parametrize(
    "words",
    [
        ("tools.secrets.mine.host=api.example.com",),
        ("tools.secrets.api.example.com.env=KEY",),
        ("tools.secrets={api.example.com: {env: KEY, header: X-Key}}",),
        ("+tools.secrets.mine.env=KEY",),
        ("+tools.secrets.mine=KEY",),
        (r"+tools.secrets.api\.example\.com.env=KEY",),
    ],
)
def test_other_spellings_are_answered_with_the_documented_one(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        keyring(*words)
    assert "+tools.secrets.NAME.host=HOST +tools.secrets.NAME.env=VARIABLE" in str(caught.value)


@pytest.mark.parametrize("changed", [{"env": PASTED}, {"format": PASTED}, {"header": f"{PASTED}: x"}])
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(changed: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(secrets={"api.example.com": {"env": "KEY"} | changed})
    assert PASTED not in str(caught.value)


@pytest.mark.parametrize(
    "changed", [{"key_env": PASTED}, {"url": f"http://p.test/x?toolbench_key={PASTED}"}, {"url": f"http://p/#{PASTED}"}]
)
def test_a_key_in_the_proxys_settings_is_refused_and_not_repeated(changed: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        ToolBenchProxyConfig(**{"url": "http://p.test/rapidapi", "key_env": "TOOLBENCH_KEY"} | changed)
    assert PASTED not in str(caught.value)


@pytest.mark.parametrize("value", ["schlüssel-0123", "se\ncret99", "a\udcff123"])
def test_a_key_that_can_be_none_is_named_by_its_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="TOOLBENCH_KEY") as caught:
        read_key("TOOLBENCH_KEY", {"TOOLBENCH_KEY": value})
    assert value not in str(caught.value)
    with pytest.raises(ConfigError, match="TMDB_API_KEY"):
        TMDBReplica(as_of="2024-06-01").site(require_key=True, environment={"TMDB_API_KEY": value})  # type: ignore[arg-type]


def test_blanks_around_a_key_are_no_part_of_it() -> None:
    assert read_key("KEY", {"KEY": " abc\n"}) == "abc"


def test_a_keyring_knows_several_secrets_of_a_host() -> None:
    one, other = Secret(env="A", host="a.test"), Secret(env="B", host="a.test", query="b")
    assert Keyring({"one": one, "other": other}, {"A": "1", "B": "2"}).credentials_for("a.test") == (
        {"Authorization": "Bearer 1"},
        {"b": "2"},
    )


@pytest.mark.parametrize("given", [f"{{host: a.test, env: {PASTED}}}", f"{{host: a.test, env: KEY, format: {PASTED}}}"])
def test_a_pasted_key_is_not_repeated_on_the_console(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        keyring(f"+tools.secrets.mine={given}")
    assert "tools.secrets.mine" in str(caught.value) and PASTED not in str(caught.value)
