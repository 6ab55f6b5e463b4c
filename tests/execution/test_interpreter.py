import asyncio
import re
import sys

import pytest
from sandbox_support import TASK, Tool, settings

from codetool.errors import SandboxError
from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.sandbox import Sandbox
from codetool.search.states import InterpreterTree
from codetool.types import Execution, HttpRequest, Node, Task, ToolAnswer, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALL = """import requests
r = requests.get('https://api.example/movie', params={'q': 'a b'}, headers={'Authorization': 'x'})
"""


async def test_variables_stay_from_step_to_step(root: SandboxInterpreter) -> None:
    await root.run("import math\nx = [1]\ndef f(): return x")
    assert (await root.run("f(), math.pi > 3")).observation == "([1], True)\n"


async def test_branches_have_the_parents_state_and_never_see_each_other(root: SandboxInterpreter) -> None:
    await root.run("x = [1]\nopen('f', 'w').write('root')\nimport os; os.mkdir('d'); open('d/g', 'w').write('g')")
    first, second = await asyncio.gather(root.branch(), root.branch())
    await first.run("x.append(2)\nopen('f', 'w').write('first')")
    assert (await second.run("print(x, open('f').read(), open('d/g').read())")).observation == "[1] root g\n"
    assert (await first.run("print(x, open('f').read())")).observation == "[1, 2] first\n"
    assert (await root.run("print(x, open('f').read())")).observation == "[1] root\n"
    await first.close()
    await second.close()


async def test_open_file_is_not_shared_with_a_branch(root: SandboxInterpreter) -> None:
    await root.run("f = open('log', 'w')\nprint('one', file=f, flush=True)")
    first, second = await root.branch(), await root.branch()
    for name, interpreter in (("a", first), ("b", second)):
        assert (await interpreter.run(f"print('{name}', file=f, flush=True)")).status == "ok"
    assert (await first.run("print(open('log').read())")).observation == "one\na\n\n"
    await first.close()
    await second.close()


