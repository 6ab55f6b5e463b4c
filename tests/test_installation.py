"""CodeTool as users install it: a wheel, built from the source distribution, in an environment outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models
from command_line import ROOT, read_metrics
from plugin_doors import PLUGIN

LEFT_OUT = (".git", "outputs", ".*_cache", "build", "*.egg-info", "tests", "experiments", "notebooks")


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel, and an empty folder to work in."""

    environment: Path
    folder: Path

    def run(self, program: str, *words: str, fails: bool = False) -> str:
        """What a program of the environment prints."""
        folder = self.environment / "bin"
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        variables = os.environ | {"PYTHONPATH": "", "WANDB_MODE": "disabled", "PATH": path}
        command = [folder / program if (folder / program).exists() else program, *words]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def install(self, source: Path) -> None:
        """Install a wheel or a source folder, without what it requires."""
        pip = ["-m", "pip", "--python", str(self.environment / "bin" / "python"), "install", "--quiet", "--no-deps"]
        subprocess.run([sys.executable, *pip, "--no-build-isolation", str(source)], check=True, timeout=240)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installation")
    source = folder / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    build = f"import setuptools.build_meta as backend; backend.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, timeout=240, capture_output=True)
    [archive] = folder.glob("codetool-*.tar.gz")
    wheel = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), str(archive)]
    subprocess.run([sys.executable, *wheel], check=True, timeout=240)
    venv.create(folder / "environment", with_pip=False)
    [packages] = (folder / "environment" / "lib").glob("python*/site-packages")
    # what CodeTool requires is there already, without the checkout, which a .pth file of that folder would name
    (packages / "requirements.pth").write_text("\n".join(site.getsitepackages()))
    (folder / "empty").mkdir()
    made = Installation(folder / "environment", folder / "empty")
    made.install(next(folder.glob("codetool-*.whl")))
    return made


@pytest.mark.slow
def test_the_wheel_runs_outside_the_checkout(installation: Installation) -> None:
    where = installation.run("python", "-c", "import codetool; print(codetool.__file__)")
    assert str(installation.environment) in where
    assert "width: 7" in installation.run("codetool", "--cfg", "job", "search=beam", "search.width=7")


@pytest.mark.slow
def test_the_commands_of_the_page_on_plugins_run(installation: Installation) -> None:
    source = installation.folder.parent / "plugin"
    shutil.copytree(PLUGIN, source)
    installation.install(source)
    tiny_models.save("llama", installation.folder / "MODEL")
    page = (ROOT / "docs" / "plugins.md").read_text()
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    printed = {
        command: installation.run("bash", "-c", command) for command in commands if not command.startswith("pip ")
    }
    assert len(printed) == len(commands) - 1 == 15
    assert " passed" in printed["python -m pytest tests"] and "widest" in printed["codetool --help"]
    assert "run.py" not in printed["codetool --help"] and "    codetool benchmark=tmdb" in printed["codetool --help"]
    [result] = (installation.folder / "outputs" / "evaluate").glob("film_shop-widest-*")
    assert read_metrics(result)["metrics"]["success"]["value"] == 1
    assert f"{result.name}/report.html: 2 of 2 tasks" in "".join(printed.values())
    mistyped = installation.run("codetool", "search=widst", fails=True)
    assert "widest. Did you mean widest?" in mistyped and len(mistyped.splitlines()) == 1
