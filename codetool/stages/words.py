"""What the user typed, checked as a whole: every unknown option is named with what is allowed, before Hydra runs it.

Hydra reports the first mistake it meets, in its own terms. Here the options that choose a file of a group are tried
first, then every other option against the configuration those choices give, so that all mistakes come at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.default_element import GroupDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from codetool.config import RunConfig, validate
from codetool.errors import ConfigError
from codetool.tools.secrets import HOW_TO_ADD, is_pasted_key

CONF = Path(__file__).parents[2] / "conf"
MOST_COMBINATIONS = 256
"""Cells of a sweep that are all composed beforehand, a tenth of a second each."""
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
    """The configuration that the words compose to; with comma lists, one for every combination of their values.

    Beyond 256 combinations, one for every value of each list with every choice of files. Raises ConfigError with a
    line for every word that is wrong, and for every wrong value of the others.
    """
    if not CONF.is_dir():
        raise ConfigError(f"{CONF} is not there: CodeTool runs from its checkout, installed with `pip install -e .`")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        configs = _all_composed(words, multirun)
        if configs is None:  # now word by word, which takes longer
            wrong, good = _sorted_by_mistakes(words, multirun)
            if wrong:
                raise ConfigError("\n".join([*wrong, *_wrong_values(good)]))
            configs = [_composed(variant) for variant in _variants(good)]
        if unread := [line for config in configs for line in _blocks_of_other_stages(config)]:
            raise ConfigError("\n".join(dict.fromkeys(unread)))
        return configs


def _all_composed(words: Sequence[str], multirun: bool) -> list[DictConfig] | None:
    """The configurations, None if a word is wrong."""
    try:
        variants = _variants(words)
        return [compose("config", variant) for variant in variants] if multirun or len(variants) == 1 else None
    except (HydraException, OmegaConfBaseException):
        return None


def all_valid(configs: Sequence[DictConfig]) -> list[RunConfig]:
    """The settings of every configuration. Raises ConfigError with each wrong value of any of them."""
    valid: list[RunConfig] = []
    wrong: list[str] = []
    for config in configs:
        try:
            valid.append(validate(config))
        except ConfigError as error:
            wrong += str(error).splitlines()
    if wrong:
        raise ConfigError("\n".join(dict.fromkeys(wrong)))
    return valid


def is_for_hydra(word: str) -> bool:
    """Whether the word is an option of Hydra's own, such as `hydra/launcher=joblib`."""
    return re.match(r"[+~]*hydra[./]", word) is not None


def value_of(word: str) -> str:
    """The value that a word with one value sets, as text without quotes and escapes."""
    value = OverridesParser.create().parse_override(word).value()
    return value if isinstance(value, str) else word.split("=", 1)[1]


def key_of(word: str) -> str:
    """The option that a word sets, `search.width` of `+search.width=2`."""
    return word.split("=")[0].lstrip("+~")


def _composed(words: Sequence[str]) -> DictConfig:
    """The configuration of words that are right one by one. Raises ConfigError if they do not go together."""
    try:
        return compose("config", list(words))
    except (HydraException, OmegaConfBaseException) as error:
        mistakes = (_mistake(word, words[:place]) for place, word in enumerate(words))
        line = next(filter(None, mistakes), str(error).splitlines()[0])
        chosen = " ".join(word for word in words if _is_group(word.split("=")[0]))
        raise ConfigError(f"{line} This is so with {chosen}.") from error


def _blocks_of_other_stages(config: DictConfig) -> list[str]:
    """A line for each group of settings that a preset has given a stage which does not read it."""
    chosen = str(config.stage)
    readers = {str(name): stages_that_read(str(name)) for name in config}
    return [
        f"{name}: a preset sets it, and only stage={', '.join(stages)} reads it, not stage={chosen}."
        for name, stages in readers.items()
        if stages and chosen not in stages
    ]


def stages_that_read(name: str) -> list[str]:
    """The stages that have a group or a block of settings of this name to themselves; none where all have it."""
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    return [stage for stage in loader.get_group_options("stage") if name in _names_of_stage(loader, stage)]


def _names_of_stage(loader: ConfigLoaderImpl, stage: str) -> set[str]:
    """The settings and groups of `conf/stage/<stage>.yaml`, without those that it overrides."""
    found = loader.repository.load_config(f"stage/{stage}")
    if found is None:
        return set()
    groups = [default for default in found.defaults_list or () if isinstance(default, GroupDefault)]
    added = {str(group.group).lstrip("/") for group in groups if not group.override and not group.package}
    return {str(name) for name in found.config if name != "stage"} | added


