"""Write the files with which a benchmark, a search or a PRM begins: its class, its option and its test.

All three run at once. In a checkout of CodeTool they are written where its own parts are, else into a folder of the
user's: `NAME.py`, `conf/GROUP/NAME.yaml` and `tests/test_NAME.py`.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from codetool.config.config_sources import PACKAGE, initialize_hydra, list_options
from codetool.config.plugins import find_import_folder, is_writable_by_all
from codetool.errors import ConfigError
from codetool.runs.write_errors import explain_write_errors

PACKAGES = {"benchmark": "benchmarks", "search": "search", "prm": "prm"}
"""Package in which CodeTool's own parts of each group lie."""
TEMPLATES = Path(__file__).parent / "templates"
RESERVED_VALUES = ("null", "true", "false", "inf", "nan")
"""Values of Hydra's grammar, which cannot name an option."""


@dataclass(frozen=True)
class NewPart:
    """A part that is to be written."""

    group: str
    """`benchmark`, `search` or `prm`."""
    name: str
    """Name of the option, of the module and of the test."""
    folder: Path
    """Folder that it is written into."""
    in_checkout: bool
    """Whether `folder` is the checkout of CodeTool."""

    @property
    def options(self) -> Path:
        """Folder of options."""
        return self.folder / "conf"

    @property
    def class_name(self) -> str:
        """Name of the class: `BestFirst` of the search `best_first`, `BestFirstPRM` of the PRM."""
        words = "".join(word[:1].upper() + word[1:] for word in self.name.split("_"))
        return f"{words}PRM" if self.group == "prm" else words

    @property
    def module(self) -> str:
        """Dotted name of the module, as seen from the folder that modules beside the options are imported from."""
        if self.in_checkout:
            return f"codetool.{PACKAGES[self.group]}.{self.name}"
        packages = self.folder.resolve().relative_to(find_import_folder(self.folder.resolve() / "conf")).parts
        return ".".join([*packages, self.name])

    @property
    def files(self) -> dict[Path, str]:
        """File of each template."""
        package = PACKAGES[self.group]
        module = f"codetool/{package}/{self.name}.py" if self.in_checkout else f"{self.name}.py"
        test = f"tests/{package}/test_{self.name}.py" if self.in_checkout else f"tests/test_{self.name}.py"
        option = f"conf/{self.group}/{self.name}.yaml"
        templates = {module: "part.py.jinja", option: "option.yaml.jinja", test: "test.py.jinja"}
        return {self.folder / path: f"{self.group}/{template}" for path, template in templates.items()}

    def write(self) -> None:
        """Write the files. Raises ConfigError, before anything is written, if there is something of the name."""
        if problem := next(self._find_problems(), None):
            raise ConfigError(problem)
        for file, text in self._render().items():
            with explain_write_errors(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")

    def _find_problems(self) -> Iterator[str]:
        if not re.fullmatch(r"[A-Za-z]\w*", self.name, re.ASCII) or keyword.iskeyword(self.name):
            yield f"{self.name}: is no name of a Python module. Write letters, digits and _, such as best_first."
        if self.name.lower() in RESERVED_VALUES:
            yield f"{self.name}: {self.group}={self.name} would be a value and no name. Choose another name."
        if self.folder.exists() and not self.folder.is_dir():
            yield f"--into {self.folder}: is a file. Name a folder."
        if is_writable_by_all(find_import_folder(self.options)):
            yield f"--into {self.folder}: everybody may write there, so its modules are not imported. Name another one."
        folders = [f"file://{self.options.resolve()}"] if self.options.is_dir() and not self.in_checkout else []
        with initialize_hydra(folders):
            if self.name in list_options(self.group):
                yield f"{self.name}: there is {self.group}={self.name} already. Choose another name."
        if not self.in_checkout and "." not in self.module and _is_importable(self.name):
            yield f"{self.name}: there is a Python module of this name already. Choose another name."
        taken = [*(file for file in self.files if file.exists()), *self._find_tests()]
        if taken:
            yield f"{taken[0]}: is there already, and nothing is overwritten. Choose another name."

    def _find_tests(self) -> Iterator[Path]:
        """Yield test files of the same name, which pytest would not tell apart."""
        return (self.folder / "tests").rglob(f"test_{self.name}.py")

    def _render(self) -> Mapping[Path, str]:
        """Render each file."""
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
        )
        values = {
            "name": self.name, "class_name": self.class_name, "module": self.module, "in_checkout": self.in_checkout,
        }  # fmt: skip
        return {file: environment.get_template(template).render(values) for file, template in self.files.items()}


def select_folder(into: Path | None) -> tuple[Path, bool]:
    """Return the folder to write into, and whether it is the checkout of CodeTool.

    Without `into` it is the checkout if the current folder is in it, else the current folder.
    """
    if into is not None:
        return into, False
    checkout = find_checkout()
    inside = checkout is not None and Path.cwd().resolve().is_relative_to(checkout)
    return (checkout, True) if checkout is not None and inside else (Path(), False)


def find_checkout() -> Path | None:
    """Return the folder of the checkout that CodeTool runs from; None if it is an installed package."""
    folder = PACKAGE.resolve().parent
    return folder if (folder / "pyproject.toml").is_file() and (folder / "conf" / "config.yaml").is_file() else None


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
