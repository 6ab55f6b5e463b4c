"""The identity of a result: a hash of the settings, options and files that determine it.

- A setting is hashed unless its settings class marks it (`codetool.runs.operational`), or the YAML file of a class that
  cannot be marked lists it in `_operational_`.
- An option is hashed by its name in the group, never by the module that holds its class. A class from outside this
  package also adds its own name, without the module.
- A setting of type `Path` is hashed by the content of its file or folder.
"""

from __future__ import annotations

import hashlib
import json
import pydoc
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Protocol

from codetool.runs.operational import OPERATIONAL_NAMES, Mark, Operational

OPTION = "_option_"
"""Key of an option's name in the hashed settings."""
CLASS = "_class_"
"""Key of the name of a class from outside this package, or of one that no option names."""
TARGET = "_target_"
PACKAGE = "codetool."
WHOLE_FILE_BYTES = 64 * 2**20
"""Of larger files one block in sixteen is hashed: reading 15 GB would take longer than many a run."""
BLOCK_BYTES = 2**20


class Composed(Protocol):
    """The settings of a run: an object of each block, and the same as plain data."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration."""
        ...


@dataclass(frozen=True)
class Identity:
    """What determines a result."""

    settings: Mapping[str, Any]
    """Hashed settings by block, as `identity_settings` makes them."""
    checksums: Mapping[str, str]
    """Hex sha256 of data, weights and adapters by name."""
    version: str = field(default_factory=lambda: version("codetool"))
    """Version of this package."""

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that name the result."""
        parts = {**self.settings, "checksums": dict(self.checksums), "version": self.version}
        text = json.dumps(_with_plain_numbers(parts), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def identity_settings(
    config: Composed, choices: Mapping[str, str], only: Collection[str] | None = None
) -> dict[str, Any]:
    """The settings that determine a result, by block.

    `choices` are Hydra's choices: the option's name by group, `search`, or by `group@place`, such as
    `policy_prompt@policy.prompt`.
    `only` restricts the blocks. A settings object may have a method `irrelevant_settings()` that names settings without
    effect, given the others: they are left out too.
    """
    options = _options_by_place(choices)
    hints = field_hints(type(config))
    found: dict[str, Any] = {}
    for name, value in config.settings.items():
        hint = hints.get(name, Any)
        if (only is not None and name not in only) or mark_of(hint) is not None:
            continue
        block = _hashed(value, hint, name, options)
        irrelevant = getattr(getattr(config, name, None), "irrelevant_settings", None)
        if irrelevant is not None and isinstance(block, dict):
            block = {key: item for key, item in block.items() if key not in irrelevant()}
        found[name] = block
    return found


def marked_settings(settings: Mapping[str, Any], schema: type) -> dict[str, Mark]:
    """The mark of every setting that has one, by dotted name; `schema` is the class of the whole configuration."""
    return dict(_marked(settings, schema, ""))


def is_hashed(name: str, marks: Mapping[str, Mark]) -> bool:
    """Whether the setting of this dotted name, or what it points at, is part of a result's identity."""
    parents = (name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1))
    return not any(marks.get(parent) is Mark.OPERATIONAL for parent in parents)


def local_model_folder(model: str) -> Path | None:
    """The folder of a whole model that `policy.model` or `prm.model` names, None for the name of a published model."""
    folder = Path(model).expanduser()
    return folder if (folder / "config.json").is_file() else None


def hash_path(path: Path) -> str | None:
    """Hex sha256 of a file, or of the names and contents of all files in a folder; None where neither is there."""
    if path.is_file():
        return hash_files([path])
    if path.is_dir():
        return hash_files(sorted(file for file in path.rglob("*") if file.is_file()), path)
    return None


def hash_files(files: Sequence[Path], below: Path | None = None) -> str:
    """Hex sha256 of files; with `below`, their names relative to it count too. Files above 64 MiB are sampled."""
    total = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        if below is not None:
            total.update(f"{file.relative_to(below).as_posix()} {size}\n".encode("utf-8", "surrogateescape"))
        step = 1 if size <= WHOLE_FILE_BYTES else 16
        with file.open("rb") as opened:
            while block := opened.read(BLOCK_BYTES):
                total.update(block)
                opened.seek((step - 1) * BLOCK_BYTES, 1)
    return total.hexdigest()


@lru_cache(maxsize=256)
def field_hints(target: Any) -> Mapping[str, Any]:
    """The annotations of a settings class, or of a function's arguments, by name; none where they cannot be read."""
    places = [target, getattr(target, "__init__")] if isinstance(target, type) else [target]  # noqa: B009
    hints: dict[str, Any] = {}
    for place in reversed(places):
        try:
            hints |= typing.get_type_hints(place, include_extras=True)
        except Exception:  # names that exist for a type checker only: nothing is marked then, and all is hashed
            continue
    return hints


