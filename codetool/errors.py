"""Exceptions that CodeTool raises for the user, with their exit codes.

    CodeToolError                a message for the user: name, value, what is allowed, what to do
    ├── ConfigError              an option or a combination of options is wrong (exit code 2)
    ├── MissingError             a file, folder, model, key or recorded answer is not there (exit code 2)
    ├── UnreachableError         a host refused, is unknown or stayed silent (exit code 3)
    ├── SandboxError             the sandbox cannot be built as demanded, or broke (exit code 4)
    ├── WriteError               a file of a run cannot be written: the disk is full, read-only or failing
    └── PromptRefusedError       a server refuses one prompt; a policy proposes a step without code then
        ├── PromptTooLongError   a prompt exceeds a model's context
        └── PromptFilteredError  a server's content filter refuses a prompt

Generated code that fails raises none of these: it becomes an `Execution`.
"""

from __future__ import annotations


class CodeToolError(Exception):
    """Base of all errors meant for the user; `run.py` prints the message alone, without a traceback."""

    exit_code = 1


class CheckTimeoutError(CodeToolError):
    """A benchmark's check of an answer took too long."""

    def __init__(self, benchmark: str, seconds: float) -> None:
        super().__init__(
            f"the check of {benchmark} did not answer within {seconds:g} s. Let it be faster, or return None for "
            "answers that it cannot check; the same command tries the task again"
        )


class ConfigError(CodeToolError):
    """An option, or a combination of options, is wrong. The message names every such option."""

    exit_code = 2


class MissingError(CodeToolError):
    """Something the run needs is not there; the message says what, where it was looked for and how to get it."""

    exit_code = 2


class UnreachableError(CodeToolError):
    """A server refused the connection, is unknown or stayed silent."""

    exit_code = 3


class SandboxError(CodeToolError):
    """The sandbox cannot be built with the requested isolation, or its root process died."""

    exit_code = 4


class WriteError(CodeToolError):
    """A file of a run cannot be written, so the run ends; what it wrote before is complete."""


class PromptRefusedError(CodeToolError):
    """A server refuses this prompt, but answers others."""


class PromptFilteredError(PromptRefusedError):
    """A server's content filter refuses a prompt."""


class PromptTooLongError(PromptRefusedError):
    """A prompt exceeds the model's context: its path cannot be continued, but other paths can."""
