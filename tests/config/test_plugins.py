"""Installed packages that declare options: found without an import, and none can spoil the options of others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from plugin_doors import DOORS, PACKAGE, PLUGIN, SEARCH_PATH, forget_modules, write_metadata

from codetool.config.help import format_help
from codetool.config.invocation import list_added_words
from codetool.config.overrides import compose_all
from codetool.config.plugins import describe_broken_plugins, is_declared, list_plugins, make_importable
from codetool.config.run_config import validate
from codetool.config.shell_completion import complete_shell
from codetool.errors import ConfigError


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a test installs packages into, on Python's path."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget_modules(monkeypatch)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def add_package(site: Path, name: str, options: dict[str, str], code: str = "", version: str = "1.0") -> None:
    """Install a package whose options are given by `group/option`."""
    (site / name).mkdir()
    (site / name / "__init__.py").write_text(code)
    for path, text in options.items():
        (site / name / "conf" / path).parent.mkdir(parents=True, exist_ok=True)
        (site / name / "conf" / f"{path}.yaml").write_text(text)
    write_metadata(site, name.replace("_", "-"), version, {name: f"{name}.conf"})


def test_options_of_an_installed_package_are_known_without_importing_it(site: Path) -> None:
    (site / PACKAGE).symlink_to(PLUGIN / PACKAGE)
    write_metadata(site, "film-shop", "1.2", {PACKAGE: f"{PACKAGE}.conf"})
    [config] = compose_all(["search=widest", "search.children=3"])
    assert config.search.children == 3
    assert "widest" in format_help([]) and "number of candidates" in format_help(["search=widest"])
    assert not [name for name in sys.modules if name.startswith(PACKAGE)]
    with pytest.raises(ConfigError, match="search=widst.*Allowed: adaptive, beam, .*widest.*Did you mean widest"):
        compose_all(["search=widst"])
    with pytest.raises(ConfigError) as error:
        compose_all(["search=widest", "serach.n=3"])
    assert str(error.value).startswith("serach.n=3: ") and len(str(error.value).splitlines()) == 1
    assert [plugin.distribution for plugin in list_plugins()] == ["film-shop 1.2"]


def test_the_same_folder_added_twice_is_one(site: Path) -> None:
    (site / PACKAGE).symlink_to(PLUGIN / PACKAGE)
    write_metadata(site, "film-shop", "1.2", {PACKAGE: f"{PACKAGE}.conf"})
    [config] = compose_all([SEARCH_PATH, "search=widest"])
    assert config.search.children == 2


def test_an_option_of_two_packages_names_both(site: Path) -> None:
    for name in ("one_shop", "two_shop"):
        add_package(site, name, {"search/nearest": "defaults: [beam]\n"})
    compose_all(["search=beam"])  # nothing is wrong with what is not chosen
    with pytest.raises(ConfigError) as error:
        compose_all(["search=nearest"])
    [line] = str(error.value).splitlines()
    assert line.startswith("search=nearest: one-shop 1.0 (") and " and two-shop 1.0 (" in line


def test_an_option_with_a_name_of_ours_is_not_passed_over(site: Path) -> None:
    add_package(site, "one_shop", {"search/beam": "defaults: [greedy]\n"})
    compose_all(["search=greedy"])
    with pytest.raises(ConfigError, match=r"search=beam: CodeTool and one-shop 1.0 \("):
        compose_all(["search=beam"])


def test_a_package_adds_no_stage(site: Path) -> None:
    add_package(site, "one_shop", {"stage/sell": "# @package _global_\nstage: sell\n"})
    with pytest.raises(ConfigError, match="stage=sell: stage has no option 'sell'"):
        compose_all(["stage=sell"])


def test_a_package_whose_module_cannot_be_imported_is_one_line(site: Path) -> None:
    code = "raise RuntimeError('no GPU')"
    add_package(site, "one_shop", {"search/far": "_target_: one_shop.search.Far\n"}, code)
    validate(compose_all(["search=greedy"])[0])
    with pytest.raises(ConfigError) as error:
        validate(compose_all(["search=far"])[0])
    assert str(error.value) == "search._target_=one_shop.search.Far: cannot be had (RuntimeError: no GPU)"
    with pytest.raises(ConfigError) as error:
        compose_all(["hydra.searchpath=[pkg://one_shop.conf]"])
    assert str(error.value) == "pkg://one_shop.conf cannot be had (RuntimeError: no GPU)"


def test_an_entry_point_without_a_folder_is_told_and_left_out(site: Path) -> None:
    write_metadata(site, "gone", "3", {"gone": "gone.conf"})
    [line] = describe_broken_plugins()
    assert line.startswith("plug-in gone 3: its entry point names gone.conf, and there is no such folder")
    compose_all(["search=greedy"])


def test_modules_beside_a_folder_of_options_are_importable(tmp_path: Path) -> None:
    (tmp_path / "conf" / "search").mkdir(parents=True)
    (tmp_path / "beside_options.py").write_text("from codetool.search.greedy import Greedy as Mine\n")
    (tmp_path / "conf" / "search" / "mine.yaml").write_text("_target_: beside_options.Mine\nn: 1\ndepth: 2\n")
    config = validate(compose_all(["search=mine"], flags=["--config-dir", str(tmp_path / "conf")])[0])
    assert config.search.depth == 2 and sys.path[-1] == str(tmp_path)


def test_a_folder_that_everybody_may_write_to_is_no_place_for_modules(tmp_path: Path) -> None:
    (tmp_path / "shared" / "conf").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o1777)
    make_importable(tmp_path / "shared" / "conf")
    assert str(tmp_path / "shared") not in sys.path


@pytest.mark.parametrize("name", DOORS)
def test_classes_are_declared_by_the_command_or_by_the_installation(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_declared("film_shop.search.Widest")
    door = DOORS[name](tmp_path / "door", monkeypatch)
    door.compose("search=widest")
    door.set_hydra_config()
    assert is_declared("film_shop.search.Widest") and is_declared("codetool.search.beam.Beam")
    assert list_added_words() == [*(f"--config-dir={folder}" for folder in door.flags[1:]), *door.words]
    assert not any(map(is_declared, ("os.system", "codetools.X", "tests.X", "nowhere.X", "json.tool.X")))


@pytest.mark.parametrize(
    ("line", "expected"),
    [("search=wi", "search=widest"), ("search=widest search.ch", "search.children="), ("policy_prompt@x=fe", "")],
)
def test_the_shell_completes_options_of_packages(
    line: str, expected: str, site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / PACKAGE).symlink_to(PLUGIN / PACKAGE)
    write_metadata(site, "film-shop", "1.2", {PACKAGE: f"{PACKAGE}.conf"})
    monkeypatch.setattr(sys, "argv", ["codetool"])
    monkeypatch.setattr(os, "environ", os.environ | {"COMP_LINE": f"codetool {line}"})
    assert complete_shell(["-sc", "query=bash"], [])
    assert capsys.readouterr().out.strip() == expected
