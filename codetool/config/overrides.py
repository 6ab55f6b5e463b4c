"""What the user typed, checked as a whole: every unknown option is named with what is allowed, before Hydra runs it.

Hydra reports the first mistake it meets, in its own terms. Here the options that choose a file of a group are tried
first, then every other option against the configuration those choices give, so that all mistakes come at once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from codetool.config.config_sources import CONF as CONF
from codetool.config.config_sources import added_folders, composing, is_group, stage_owners
from codetool.config.override_errors import NO_SWEEPER, key_of, mistake, quoted, unreadable, wrong_choice
from codetool.config.run_config import RunConfig, validate
from codetool.errors import ConfigError

MOST_COMBINATIONS = 256
"""Cells of a sweep that are all composed beforehand, a tenth of a second each."""
FLAGS_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun",
    "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
}  # fmt: skip
BASIC_SWEEPER = {
    "_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "max_batch_size": None, "params": None,
}  # fmt: skip
"""Hydra's settings of a sweeper while nobody chooses one."""


def sorted_out(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of a command line as (Hydra's own flags with their values, options of ours)."""
    flags: list[str] = []
    words: list[str] = []
    for argument in arguments:
        of_flag = argument.startswith("-") or (bool(flags) and flags[-1] in FLAGS_WITH_VALUE)
        (flags if of_flag else words).append(argument)
    return flags, words


def check(words: Sequence[str], *, multirun: bool = False, flags: Sequence[str] = ()) -> list[DictConfig]:
    """The configuration that the words compose to; with comma lists, one for every combination of their values.

    Beyond 256 combinations, one for every value of each list with every choice of files. `flags` may add folders of
    options. Raises ConfigError with a line for every word that is wrong, and for every wrong value of the others.
    """
    with composing(added_folders(flags, words)):
        refused = any(_refused(word, multirun) for word in words)
        configs = None if refused else _all_composed(words, multirun)
        if configs is None:  # now word by word, which takes longer
            wrong, good = _sorted_by_mistakes(words, multirun)
            if wrong:
                raise ConfigError("\n".join([*wrong, *_wrong_values(good)]))
            configs = [_composed(variant) for variant in _variants(good)]
        if misplaced := [line for config in configs for line in _misplaced(config)]:
            raise ConfigError("\n".join(dict.fromkeys(misplaced)))
        for config in configs:
            _drop_hydra(config)
        return configs


def _drop_hydra(config: DictConfig) -> None:
    """Take Hydra's own settings out of a configuration."""
    with read_write(config), open_dict(config):
        del config["hydra"]


def _refused(word: str, multirun: bool) -> bool:
    """Whether a word cannot be right whatever the others are."""
    try:
        return any(wrong_choice(value) for value in values_of(word))
    except (HydraException, ConfigError):
        return True


def _misplaced(config: DictConfig) -> Iterator[str]:
    """A line for each thing that a preset sets and that the stage does not read, or that a sweep ignores."""
    chosen, owners = str(config.stage), stage_owners()
    for name in map(str, config):
        if name in owners and chosen not in owners[name]:
            yield f"{name}: a preset sets it, and only stage={', '.join(owners[name])} reads it, not stage={chosen}."
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    if sweeper != BASIC_SWEEPER:
        assert isinstance(sweeper, dict)
        params = sweeper.get("params") or {}
        shown = f"hydra.sweeper.params={params}" if params else "hydra.sweeper"
        yield f"{shown}: a preset or the command line sets it. {NO_SWEEPER}"
    if OmegaConf.select(config, "hydra.mode") is not None and str(config.hydra.mode) != "RunMode.RUN":
        yield f"hydra.mode={config.hydra.mode}: add -m for a sweep, or leave -m out for a single run."


def _all_composed(words: Sequence[str], multirun: bool) -> list[DictConfig] | None:
    """The configurations, None if a word is wrong."""
    try:
        variants = _variants(words)
        return [_compose(variant) for variant in variants] if multirun or len(variants) == 1 else None
    except (HydraException, OmegaConfBaseException):
        return None


def _compose(words: Sequence[str]) -> DictConfig:
    """The configuration of the words, with Hydra's own settings."""
    return compose("config", list(words), return_hydra_config=True)


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


def _composed(words: Sequence[str]) -> DictConfig:
    """The configuration of words that are right one by one. Raises ConfigError if they do not go together."""
    try:
        return _compose(words)
    except (HydraException, OmegaConfBaseException) as error:
        mistakes = (mistake(word, words[:place]) for place, word in enumerate(words))
        line = next(filter(None, mistakes), str(error).splitlines()[0])
        chosen = " ".join(word for word in words if _is_group_word(word.split("=")[0]))
        raise ConfigError(f"{line} This is so with {chosen}.") from error


def _variants(words: Sequence[str]) -> list[list[str]]:
    """Every combination of the values in the comma lists.

    If those are too many, every combination of the options that choose a file, on which it depends what else there is,
    and with each the other lists in turn at each of their values.
    """
    choices = [values_of(word) for word in words]
    if prod(map(len, choices)) <= MOST_COMBINATIONS:
        return list(map(list, product(*choices)))
    firsts = product(*(values if _is_group_word(key_of(values[0])) else values[:1] for values in choices))
    variants = []
    for first in map(list, firsts):
        rest = [(place, value) for place, values in enumerate(choices) for value in values[1:]]
        others = [(place, value) for place, value in rest if not _is_group_word(key_of(value))]
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
            wrong.append(unreadable(word))
            continue
        except ConfigError as error:
            wrong.append(str(error))
            continue
        if len(values) > 1 and not multirun:
            text = shlex.quote(f"{key_of(word)}={quoted(word.partition('=')[2])}")
            wrong.append(
                f"{word}: a comma list is one configuration for each value: add -m, or write a list as [a,b], or quote "
                f"a text with a comma: {text}"
            )
            continue
        before = [values_of(each)[0] for each in good]
        lines = [line for value in values if (line := wrong_choice(value) or mistake(value, before))]
        wrong += lines
        good += [] if lines else [word]
    return wrong, good


def _rank(word: str) -> int:
    """The place of a word among those that others build on: what chooses the groups, the choices, the values."""
    return 0 if key_of(word) in ("stage", "experiment") else 1 if _is_group_word(word) else 2


def _wrong_values(words: Sequence[str]) -> list[str]:
    """A line for every wrong value among words that are right otherwise."""
    try:
        for variant in _variants(words):
            config = _composed(variant)
            _drop_hydra(config)
            validate(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _is_group_word(word: str) -> bool:
    """Whether a word, or its left side, chooses an option of a group."""
    return is_group(word.split("=")[0].lstrip("+~").split("@")[0])
