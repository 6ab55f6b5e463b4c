import pytest

from codetool.execution.interpreter import LiveInterpreter

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
        ("import sys\nprint('hidden', file=sys.stderr)", ""),
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
    root: LiveInterpreter, code: str, observation: str
) -> None:
    execution = await root.run(code)
    assert (execution.status, execution.observation) == ("ok", observation)


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
async def test_error_names_type_message_and_line(root: LiveInterpreter, code: str, error: str) -> None:
    execution = await root.run(f"{code}")
    assert (execution.status, execution.error) == ("exception", error)


async def test_what_was_printed_before_an_exception_is_kept(root: LiveInterpreter) -> None:
    assert (await root.run("print('before')\n1/0")).observation == "before\n"


async def test_step_after_exit_can_be_asked_for_input_as_before(root: LiveInterpreter) -> None:
    await root.run("exit()")
    assert (await root.run("input('name? ')")).error == "EOFError: EOF when reading a line (line 1: input('name? '))"


async def test_stream_kept_from_an_earlier_step_still_prints(root: LiveInterpreter) -> None:
    await root.run("import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO', format='%(message)s')")
    branch = await root.branch()
    assert (await branch.run("logging.info('seen')\nlogging.shutdown()")).observation == "seen\n"
    await branch.run("sys.stdout.close()")
    assert (await branch.run("print(1)")).observation == "1\n"
    await branch.close()


async def test_long_output_is_cut(root: LiveInterpreter) -> None:
    assert (await root.run("print('é' * 5000)")).observation == "é" * 2000
