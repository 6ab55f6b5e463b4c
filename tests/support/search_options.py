"""Every option of `search=` as its YAML file sets it, and with each other value of its closed choices and switches.

A strategy of one more file and YAML in `conf/search` is in these lists, and so in every test that takes them.
"""

import pydoc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from codetool.runs.identity import read_field_hints

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "search").glob("*.yaml"))
EXTENDING = {file.stem for file in OPTIONS if "\ndefaults:" in file.read_text()}
SIZES = ("n", "width", "trees", "simulations", "rollouts", "lookahead")
"""Settings that multiply candidates or paths."""


@dataclass(frozen=True)
class Option:
    """A strategy with its settings."""

    name: str
    target: Any
    settings: dict[str, Any]

    def make(self, **changes: Any) -> Any:
        """Return the strategy; settings that it does not have are left out of `changes`."""
        return self.target(**self.settings | {name: changes[name] for name in changes.keys() & self.settings.keys()})


def read_settings(file: Path) -> dict[str, Any]:
    """Return the settings of an option's file over those of the options that it extends."""
    settings = yaml.safe_load(file.read_text())
    extended = [name for name in settings.pop("defaults", ()) if name != "_self_"]
    return {key: value for name in extended for key, value in read_settings(file.with_stem(name)).items()} | settings


def read_option(file: Path) -> Option:
    settings = read_settings(file)
    return Option(file.stem, pydoc.locate(settings.pop("_target_")), settings)


def list_variants(option: Option) -> list[Option]:
    """Return the option, and one for each other choice of each setting, such as `dfs order=reward`.

    A whole number that is 0 by default switches something off: it is set to 2. `select` is left out: it reads the tree
    only when it is complete.
    """
    variants = [option]
    if option.name in EXTENDING:  # the option that it extends has these variants
        return variants
    for name, hint in read_field_hints(option.target).items():
        choices = get_args(hint) if get_origin(hint) is Literal else (True, False) if hint is bool else ()
        if type(option.settings.get(name)) is int and option.settings[name] == 0:
            choices = (2,)
        variants += [
            Option(f"{option.name} {name}={choice}", option.target, option.settings | {name: choice})
            for choice in choices
            if name != "select" and name in option.settings and choice != option.settings[name]
        ]
    return variants


STRATEGIES = [variant for file in OPTIONS for variant in list_variants(read_option(file))]