async def test_a_step_has_the_limits_of_its_process(root: SandboxInterpreter) -> None:
    names = ["RLIMIT_CORE", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_NOFILE"]
    listed = await root.run(f"import resource\n[resource.getrlimit(getattr(resource, name)) for name in {names}]")
    assert listed.observation == "[(0, 0), (0, 0), (0, 0), (128, 128)]\n"


async def test_random_numbers_repeat_from_branch_to_branch(root: SandboxInterpreter) -> None:
    first, second = await root.branch(), await root.branch()
    code = "import random\nprint(random.random(), hash('text'))"
    assert (await first.run(code)).observation == (await second.run(code)).observation
    await first.close()
    await second.close()


async def test_request_reaches_the_tool_without_its_headers_and_answers_like_requests(sandbox: Sandbox) -> None:
    tool = Tool()
    root = await sandbox.start(TASK, tool)
    execution = await root.run(
        CALL + "r.raise_for_status()\n"
        "print(type(r).__name__, r.json(), r.status_code, r.ok, r.reason, r.url, r.headers['Content-Type'])"
    )
    expected = "Response {'n': 1} 200 True OK https://api.example/movie?q=a+b application/json\n"
    assert (execution.status, execution.observation) == ("ok", expected)
    assert tool.asked == [HttpRequest("GET", "https://api.example/movie?q=a+b")]
    assert [answer.body for answer in execution.calls] == ['{"n": 1}']
    await root.close()


async def test_body_and_own_adapters_go_the_same_way(sandbox: Sandbox) -> None:
    tool = Tool()
    root = await sandbox.start(TASK, tool)
    await root.run(
        "import requests\ns = requests.Session()\ns.mount('https://', requests.adapters.HTTPAdapter())\n"
        "s.post('https://a.example/x', json={'k': 'é'})"
    )
    assert tool.asked == [HttpRequest("POST", "https://a.example/x", '{"k": "\\u00e9"}')]
    await root.close()


async def test_failed_tool_is_named_and_the_code_goes_on(root: SandboxInterpreter) -> None:
    execution = await root.run("import requests\nprint(requests.get('https://a.example/missing').status_code)")
    assert (execution.status, execution.observation) == ("tool_failed", "404\n")
    assert execution.error == "GET https://a.example/missing answered 404"


async def test_requests_from_threads_are_answered_each(sandbox: Sandbox) -> None:
    tool = Tool()
    root = await sandbox.start(TASK, tool)
    execution = await root.run(
        "import requests\nfrom concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
        "    r = list(pool.map(lambda n: requests.get(f'https://a.example/{n}').url, range(20)))\nprint(len(set(r)))"
    )
    assert (execution.status, execution.observation) == ("ok", "20\n")
    assert len(execution.calls) == len(tool.asked) == 20
    await root.close()


async def test_step_may_end_while_its_threads_still_ask_for_tools(sandbox: Sandbox) -> None:
    async def slow(request: HttpRequest) -> ToolAnswer:
        await asyncio.sleep(0.02)
        return await Tool()(request)

    root = await sandbox.start(TASK, slow)
    execution = await root.run(
        "import requests, threading\ndef ask():\n    for n in range(50): requests.get(f'https://a.example/{n}')\n"
        "for n in range(3): threading.Thread(target=ask, daemon=True).start()\nprint('started')"
    )
    assert (execution.status, execution.observation[:16]) == ("ok", "started\n[Threads")
    assert (await root.run(CALL + "r.status_code")).observation == "200\n"
    await root.close()


async def test_step_that_asks_for_tools_without_end_is_stopped(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codetool.execution.step_execution.MAX_CALLS", 10)
    root = await sandbox.start(TASK, Tool())
    execution = await root.run("import requests\nwhile True: requests.get('https://a.example/x')")
    assert (execution.status, len(execution.calls)) == ("killed", 10)
    assert execution.error == "the interpreter died: the step called tools more than 10 times"


async def test_alarm_of_the_codes_own_confuses_no_answers(sandbox: Sandbox) -> None:
    async def slow(request: HttpRequest) -> ToolAnswer:
        await asyncio.sleep(0.05)
        return ToolAnswer(ToolCall("GET", request.url, {}), 200, f'"{request.url[-1]}"', "replica")

    root = await sandbox.start(TASK, slow)
    execution = await root.run(
        "import requests, signal\ndef late(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, late)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01)\ntry: requests.get('https://a.example/1')\n"
        "except TimeoutError: print('late')\nrequests.get('https://a.example/2').json()"
    )
    assert execution.observation == "late\n2\n"
    await root.close()


async def test_answer_of_ten_megabytes_arrives_whatever_its_characters() -> None:
    async def long(request: HttpRequest) -> ToolAnswer:
        return ToolAnswer(ToolCall("GET", request.url, {}), 200, "é" * 5_000_000, "replica")

    async with settings(timeout=20.0).open() as patient:  # decoding takes the step's own time, more on a busy machine
        root = await patient.start(TASK, long)
        execution = await root.run(CALL + "len(r.content)")
        assert execution.observation == "10000000\n", execution.error
        await root.close()


async def test_waiting_for_a_tool_does_not_count(sandbox: Sandbox) -> None:
    async def slow(request: HttpRequest) -> ToolAnswer:
        await asyncio.sleep(0.8)
        return await Tool()(request)

    root = await sandbox.start(TASK, slow)
    execution = await root.run(CALL)
    assert execution.status == "ok"
    assert execution.seconds < 0.5
    await root.close()


async def test_step_over_its_time_is_killed_soon_and_what_it_printed_is_kept(root: SandboxInterpreter) -> None:
    branch, other = await root.branch(), await root.branch()
    start = asyncio.get_running_loop().time()
    asleep = await other.run("import time\nprint('so far')\ntime.sleep(60)")
    assert asyncio.get_running_loop().time() - start < 30
    execution = await branch.run("print('so far')\nwhile True: pass")
    for ended in (asleep, execution):
        assert (ended.status, ended.observation) == ("timeout", "so far\n")
        assert 0.5 <= ended.seconds < 3
    for operation in (branch.run("1"), branch.branch()):
        with pytest.raises(SandboxError, match="longer than its limit"):
            await operation


async def test_step_without_code_is_no_code(root: SandboxInterpreter) -> None:
    assert (await root.run("  \n")).status == "no_code"


async def test_preamble_runs_before_the_first_step_and_must_not_fail(sandbox: Sandbox) -> None:
    root = await sandbox.start(Task("p", "q", (), preamble="headers = {'a': 1}"), Tool())
    assert (await root.run("headers['a']")).observation == "1\n"
    await root.close()
    with pytest.raises(SandboxError, match="preamble of task p failed: NameError"):
        await sandbox.start(Task("p", "q", (), preamble="no_such_name"), Tool())
    assert sandbox.live_branches == 0


async def test_closed_interpreter_refuses_and_its_branches_live_on(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    await root.run("x = 1")
    child = await root.branch()
    await root.close()
    await root.close()
    with pytest.raises(SandboxError, match="closed"):
        await root.run("1")
    grandchild = await child.branch()
    assert (await grandchild.run("x")).observation == "1\n"
    await child.close()
    await grandchild.close()
    assert sandbox.live_branches == 0


async def test_cancelled_step_is_killed(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    step = asyncio.ensure_future(root.run("while True: pass"))
    await asyncio.sleep(0.1)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert sandbox.live_branches == 0


async def test_cancelled_branch_leaves_nothing(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    for pause in (0, 0.0005, 0.001, 0.002, 0.003):
        task = asyncio.ensure_future(root.branch())
        await asyncio.sleep(pause)
        task.cancel()
        try:
            await (await task).close()
        except asyncio.CancelledError:
            pass
    assert (await root.run("'fine'")).observation == "fine\n"
    await root.close()
    await asyncio.sleep(0.1)
    assert sandbox.live_branches == 0
    assert len(sandbox.handle.processes()) == 1


async def test_error_of_the_broker_is_not_hidden(sandbox: Sandbox) -> None:
    async def broken(request: HttpRequest) -> ToolAnswer:
        raise TimeoutError("the broker's own")

    root = await sandbox.start(TASK, broken)
    with pytest.raises(TimeoutError, match="own"):
        await root.run(CALL)


async def test_many_branches_deep_goes_on_beyond_the_kernels_layers(sandbox: Sandbox) -> None:
    tool = Tool()
    node = await sandbox.start(TASK, tool)
    for depth in range(30):
        await node.run(f"{CALL}x = globals().get('x', 0) + r.json()['n']")
        child = await node.branch()
        await node.close()
        node = child
        assert len(tool.asked) == depth + 1
    assert (await node.run("x")).observation == f"{30 * 31 // 2}\n"
    await node.close()


async def test_one_tool_call_for_each_call_written(sandbox: Sandbox) -> None:
    tool = Tool()
    level = [await sandbox.start(TASK, tool)]
    for _ in range(3):
        children = [await node.branch() for node in level for _ in range(3)]
        await asyncio.gather(*(child.run(CALL) for child in children))
        level = children[:3]
    assert len(tool.asked) == 3 + 9 + 9


FRAMES = "import traceback\ntry:\n    f()\nexcept Exception:\n    traceback.print_exc()"


def find_file_names(execution: Execution) -> list[str]:
    """The file names in the traceback that FRAMES prints, from its own step to the one that defines `f`."""
    return re.findall(r'File "(<.*?>)"', execution.stderr)


async def test_tracebacks_name_steps_by_their_number_and_leave_the_preamble_out(sandbox: Sandbox) -> None:
    task = Task("p", "q", (), preamble="def f():\n    1 / 0")
    root = await sandbox.start(task, Tool())
    first = await root.run(FRAMES)
    assert find_file_names(first) == ["<step 1>", "<preamble>"]
    assert "    1 / 0\n" in first.stderr
    await root.run("def f():\n    [][0]")
    assert find_file_names(await root.run(FRAMES)) == ["<step 3>", "<step 2>"]
    await root.close()


async def test_step_numbers_are_those_of_the_path_after_a_step_that_ended_its_process_or_had_no_code() -> None:
    task = Task("p", "q", (), preamble="def f():\n    1 / 0")
    async with settings(timeout=0.3).open() as sandbox:
        tree = InterpreterTree(task, sandbox, Tool())
        ended = Node("1", Node("0"), 1)
        assert (await tree.run(ended.parent or ended, ended.id, "while True: pass", last=False)).status == "timeout"
        assert find_file_names(await tree.run(ended, "1-1", FRAMES, last=False)) == ["<step 2>", "<preamble>"]
        without_code = Node("1-1-1", Node("1-1", ended, 2), 3)
        third = await tree.run(without_code, "1-1-1-1", FRAMES, last=False)
        assert find_file_names(third) == ["<step 4>", "<preamble>"]
        await tree.close()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="later versions of Python allow it")
async def test_finalizer_that_parses_code_does_not_spoil_the_next_step(root: SandboxInterpreter) -> None:
    """Before Python 3.13, parsing fails if the garbage collector runs a finalizer that parses code meanwhile."""
    await root.run(
        "import ast, gc\nfails = 0\nclass Parses:\n    def __init__(self): self.cycle = self\n"
        "    def __del__(self): ast.parse('f(1)')\ngc.set_threshold(50)"
    )
    long = "\n".join(f"x{n} = [fails, (1, 2), dict(d=str(3))]" for n in range(200))
    for _ in range(5):
        await root.run("gc.disable()\nfor _ in range(100): Parses()\ngc.enable()")
        assert (await root.run(f"{long}\nprint(1)")).observation == "1\n"