def _variants(words: Sequence[str]) -> list[list[str]]:
    """Every combination of the values in the comma lists.

    If those are too many, every combination of the options that choose a file, on which it depends what else there is,
    and with each the other lists in turn at each of their values.
    """
    choices = [values_of(word) for word in words]
    if prod(map(len, choices)) <= MOST_COMBINATIONS:
        return list(map(list, product(*choices)))
    firsts = product(*(values if _is_group(key_of(values[0])) else values[:1] for values in choices))
    variants = []
    for first in map(list, firsts):
        rest = [(place, value) for place, values in enumerate(choices) for value in values[1:]]
        others = [(place, value) for place, value in rest if not _is_group(key_of(value))]
        variants += [first, *([*first[:place], value, *first[place + 1 :]] for place, value in others)]
    return variants


def values_of(word: str) -> list[str]:
    """The word at each value of its comma list.

    Raises HydraException for a word that cannot be read, ConfigError for a list without values.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # which globs look into
    [override] = parser.parse_overrides([word])
    if not override.is_sweep_override():
        return [word]
    values = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    if not values:
        raise ConfigError(f"{word}: no value fits.")
    return values


def _sorted_by_mistakes(words: Sequence[str], multirun: bool) -> tuple[list[str], list[str]]:
    """A line for each wrong word, and the good words. Words that choose a file come first: others build on them."""
    wrong: list[str] = []
    good: list[str] = []
    for word in sorted(words, key=_rank):  # a stable sort
        try:
            values = values_of(word)
        except HydraException:
            unread = f"{word}: cannot be read. Options are written name=value, for example search.width=2."
            wrong.append(_of_secret(word) or unread)
            continue
        if len(values) > 1 and not multirun:
            wrong.append(f"{word}: a comma list is one configuration for each value: add -m, or write a list as [a,b].")
            continue
        lines = [line for value in values if (line := _mistake(value, [values_of(each)[0] for each in good]))]
        wrong += lines
        good += [] if lines else [word]
    return wrong, good


def _rank(word: str) -> int:
    """The place of a word among those that others build on: what chooses the groups, the choices, the values."""
    return 0 if key_of(word) in ("stage", "experiment") else 1 if _is_group(word.split("=")[0]) else 2


def _wrong_values(words: Sequence[str]) -> list[str]:
    """A line for every wrong value among words that are right otherwise."""
    try:
        for variant in _variants(words):
            validate(_composed(variant))
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


def _of_secret(word: str) -> str | None:
    """The line for a word that would add a key for a host in a way that cannot be; None for any other word."""
    name, _, value = word.partition("=")
    if not name.lstrip("+~'\"").startswith("tools.secrets"):
        return None
    shown = f"{name}={value}" if value.startswith(("{", "[")) or not is_pasted_key(value) else name
    return f"{shown}: no key can be added so. {HOW_TO_ADD}."


def _unknown_key(word: str, config: DictConfig, error: Exception) -> str:
    if (line := _of_secret(word)) is not None:
        return line
    name = word.split("=")[0].lstrip("+~")
    if refused := re.match(r"In '(.+?)': Could not override '(.+?)'", str(error)):  # by the preset that the word names
        stages = stages_that_read(refused[2])
        read = f"only stage={', '.join(stages)} reads" if stages else f"stage={config.stage} has no such group as"
        return f"{word}: {refused[1]}.yaml chooses {refused[2]}=, and {read} {refused[2]}."
    if (stages := stages_that_read(re.split(r"[.@]", name)[0])) and config.stage not in stages:
        return f"{word}: only stage={', '.join(stages)} reads it."
    parent, _, _ = name.rpartition(".")
    known = list(_keys(config))
    if name in known:
        return f"{word}: {str(error).splitlines()[0]}"
    inside = f"{parent}." if parent else ""
    beside = sorted({key.removeprefix(inside).split(".")[0] for key in known if key.startswith(inside)} - {"_target_"})
    where = parent or "the top level"
    if parent and not beside and (CONF / parent).is_dir():
        return f"{word}: the chosen {parent} has no options. Choose another one with {parent}=…"
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
    return (CONF / name.lstrip("+~").split("@")[0]).is_dir() or name.startswith("hydra/")
