import pytest

from codetool.execution.interpreter import SandboxInterpreter
from codetool.types import STDERR_MARK

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("code", "observation"),
    [
        ("print('a')\nprint('b', end='')", "a\nb"),
        ("1 + 1", "2\n"),
        ("'text'", "text\n"),
        ("print(1)\n[1, 'a']", "1\n[1, 'a']\n"),
        ("None", ""),
        ("x = 1", ""),
        ("import sys\nsys.stdout.write('é\\ud800')", "é?2\n"),
        ("import sys\nsys.stdout.buffer.write(b'raw')\nNone", "raw"),
        ("def f():\n    return 1\nf()", "1\n"),
        ("__name__", "__main__\n"),
        ("import sys, io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint('é')", "é\n"),
        ("import sys\nsys.__stdout__.write('a')\nNone", "a"),
        ("map(str, [])", "<map object at 0x...>\n"),
        ("print('done')\nexit()", "done\n"),
        ("import sys\nprint('done')\nsys.exit(0)", "done\n"),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(0.001)\n    return 5\nasyncio.run(f())", "5\n"),
        ("import asyncio\nasync def f():\n    return await asyncio.to_thread(abs, -6)\nasyncio.run(f())", "6\n"),
    ],
)
async def test_observation_is_what_was_printed_and_the_last_expression(
    root: SandboxInterpreter, code: str, observation: str
) -> None:
    execution = await root.run(code)
    assert (execution.status, execution.observation) == ("ok", observation)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import sys\nprint('low', file=sys.stderr)", "low"),
        ("import sys\nsys.stderr.write('low')\nNone", "low"),
        ("import sys\nsys.__stderr__.write('low')\nNone", "low"),
        ("import sys\nsys.stderr.buffer.write(b'low')\nNone", "low"),
        ("import logging\nlogging.error('no film')", "ERROR:root:no film"),
        ("import logging\nlogging.getLogger('x').warning('no film')", "no film"),
        ("import warnings\nwarnings.warn('old')", "UserWarning: old"),
        (
            "import traceback\ntry:\n    1 / 0\nexcept Exception:\n    traceback.print_exc()",
            "ZeroDivisionError: division by zero",
        ),
        (
            "import sys, traceback\ntry:\n    {}['a']\nexcept KeyError:\n"
            "    print(traceback.format_exc(), file=sys.stderr)",
            "KeyError: 'a'",
        ),
        (
            "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()",
            "ZeroDivisionError: division by zero",
        ),
    ],
)
async def test_what_goes_to_stderr_is_seen_below_a_mark_and_is_no_answer(
    root: SandboxInterpreter, code: str, line: str
) -> None:
    execution = await root.run(f"print('out')\n{code}")
    printed, mark, written = execution.observation.partition(f"{STDERR_MARK}\n")
    assert (execution.status, printed, execution.printed) == ("ok", "out\n", "out\n")
    assert mark
    assert line in written
    assert written == execution.stderr
    assert (await root.run("print(1)")).observation == "1\n"


async def test_only_the_last_lines_of_stderr_are_kept(root: SandboxInterpreter) -> None:
    execution = await root.run("import sys\nfor i in range(5000):\n    print(i, 'x' * 20, file=sys.stderr)")
    assert execution.stderr.splitlines()[-1].startswith("4999 ")
    assert len(execution.stderr.splitlines()) == 10
    wide = await root.run("import sys\nprint('x' * 10**7 + 'end', file=sys.stderr)")
    assert wide.stderr == "x" * 997 + "end"
    assert wide.observation == f"{STDERR_MARK}\n{wide.stderr}"


async def test_stderr_names_no_folder_of_the_machine(root: SandboxInterpreter) -> None:
    code = "import json, traceback\ntry:\n    json.loads('')\nexcept ValueError:\n    traceback.print_exc()"
    execution = await root.run(code)
    assert 'File "json/__init__.py"' in execution.stderr
    assert 'File "/' not in execution.stderr


async def test_stderr_before_an_error_is_seen_too(root: SandboxInterpreter) -> None:
    execution = await root.run("import sys\nprint('low', file=sys.stderr)\n1 / 0")
    assert (execution.status, execution.stderr, execution.printed) == ("exception", "low", "")


@pytest.mark.parametrize(
    "code",
    ["this is not python (", "x = (", "return 5", "x = 'a", "\tx = 1\n  y = 2", "print(1)\nawait f()", "x = 1\0"],
)
async def test_what_python_cannot_read_never_counts_as_run(root: SandboxInterpreter, code: str) -> None:
    forge = "import sys\nsys.modules['codetool.execution.inside.run_step'].format_exception = lambda *a: ''"
    assert (await root.run(forge)).status == "ok"
    execution = await root.run(code)
    assert (execution.status, execution.printed) == ("exception", "")
    assert (execution.error or "").startswith(("SyntaxError: ", "IndentationError: ", "TabError: "))
    assert (await root.run("print(2)")).observation == "2\n"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("x = 1\ny = x / 0", "ZeroDivisionError: division by zero (line 2: y = x / 0)"),
        ("def f():\n    raise KeyError('k')\n\nf()", "KeyError: 'k' (line 2: raise KeyError('k'))"),
        ("x = (1\ny", "SyntaxError: '(' was never closed (line 1: x = (1)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (line 2: sys.exit(3))"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (line 1: raise KeyboardInterrupt)"),
        ("import math\nmath.sqrt(-1)", "ValueError: math domain error (line 2: math.sqrt(-1))"),
        ("input()", "EOFError: EOF when reading a line (line 1: input())"),
        ("def f(x: Missing): pass", "NameError: name 'Missing' is not defined (line 1: def f(x: Missing): pass)"),
        ("x = '\x0c\u2028'\nraise ValueError(map)", "ValueError: <class 'map'> (line 2: raise ValueError(map))"),
        ("raise KeyError(map(str, []))", "KeyError: <map object at 0x...> (line 1: raise KeyError(map(str, [])))"),
        ("import nothing", "ModuleNotFoundError: No module named 'nothing' (line 1: import nothing)"),
    ],
)
async def test_error_names_type_message_and_line(root: SandboxInterpreter, code: str, error: str) -> None:
    execution = await root.run(f"{code}")
    assert (execution.status, execution.error) == ("exception", error)


async def test_what_was_printed_before_an_exception_is_kept(root: SandboxInterpreter) -> None:
    assert (await root.run("print('before')\n1/0")).observation == "before\n"


async def test_step_after_exit_can_be_asked_for_input_as_before(root: SandboxInterpreter) -> None:
    await root.run("exit()")
    assert (await root.run("input('name? ')")).error == "EOFError: EOF when reading a line (line 1: input('name? '))"


async def test_stream_kept_from_an_earlier_step_still_prints(root: SandboxInterpreter) -> None:
    await root.run("import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO', format='%(message)s')")
    branch = await root.branch()
    assert (await branch.run("logging.info('seen')\nlogging.shutdown()")).observation == "seen\n"
    await branch.run("sys.stdout.close()")
    assert (await branch.run("print(1)")).observation == "1\n"
    await branch.close()


async def test_long_output_is_cut(root: SandboxInterpreter) -> None:
    assert (await root.run("print('é' * 5000)")).observation == "é" * 2000