def mark_of(hint: Any) -> Mark | None:
    """The mark in an annotation, None where it has none."""
    for part in _parts(hint):
        if typing.get_origin(part) is Annotated:
            for extra in part.__metadata__:
                if isinstance(extra, Mark):
                    return extra
    return None


def _hashed(value: Any, hint: Any, place: str, options: Mapping[str, str]) -> Any:
    """The hashed form of a value at a dotted place of the configuration."""
    if isinstance(value, Mapping):
        return _hashed_block(value, hint, place, options)
    if isinstance(value, list | tuple):
        item = _item_hint(hint)
        return [_hashed(each, item, f"{place}.{number}", options) for number, each in enumerate(value)]
    if isinstance(value, str) and any(part is Path for part in _parts(hint)):
        content = hash_path(Path(value).expanduser())
        return value if content is None else {"sha256": content}
    return value


def _hashed_block(value: Mapping[str, Any], hint: Any, place: str, options: Mapping[str, str]) -> dict[str, Any]:
    hints, item = _hints_of_block(value, hint), _item_hint(hint)
    listed = value.get(OPERATIONAL_NAMES) or ()
    found: dict[str, Any] = {}
    for key, each in value.items():
        own = hints.get(str(key), item)
        if key not in (TARGET, OPERATIONAL_NAMES) and key not in listed and mark_of(own) is None:
            found[str(key)] = _hashed(each, own, f"{place}.{key}", options)
    if TARGET in value:
        found |= _names_of_option(str(value[TARGET]), place, options)
    return found


def _with_plain_numbers(value: Any) -> Any:
    """The value with whole numbers written as such: 1.0 and 1 are the same setting."""
    if isinstance(value, Mapping):
        return {name: _with_plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_plain_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _names_of_option(target: str, place: str, options: Mapping[str, str]) -> dict[str, str]:
    """What stands for a class: its option's name, and the class's own name where that alone could be another's."""
    option, overridden = options.get(place), options.get(f"{place}.{TARGET}")
    names = {} if option is None else {OPTION: option}
    is_known = target.startswith(PACKAGE) and (option is not None or "." not in place)
    return names if is_known and overridden is None else names | {CLASS: target.rpartition(".")[2]}


def _options_by_place(choices: Mapping[str, str]) -> dict[str, str]:
    """The chosen options by the dotted place of their block; what is mixed into another option's block is left out."""
    mixed = {group.partition("@")[2]: option for group, option in choices.items() if "@" in group}
    return mixed | {group.replace("/", "."): option for group, option in choices.items() if "@" not in group}


def _marked(value: Mapping[str, Any], hint: Any, prefix: str) -> Iterator[tuple[str, Mark]]:
    hints, item = _hints_of_block(value, hint), _item_hint(hint)
    for key, each in value.items():
        own, name = hints.get(str(key), item), f"{prefix}{key}"
        if key in (value.get(OPERATIONAL_NAMES) or ()):
            yield name, Operational
        elif (mark := mark_of(own)) is not None:
            yield name, mark
        elif isinstance(each, Mapping):
            yield from _marked(each, own, f"{name}.")


def _hints_of_block(value: Mapping[str, Any], hint: Any) -> Mapping[str, Any]:
    """The annotations of a block's settings: of the class it names, else of the one its annotation names."""
    if TARGET in value:
        try:
            target = pydoc.locate(str(value[TARGET]))
        except pydoc.ErrorDuringImport:
            target = None
        return field_hints(target) if callable(target) else {}
    settings = (part for part in _parts(hint) if isinstance(part, type) and _is_settings_class(part))
    return next(map(field_hints, settings), {})


def _is_settings_class(part: type) -> bool:
    return is_dataclass(part) or hasattr(part, "model_fields")


def _item_hint(hint: Any) -> Any:
    """The annotation of the items of a list, tuple or mapping."""
    for part in _parts(hint):
        origin = typing.get_origin(part)
        if isinstance(origin, type) and issubclass(origin, Collection) and (arguments := typing.get_args(part)):
            return arguments[-1] if issubclass(origin, Mapping) else arguments[0]
    return Any


def _parts(hint: Any) -> Iterator[Any]:
    """The annotation and all that it is made of without its containers: below `Annotated` and alternatives."""
    yield hint
    origin = typing.get_origin(hint)
    if origin is Annotated:
        yield from _parts(hint.__origin__)
    elif origin in (typing.Union, types.UnionType):
        for argument in typing.get_args(hint):
            yield from _parts(argument)
