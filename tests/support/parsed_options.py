"""Parse each file of `conf/` once per process, and compose each choice of options once for all test processes.

Both take most of the time of composing a configuration, and hundreds of tests need one. The values that a command line
sets, and every command line that adds a folder of options, are computed as ever.
"""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import omegaconf
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra.core.override_parser import overrides_parser
from omegaconf import DictConfig, OmegaConf, grammar_parser

CONF = Path(__file__).parents[2] / "conf"
FOLDER_VARIABLE = "CODETOOL_TESTS_COMPOSED"
"""Environment variable with the folder in which test processes find what others have composed."""


class SharedTable:
    """Pickled values by key, in memory and in files that all test processes share."""

    def __init__(self, folder: Path, name: str) -> None:
        """Start with what the folder holds; `name` tells the tables of a folder apart."""
        self._folder, self._name, self._kept = folder, name, dict[str, bytes]()

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """A copy of the value of a key, which is made if no process has made it yet."""
        if key not in self._kept:
            file = self._folder / f"{self._name}-{sha256(key.encode()).hexdigest()}"
            try:
                self._kept[key] = file.read_bytes()
            except FileNotFoundError:
                self._kept[key] = pickle.dumps(make())
                with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as part:
                    part.write(self._kept[key])
                Path(part.name).replace(file)
        return pickle.loads(self._kept[key])


@cache
def keep_parsed_options() -> None:
    """Keep the parsed files of `conf/`, and what Hydra makes of each choice of options, for later configurations."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or _make_shared_folder())
    _keep_parsed_files()
    _keep_parsed_interpolations()
    _keep_parsed_overrides()
    _skip_unused_choices()
    _keep_defaults_lists(SharedTable(folder, "defaults"))
    _keep_merged_files(SharedTable(folder, "merged"))


def _make_shared_folder() -> str:
    """Make the folder that this process shares with those that it starts; it is removed with this process."""
    os.environ[FOLDER_VARIABLE] = folder = tempfile.mkdtemp()
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


def _keep_parsed_files() -> None:
    """Make `OmegaConf.load` return copies of the files of `conf/`, all of which are parsed now. Others are read."""
    load: Callable[[Any], Any] = OmegaConf.load
    parsed = {str(file): pickle.dumps(load(file)) for file in CONF.rglob("*.yaml")}

    def load_copy(file: Any) -> Any:
        kept = parsed.get(str(getattr(file, "name", file)))
        return load(file) if kept is None else pickle.loads(kept)

    OmegaConf.load = staticmethod(load_copy)  # type: ignore[method-assign]


def _keep_parsed_interpolations() -> None:
    """Make OmegaConf parse each text with an interpolation once; what it stands for is found each time."""
    parse = lru_cache(maxsize=4096)(grammar_parser.parse)
    for module in (omegaconf.base, omegaconf._utils):
        vars(module)["parse"] = parse  # as these modules call it


def _keep_parsed_overrides() -> None:
    """Make Hydra find the syntax tree of each override once; its value is made each time."""
    trees: dict[str, Any] = {}

    class KeepingParser(overrides_parser.OverrideParser):  # type: ignore[misc]  # as ANTLR has made it, without types
        def override(self) -> Any:
            text = str(self.getTokenStream().tokenSource.inputStream)
            if text not in trees:
                trees[text] = super().override()
            return trees[text]

    vars(overrides_parser)["OverrideParser"] = KeepingParser


def _reads_conf_alone(repo: Any) -> bool:
    """Whether all options come from `conf/` and from Hydra, so that they are the same for the whole process."""
    return {str(source.path) for source in repo.get_sources()} <= {str(CONF), "hydra.conf", ""}


def _skip_unused_choices() -> None:
    """Make Hydra list the choices known so far only where a choice names another one, `option: ${group}`."""
    create = defaults_list._create_interpolation_map

    def create_if_used(overrides: Overrides, entries: list[Any], self_added: bool) -> DictConfig | None:
        used = "${" in repr((entries, overrides.override_choices))
        return create(overrides, entries, self_added) if used else None

    vars(defaults_list)["_create_interpolation_map"] = create_if_used


def _keep_defaults_lists(kept: SharedTable) -> None:
    """Make Hydra find the files that a choice of options names once; a wrong choice is found out each time."""
    create: Callable[..., DefaultsList] = defaults_list.create_defaults_list

    def create_once(repo: Any, overrides_list: Sequence[Any], **more: Any) -> DefaultsList:
        if not _reads_conf_alone(repo):
            return create(repo=repo, overrides_list=overrides_list, **more)
        values = Overrides(repo, list(overrides_list)).config_overrides
        choices = [each.input_line for each in overrides_list if not any(each is value for value in values)]
        made = kept.get(repr((choices, more)), lambda: create(repo=repo, overrides_list=overrides_list, **more))
        return replace(made, config_overrides=values)

    vars(config_loader_impl)["create_defaults_list"] = create_once  # as that module calls it


def _keep_merged_files(merged: SharedTable) -> None:
    """Make Hydra return copies of what it merged from the same files in the same places before."""
    merge = ConfigLoaderImpl._compose_config_from_defaults_list

    def merge_once(self: ConfigLoaderImpl, defaults: Sequence[Any], repo: Any) -> DictConfig:
        if not _reads_conf_alone(repo):
            return merge(self, list(defaults), repo)
        key = repr([(each.config_path, each.package, each.is_self, each.primary) for each in defaults])
        composed: DictConfig = merged.get(key, lambda: merge(self, list(defaults), repo))
        return composed

    ConfigLoaderImpl._compose_config_from_defaults_list = merge_once  # type: ignore[method-assign]
