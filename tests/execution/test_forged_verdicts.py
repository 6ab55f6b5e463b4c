"""A step that replaces Python functions of its process does not make later steps of its path succeed."""

import pytest
from sandbox_support import TASK, Tool, settings

from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.sandbox import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIND = "import builtins, io, json, linecache, os, socket, sys, traceback, types, ast, re\n" + (
    "def find(name):\n"
    "    return next(m for n, m in list(sys.modules.items()) if n.startswith('codetool') and n.endswith(name))\n"
    "def set_all(owner, value):\n"
    "    for name in list(vars(owner)):\n"
    "        if not name.startswith('__') and callable(getattr(owner, name, None)):\n"
    "            try: setattr(owner, name, value)\n"
    "            except Exception: pass\n"
    "DONE = dict(kind='done', observation='', error=None, stderr='')\n"
)
OWN = {
    "description is empty": "find('run_step').format_exception = lambda *a: ''",
    "description is None": "find('run_step').format_exception = lambda *a: None",
    "description fails": "def fail(*a): raise SystemExit(0)\nfind('run_step').format_exception = fail",
    "every function of run_step": "set_all(find('run_step'), lambda *a, **k: None)",
    "every method of the runner": "set_all(find('run_step').StepRunner, lambda *a, **k: ('', None, ''))",
    "every function of the worker": "set_all(find('inside.worker'), lambda *a, **k: None)",
    "every method of the connection": "set_all(find('inside.worker').HostConnection, lambda *a, **k: None)",
    "sealed functions": "set_all(find('sealed'), lambda *a, **k: (lambda *b, **l: ('', None, '')))",
    "pack": "m = find('protocol')\nold = m.pack\nm.pack = lambda message: old({**message, 'error': None})",
    "encoder": "m = find('protocol')\nold = m._encode\nm._encode = lambda message: old({**message, 'error': None})",
    "every function of the protocol": "set_all(find('protocol'), lambda *a, **k: None)",
    "decoder": "m = find('protocol')\nm.unpack = m._decode = lambda *a: {'kind': 'run', 'code': 'pass', 'name': 'x'}",
    "JSONEncoder": 'json.JSONEncoder.encode = json.JSONEncoder.iterencode = lambda s, o, *a: \'{"kind":"done"}\'',
    "JSONDecoder": "json.JSONDecoder.decode = json.JSONDecoder.raw_decode = lambda s, t, *a: ({'code': 'pass'}, 0)",
}
OTHERS = {
    "json": "set_all(json.encoder, lambda *a, **k: None)\nset_all(json.scanner, lambda *a, **k: None)",
    "exec": "builtins.exec = builtins.eval = lambda *a, **k: None",
    "compile": "old = compile\nbuiltins.compile = lambda *a, **k: old('pass', 'x', 'exec')",
    "BaseException": "builtins.BaseException = builtins.Exception = builtins.SystemExit = KeyError",
    "isinstance": "builtins.isinstance = lambda *a: True",
    "SystemExit": "builtins.SystemExit = ZeroDivisionError",
    "types": "builtins.type = builtins.str = builtins.int = builtins.len = builtins.bytearray = lambda *a: 0",
    "ast.parse": "ast.parse = lambda *a, **k: ast.Module([], [])",
    "ast classes": "ast.Expr = ast.Expression = ast.Module = type(None)",
    "socket": "set_all(socket.socket, lambda *a, **k: b'')\nset_all(socket, lambda *a, **k: (b'', [], 0, None))",
    "os": "os.write = os.read = lambda *a: 10**6",
    "io": "io.TextIOWrapper = io.StringIO = io.BytesIO = io.RawIOBase = None",
    "streams": "class S:\n    def flush(self): raise SystemExit(0)\n    def write(self, t): pass\n"
    "sys.stdout = sys.stderr = S()",
    "linecache": "linecache.cache = None",
    "hooks": "sys.excepthook = sys.displayhook = sys.unraisablehook = lambda *a: None",
    "traceback": "set_all(traceback, lambda *a, **k: '')",
    "re": "re.compile = re.sub = lambda *a, **k: None",
    "modules": "for n in list(sys.modules): sys.modules[n] = types.ModuleType(n)",
    "no modules": "sys.modules.clear()",
    "tracing": "def trace(frame, event, argument):\n    if 'error' in frame.f_locals: frame.f_locals['error'] = None\n"
    "    frame.f_trace_opcodes = True\n    return trace\nsys.settrace(trace)\nframe = sys._getframe()\n"
    "while frame: frame.f_trace = trace; frame = frame.f_back",
    "profiling": "sys.setprofile(lambda frame, event, argument: frame.f_locals.update(error=None))",
    "an exception's texts": "class E(ZeroDivisionError):\n    __str__ = __repr__ = lambda s: ''\n    code = 0\n"
    "class M(type): __name__ = ''\nbuiltins.ZeroDivisionError = E",
}
FAILING = ("1/0", "x = 1\nraise SystemExit(3)", "assert False")


async def check_later_steps_fail(root: SandboxInterpreter, patch: str) -> None:
    patched = await root.branch()
    await patched.run(FIND + patch)
    for code in FAILING:
        execution = await (await patched.branch()).run(code)
        assert execution.status in ("exception", "killed"), (code, execution)
        assert execution.error
    execution = await patched.run("1/0")
    assert execution.status in ("exception", "killed"), execution
    await patched.close()


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
async def test_replaced_functions_forge_nothing(name: str, root: SandboxInterpreter) -> None:
    await check_later_steps_fail(root, {**OWN, **OTHERS}[name])


@pytest.mark.parametrize("name", ["description is empty", "pack", "every method of the runner", "JSONEncoder"])
async def test_replaced_functions_of_its_own_are_counted(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("import json\njson.loads('[1]')\nx = 1")
        assert sandbox.counts == {}
        await root.run(FIND + OWN[name])
        assert (await root.run("1/0")).status == "exception"
        assert sandbox.counts == {"replaced_functions": 2}
    messages = [record.getMessage() for record in caplog.records if "replaced functions" in record.getMessage()]
    assert len(messages) == 1


async def test_syntax_errors_and_failed_tools_are_decided_by_the_host(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    await root.run(FIND + OWN["description is empty"])
    assert (await root.run("this is not python (")).status == "exception"
    code = "import requests\ntry: requests.get('https://a.example/missing')\nexcept BaseException: pass"
    assert (await root.run(code)).status == "tool_failed"
    await root.close()
