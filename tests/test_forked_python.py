"""How the test processes of the whole suite start: `python -c CODE` in a fork of the warm process."""

import shlex
import subprocess

import pytest
from warm_process import FORKED_PYTHON


@pytest.mark.parametrize(("last_line", "code"), [("", 0), ("sys.exit(3)", 3), ("os._exit(4)", 4), ("1 / 0", 1)])
def test_it_runs_code_as_python_does_with_torch_imported_already(last_line: str, code: int) -> None:
    program = f"import os, sys\nprint(input(), sys.argv, __name__, 'torch' in sys.modules, flush=True)\n{last_line}"
    command = [*shlex.split(FORKED_PYTHON), "-u", "-c", program]
    completed = subprocess.run(command, input="words\n", capture_output=True, text=True)
    assert (completed.returncode, completed.stdout) == (code, "words ['-c'] __main__ True\n")
    assert ("ZeroDivisionError" in completed.stderr) == (code == 1)
