import asyncio
import time

from sandbox_support import TASK, Tool, settings

from codetool.types import Task

CALL = "import requests\nx = x + [requests.get('https://a.example/q').json()['n']]\n"


async def test_evicted_interpreter_is_rebuilt_without_calling_a_tool_again() -> None:
    tool = Tool()
    async with settings(max_live_processes=2).open() as sandbox:
        root = await sandbox.start(TASK, tool)
        await root.run("x = []")
        nodes = [await root.branch() for _ in range(6)]
        for node in nodes:
            await node.run(CALL)
        assert sandbox.live_branches <= 2
        seen = [(await node.run("x")).observation for node in nodes]
        assert seen == [f"[{n}]\n" for n in range(1, 7)]
        assert len(tool.asked) == 6
        assert sandbox.evicted_branches > 0
        assert sandbox.replayed_steps > 0


async def test_counting_leaves_replayed_steps_out() -> None:
    tool = Tool()
    async with settings(max_live_processes=1).open() as sandbox:
        root = await sandbox.start(TASK, tool)
        await root.run("x = []")
        first, second = await root.branch(), await root.branch()
        assert len((await first.run(CALL)).calls) == 1
        assert len((await second.run(CALL)).calls) == 1
        execution = await first.run(CALL + "print(x)")
        assert (execution.observation, len(execution.calls)) == ("[1, 3]\n", 1)


async def test_rebuilt_interpreter_is_as_it_was_after_failed_steps() -> None:
    async with settings(max_live_processes=1).open() as sandbox:
        node = await sandbox.start(TASK, Tool())
        await node.run("x = 1\nimport random\nr = random.random()\nopen('f', 'w').write('kept')\n1/0")
        before = (await node.run("print(x, r, random.random())")).observation
        other = await sandbox.start(TASK, Tool())
        assert (await other.run("1")).status == "ok"
        after = await node.run("print(x, r, open('f').read())")
        assert after.observation == " ".join(before.split()[:2]) + " kept\n"


async def test_far_more_tasks_than_places_all_end() -> None:
    async with settings(max_live_processes=3).open() as sandbox:

        async def search(number: int) -> str:
            node = await sandbox.start(TASK, Tool())
            await node.run(f"x = [{number}]")
            for _ in range(2):
                children = await asyncio.gather(node.branch(), node.branch())
                await asyncio.gather(*(child.run(CALL) for child in children))
                await node.close()
                await children[0].close()
                node = children[1]
            seen = (await node.run("x[0], len(x)")).observation
            await node.close()
            return seen

        seen = await asyncio.wait_for(asyncio.gather(*(search(n) for n in range(25))), 60)
        assert list(seen) == [f"({n}, 3)\n" for n in range(25)]
        assert sandbox.live_branches == 0


async def test_step_that_times_out_frees_its_place() -> None:
    async with settings(max_live_processes=1, timeout=0.3).open() as sandbox:
        first = await sandbox.start(TASK, Tool())
        step = asyncio.ensure_future(first.run("import time\ntime.sleep(60)"))
        await asyncio.sleep(0.05)
        second = await asyncio.wait_for(sandbox.start(TASK, Tool()), 30)
        assert (await step).status == "timeout"
        assert (await second.run("1")).observation == "1\n"


async def test_interpreter_that_was_branched_is_not_evicted_while_it_runs() -> None:
    async with settings(max_live_processes=3).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.branch()
        step = asyncio.ensure_future(root.run("import time\ntime.sleep(0.2)"))
        await asyncio.sleep(0.05)
        for _ in range(3):
            await sandbox.start(TASK, Tool())
        assert (await step).status == "ok"


async def test_branch_without_a_place_does_not_see_what_its_parent_does_next() -> None:
    async with settings(max_live_processes=2).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("x = 1")
        other = await sandbox.start(TASK, Tool())
        busy = asyncio.ensure_future(other.run("import time\ntime.sleep(0.1)"))
        await asyncio.sleep(0.02)
        branch = await root.branch()
        later = asyncio.ensure_future(root.run("import time\ntime.sleep(0.2)\nx = 2"))
        await asyncio.sleep(0.02)
        assert (await branch.run("x")).observation == "1\n"
        assert [execution.status for execution in await asyncio.gather(busy, later)] == ["ok", "ok"]


async def test_rebuilt_path_has_its_preamble_its_failed_tools_and_its_ended_threads() -> None:
    tool = Tool()
    task = Task("p", "q", (), preamble="seen = []")
    async with settings(max_live_processes=1).open() as sandbox:
        node = await sandbox.start(task, tool)
        failed = await node.run("import requests\nr = requests.get('https://a.example/missing')\nseen.append(r.text)")
        assert failed.status == "tool_failed"
        await node.run("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()")
        await (await sandbox.start(TASK, tool)).run("1")
        after = await node.run("seen, r.status_code, threading.active_count()")
        assert after.observation == "(['{\"n\": 1}'], 404, 1)\n"
        assert len(tool.asked) == 1


async def test_path_that_cannot_be_repeated_says_so() -> None:
    async with settings(max_live_processes=1).open() as sandbox:
        node = await sandbox.start(TASK, Tool())
        twice = "import requests\nfor _ in range(2 if {later} else 1): requests.get('https://a.example/x')"
        await node.run("import time\nstarted = time.time()")
        await node.run(twice.format(later=f"time.time() > {time.time() + 0.5}"))
        await asyncio.sleep(0.6)
        await (await sandbox.start(TASK, Tool())).run("1")
        execution = await node.run("1")
        assert execution.status == "killed"
        assert "could not be built: a step of its path could not be repeated" in (execution.error or "")


async def test_rebuilt_interpreter_keeps_the_numbers_of_its_steps() -> None:
    task = Task("p", "q", (), preamble="def p():\n    g()")
    async with settings(max_live_processes=1).open() as sandbox:
        node = await sandbox.start(task, Tool())
        await node.run("import traceback\nthis is no step")
        await node.run("def g():\n    f()", number=2)
        await node.run("def f():\n    1 / 0", number=4)
        await (await sandbox.start(task, Tool())).run("1")
        assert sandbox.evicted_branches > 0
        execution = await node.run(
            "import traceback\ntry:\n    p()\nexcept Exception:\n    traceback.print_exc()", number=5
        )
        assert sandbox.replayed_steps > 0
        names = [line.split('"')[1] for line in execution.stderr.splitlines() if 'File "' in line]
        assert names == ["<step 5>", "<preamble>", "<step 2>", "<step 4>"]
