import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTEST = (sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", str(HERE / "test_attacks.py"))
NEED_OWN_MOUNTS = (str(HERE / "test_separation.py"), str(HERE / "test_branch_files.py"))
OPEN = """
import asyncio
from sandbox_support import settings
async def main():
    async with settings().open() as sandbox:
        print(dict(sandbox.in_force))
asyncio.run(main())
"""


def run(who: str, *command: str, isolation: str = "required") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "CODETOOL_TEST_ISOLATION": isolation,
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    weaker = [sys.executable, str(HERE / "weaker.py"), who, *command]
    return subprocess.run(weaker, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the attacks as himself anyway")
@pytest.mark.skipif(not Path(sys.prefix).stat().st_mode & 0o001, reason="only its owner may enter this environment")
def test_attacks_fail_for_an_ordinary_user_too() -> None:
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o777)
        ended = run("nobody", *PYTEST, *NEED_OWN_MOUNTS, "--basetemp", f"{shared}/t")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout


@pytest.mark.slow
def test_attacks_fail_without_namespaces_too(tmp_path: Path) -> None:
    ended = run("no_namespaces", *PYTEST, "--basetemp", str(tmp_path / "t"), isolation="best_effort")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout


def test_required_isolation_names_the_missing_layer_and_the_way_out() -> None:
    ended = run("no_namespaces", sys.executable, "-c", OPEN)
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("codetool.errors.SandboxError")
    for word in ("namespaces", "max_user_namespaces", "executor.isolation=best_effort"):
        assert word in message


def test_best_effort_says_what_is_missing() -> None:
    ended = run("no_namespaces", sys.executable, "-c", OPEN, isolation="best_effort")
    assert "'namespaces': 'NO (" in ended.stdout
    assert "'seccomp': 'allow-list" in ended.stdout
    assert "'scratch': 'NO (" in ended.stdout
    [line] = [line for line in ended.stderr.splitlines() if "scratch_mib" in line]
    assert "executor.scratch_mib=4 limits each file of a step, not its folder" in line


def test_sandbox_whose_branches_get_no_mounts_of_their_own_goes_without_namespaces_or_not_at_all() -> None:
    ended = run("one_mount_namespace", sys.executable, "-c", OPEN)
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("codetool.errors.SandboxError")
    assert "no mount namespace for each branch" in message
    assert "user.max_mnt_namespaces" in message
    ended = run("one_mount_namespace", sys.executable, "-c", OPEN, isolation="best_effort")
    assert "'namespaces': 'NO (no mount namespace for each branch" in ended.stdout
