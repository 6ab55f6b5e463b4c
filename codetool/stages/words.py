"""What the user typed, checked as a whole: every unknown option is named with what is allowed, before Hydra runs it.

Hydra reports the first mistake it meets, in its own terms. Here the options that choose a file of a group are tried
first, then every other option against the configuration those choices give, so that all mistakes come at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from codetool.config import validate
from codetool.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"
FLAGS_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--info", "-i",
    "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
}  # fmt: skip


def sorted_out(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of a command line as (Hydra's own flags with their values, options of ours)."""
    flags: list[str] = []
    words: list[str] = []
    for argument in arguments:
        of_flag = argument.startswith("-") or (bool(flags) and flags[-1] in FLAGS_WITH_VALUE)
        (flags if of_flag else words).append(argument)
    return flags, words


def check(words: Sequence[str], *, multirun: bool = False) -> list[DictConfig]:
    """The configuration that the words compose to; with comma lists, one for every value of each list.

    Raises ConfigError with a line for every word that is wrong, and for every wrong value of the others.
    """
    if not CONF.is_dir():
        raise ConfigError(f"{CONF} is not there: CodeTool runs from its checkout, installed with `pip install -e .`")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        wrong, good = _sorted_by_mistakes(words, multirun)
        if wrong:
            raise ConfigError("\n".join([*wrong, *_wrong_values(good)]))
        return [compose("config", variant) for variant in _variants(good)]


def _variants(words: Sequence[str]) -> list[list[str]]:
    """The words with each comma list in turn at each of its values and all other lists at their first."""
    choices = [_values(word) for word in words]
    first = [values[0] for values in choices]
    others = [
        [*first[:place], value, *first[place + 1 :]] for place, values in enumerate(choices) for value in values[1:]
    ]
    return [first, *others]


def _values(word: str) -> list[str]:
    """The word at each value of its comma list. Raises HydraException for a word that cannot be read."""
    override = OverridesParser.create().parse_override(word)
    if override.is_sweep_override():
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return [word]


def _sorted_by_mistakes(words: Sequence[str], multirun: bool) -> tuple[list[str], list[str]]:
    """A line for each wrong word, and the good words. Words that choose a file come first: others build on them."""
    wrong: list[str] = []
    good: list[str] = []
    for word in sorted(words, key=lambda word: not _is_group(word.split("=")[0])):  # a stable sort
        try:
            values = _values(word)
        except HydraException:
            wrong.append(f"{word}: cannot be read. Options are written name=value, for example search.width=2.")
            continue
        if len(values) > 1 and not multirun:
            wrong.append(f"{word}: a comma list is one configuration for each value: add -m, or write a list as [a,b].")
            continue
        lines = [line for value in values if (line := _mistake(value, [_values(each)[0] for each in good]))]
        wrong += lines
        good += [] if lines else [word]
    return wrong, good


def _wrong_values(words: Sequence[str]) -> list[str]:
    """A line for every wrong value among words that are right otherwise."""
    try:
        for variant in _variants(words):
            validate(compose("config", variant))
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _mistake(word: str, before: Sequence[str]) -> str | None:
    try:
        compose("config", [*before, word])
    except MissingConfigException as error:
        name, value = word.split("=", 1)
        allowed = sorted(option for option in error.options or () if not option.startswith("_"))
        if not allowed:
            return _unknown_key(word, compose("config", list(before)), error)
        return f"{word}: {name} has no option {value!r}. Allowed: {', '.join(allowed)}.{_guess(value, allowed)}"
    except (HydraException, OmegaConfBaseException) as error:
        return _unknown_key(word, compose("config", list(before)), error)
    return None


def _unknown_key(word: str, config: DictConfig, error: Exception) -> str:
    name = word.split("=")[0].lstrip("+~")
    parent, _, _ = name.rpartition(".")
    known = list(_keys(config))
    if name in known:
        return f"{word}: {str(error).splitlines()[0]}"
    inside = f"{parent}." if parent else ""
    beside = sorted({key.removeprefix(inside).split(".")[0] for key in known if key.startswith(inside)} - {"_target_"})
    where = parent or "the top level"
    return f"{word}: no such option. {where} has: {', '.join(beside)}.{_guess(name, known)}"


def _guess(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted name below a node, the node's own groups included."""
    for key in config:
        yield f"{prefix}{key}"
        value = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _keys(value, f"{prefix}{key}.")


def _is_group(name: str) -> bool:
    return (CONF / name.lstrip("+~")).is_dir() or name.startswith("hydra/")
