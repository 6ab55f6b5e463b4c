import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sandbox_support import TASK, Tool, settings

from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.sandbox import Sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """One sandbox for a module, opened while a secret lies in the environment and in an inheritable open file.

    The module's STEP_SECONDS are the limit of its steps.
    """
    secret = tmp_path_factory.mktemp("host") / "secret.txt"
    secret.write_text("SECRET")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("CODETOOL_TEST_SECRET", "SECRET")
    monkeypatch.setenv("CODETOOL_TEST_FILE", str(secret))
    with secret.open() as held:
        os.set_inheritable(held.fileno(), True)
        async with settings(timeout=getattr(request.module, "STEP_SECONDS", 0.5)).open() as live:
            yield live
    monkeypatch.undo()


@pytest_asyncio.fixture(loop_scope="module")
async def root(sandbox: Sandbox) -> AsyncIterator[SandboxInterpreter]:
    """An interpreter that has run nothing."""
    interpreter = await sandbox.start(TASK, Tool())
    yield interpreter
    await interpreter.close()
