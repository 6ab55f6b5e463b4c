"""Steps cannot read the package, which holds the benchmarks' gold answers, wherever it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "codetool"
GOLD = "codetool/benchmarks/data/gold.jsonl"
READ = """
import asyncio, sys
from sandbox_support import TASK, Tool, settings
import codetool
async def main():
    async with settings(isolation=sys.argv[1]).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        print(codetool.__file__, sandbox.in_force["namespaces"][:2])
        for path in sys.argv[2:]:
            execution = await root.run(f"print(open({path!r}).read())")
            print((execution.error or execution.observation).split(":")[0])
        print((await root.run("import neighbour, os\\nprint(neighbour.value, os.path.basename(neighbour.__file__))")))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of an environment in which the package is installed as a copy, not editable."""
    environment = tmp_path_factory.mktemp("installed")
    site = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    shutil.copytree(PACKAGE, site / "codetool", ignore=shutil.ignore_patterns("data", "__pycache__", "conf"))
    (site / GOLD).parent.mkdir(parents=True, exist_ok=True)
    (site / GOLD).write_text("BREACH")
    (site / "link").symlink_to("codetool")
    (site / "neighbour.py").write_text("value = 7")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (environment / "lib64").symlink_to("lib")
    (environment / "bin").mkdir()
    (environment / "bin/python").symlink_to(Path(sys.executable).resolve())
    (environment / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix, 'bin')}\n")
    return site


@pytest.mark.parametrize("prefix", [(), (sys.executable, str(HERE / "weaker.py"), "no_namespaces")])
def test_installed_package_is_not_readable(prefix: tuple[str, ...], site: Path) -> None:
    python = site.parents[2] / "bin/python"
    alias = site.parents[2] / "lib64" / site.relative_to(site.parents[1])
    paths = [str(folder / name) for folder in (site, alias) for name in (GOLD, "codetool/types.py", "link/types.py")]
    isolation = "best_effort" if prefix else "required"
    environment = os.environ | {"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*prefix, str(python), "-c", READ, isolation, *paths]
    ended = subprocess.run(command, env=environment, cwd=HERE, capture_output=True, text=True, timeout=60)
    first, *errors, neighbour = ended.stdout.splitlines()
    assert first == f"{site / 'codetool/__init__.py'} {'NO' if prefix else 'us'}", ended.stderr
    assert len(errors) == 6
    assert set(errors) <= {"PermissionError", "FileNotFoundError"}
    assert "observation='7 neighbour.py" in neighbour, neighbour
