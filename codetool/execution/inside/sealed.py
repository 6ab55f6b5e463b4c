"""Functions that run a step, read commands and report verdicts, which a step cannot change by patching modules.

An earlier step may have replaced any function, class attribute or builtin of its process. What decides a verdict
therefore looks up no name at the time: each function here is a closure over C functions and builtins that were taken
before any generated code ran, and the loop that calls them holds them in its local variables.

Code in the same process can still forge verdicts of its own path: it can catch its own exceptions, send a report
itself, or rewrite the closures by way of the garbage collector, stack frames, `ctypes` or an audit hook. No process can
prevent this in itself. It reaches no other path and no tool; syntax errors, tool failures, time-outs and the ends of
processes are decided by the host. Replaced functions are reported, so that the host counts them.
"""

from __future__ import annotations

import ast
import gc
import json.encoder
import json.scanner
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from codetool.execution.protocol import HEADER, Message

Verdict = tuple[str, str | None, str]
"""A step's stdout, its error if it raised one, and the end of its stderr."""


def bind_run(
    namespace: dict[str, Any],
    prepare: Callable[[str, str], None],
    describe: Callable[[BaseException, str, str], str],
    read_output: Callable[[], tuple[str, str]],
) -> Callable[[str, str], Verdict]:
    """A function that runs the code and name of a step in `namespace`.

    `prepare`, `describe` and `read_output` only make texts: whether the step failed does not depend on them.
    """
    compile_, exec_, eval_, print_, type_, str_ = compile, exec, eval, print, type, str
    base_exception, system_exit, integer = BaseException, SystemExit, int
    system_error, collect_garbage = SystemError, gc.collect
    get_exit_code = vars(SystemExit)["code"].__get__
    expression_statement, expression, issubclass_ = ast.Expr, ast.Expression, issubclass
    set_trace, set_profile, parse_only = sys.settrace, sys.setprofile, ast.PyCF_ONLY_AST

    def execute(code: str, name: str) -> None:
        try:
            tree = compile_(code, name, "exec", parse_only, True)
        except system_error:  # in Python before 3.13, if the collector runs a finalizer meanwhile that parses code
            collect_garbage()
            tree = compile_(code, name, "exec", parse_only, True)
        body = tree.body
        if not body or type_(body[-1]) is not expression_statement:
            exec_(compile_(code, name, "exec", 0, True), namespace)
            return
        last = body.pop()
        exec_(compile_(tree, name, "exec", 0, True), namespace)
        value = eval_(compile_(expression(last.value), name, "eval", 0, True), namespace)
        if value is not None:
            print_(value)

    def read_texts() -> tuple[str, str]:
        try:
            stdout, stderr = read_output()
            return (stdout, stderr) if type_(stdout) is type_(stderr) is str_ else ("", "")
        except base_exception:
            return "", ""

    def run(code: str, name: str) -> Verdict:
        error: str | None = None
        try:
            prepare(code, name)
            execute(code, name)
        except base_exception as raised:
            set_trace(None)
            set_profile(None)
            exit_code = get_exit_code(raised) if issubclass_(type_(raised), system_exit) else 1
            if not (exit_code is None or (type_(exit_code) is integer and exit_code == 0)):
                error = "the step raised an exception that cannot be described"
                try:
                    text = describe(raised, name, code)
                    error = text if type_(text) is str_ and text else error
                except base_exception:
                    pass
        set_trace(None)
        set_profile(None)
        stdout, stderr = read_texts()
        return stdout, error, stderr

    return run


def bind_receive() -> Callable[[socket.socket], tuple[Message, list[int]]]:
    """A function like `protocol.receive`: the next message of a socket, and the files sent with it."""
    receive_message, reserve, unpack = _base_socket().recvmsg, socket.CMSG_SPACE(16), HEADER.unpack
    scan: Callable[[str, int], tuple[Any, int]] = json.scanner.make_scanner(json.JSONDecoder())  # type: ignore[arg-type]
    rights, from_bytes, order, end_of_file, length = socket.SCM_RIGHTS, int.from_bytes, sys.byteorder, EOFError, len
    buffer_type = bytearray

    def receive(connection: socket.socket) -> tuple[Message, list[int]]:
        descriptors: list[int] = []
        data = buffer_type()
        expected = 4
        while length(data) < expected:
            chunk, ancillary, _, _ = receive_message(connection, expected - length(data), reserve)
            if not chunk:
                raise end_of_file("the host closed the line")
            for _, kind, content in ancillary:
                if kind == rights:
                    descriptors += [
                        from_bytes(content[start : start + 4], order) for start in (0, 4, 8, 12) if content[start:]
                    ]
            data += chunk
            if expected == 4 and length(data) == 4:
                expected += unpack(data)[0]
        message, _ = scan(data[4:].decode(), 0)
        return message, descriptors

    return receive


def bind_report(find_replaced: Callable[[], bool]) -> Callable[[int, int, Verdict], None]:
    """A function that sends the verdict of a step with the host's token on an open socket.

    `find_replaced` says whether functions of this process's own modules were replaced.
    """
    quote = json.encoder.encode_basestring_ascii
    write, pack, length, base_exception = os.write, HEADER.pack, len, BaseException

    def report(descriptor: int, token: int, verdict: Verdict) -> None:
        stdout, error, stderr = verdict
        try:
            replaced = "true" if find_replaced() else "false"
        except base_exception:
            replaced = "true"
        text = (
            f'{{"kind":"done","token":{token},"replaced":{replaced},"observation":{quote(stdout)},'
            f'"error":{"null" if error is None else quote(error)},"stderr":{quote(stderr)}}}'
        )
        body = text.encode()
        frame = pack(length(body)) + body
        while frame:
            frame = frame[write(descriptor, frame) :]

    return report


def bind_find_replaced(owners: Iterable[object]) -> Callable[[], bool]:
    """A function that says whether an attribute of the given modules and classes is not what it is now."""
    snapshots: list[tuple[Mapping[str, object], dict[str, object]]] = [
        (vars(owner), dict(vars(owner))) for owner in owners
    ]

    def find_replaced() -> bool:
        for current, before in snapshots:
            for name in before:
                if name not in current or current[name] is not before[name]:
                    return True
        return False

    return find_replaced


def _base_socket() -> type[Any]:
    """The C class below `socket.socket`, whose methods cannot be replaced."""
    return socket.socket.__mro__[1]
