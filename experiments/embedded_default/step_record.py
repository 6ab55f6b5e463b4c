"""Run the commands of a long script step by step, and record what each took and made, so that the script resumes.

The record is a JSON file: for each step its command, the seconds that it ran, added up over interrupted runs, its
seeds, what it printed that later steps need (`values`), and the sha256 of what it made. A finished step is not run
again as long as its outputs have these checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SEED = re.compile(r"\bseed=(\d+)")

Values = Mapping[str, str]
"""What a step printed that later steps need, by name."""
ReadOutput = Callable[[Sequence[str]], Values]
"""Finds the values in the lines that a command printed."""


class StepRecord:
    """The steps of a script and their record."""

    def __init__(self, file: Path, about: Mapping[str, Any]) -> None:
        """Read the record, if there is one; `about` is written at its top."""
        self._file = file
        steps = json.loads(file.read_text(encoding="utf-8"))["steps"] if file.is_file() else {}
        self._content: dict[str, Any] = {**about, "steps": steps}

    def run(
        self, name: str, words: Sequence[str], read: ReadOutput, outputs: Callable[[Values], Sequence[Path]]
    ) -> Values:
        """Run a Python command unless it is finished, and return its values.

        `outputs` gives the files and folders that the step makes, from its values. Exits with the command's exit code
        if it fails.
        """
        step = self._content["steps"].get(name, {})
        command = self._shorten(shlex.join(["python", *words]))
        if step.get("command") != command:
            step = {"command": command, "seconds": 0.0}
        if "sha256" in step and step["sha256"] == self._hash(outputs(self._expand(step["values"]))):
            print(f"\n{name}: finished already", flush=True)
            return self._expand(step["values"])
        lines, code = self._run_timed(name, step, words)
        if code:
            sys.exit(code)
        values = read(lines)
        step |= {"seed": _find_seed(words), "values": {key: self._shorten(value) for key, value in values.items()}}
        self._write(name, step | {"sha256": self._hash(outputs(values))})
        return values

    def _run_timed(self, name: str, step: dict[str, Any], words: Sequence[str]) -> tuple[list[str], int]:
        """Run a command and add its seconds to those of the step, also if it is interrupted."""
        print(f"\n{name}: {shlex.join(['python', *words])}", flush=True)
        began = time.monotonic()
        try:
            return _run(words)
        finally:
            step["seconds"] = round(step["seconds"] + time.monotonic() - began, 2)
            self._write(name, {key: step[key] for key in ("command", "seconds")})

    def _write(self, name: str, step: Mapping[str, Any]) -> None:
        self._content["steps"][name] = step
        self._content["seconds"] = round(sum(each["seconds"] for each in self._content["steps"].values()), 2)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")
        new.replace(self._file)

    def _shorten(self, text: str) -> str:
        """Return a text with OUT for the folder of the record."""
        return text.replace(str(self._file.parent), "OUT")

    def _expand(self, values: Values) -> Values:
        return {key: value.replace("OUT", str(self._file.parent), 1) for key, value in values.items()}

    def _hash(self, paths: Sequence[Path]) -> dict[str, str]:
        """Return the sha256 of every file in the paths by name; a missing one has an empty checksum."""
        files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        return {
            self._shorten(str(file)): hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
            for file in files
            if not file.is_dir()
        }


def _run(words: Sequence[str]) -> tuple[list[str], int]:
    """Run a Python command, show its output, and return its lines and its exit code."""
    lines: list[str] = []
    environment = os.environ | {"COLUMNS": "400"}  # so that no path is broken over two lines
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # Ctrl-C reaches the command by itself
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        finally:
            signal.signal(signal.SIGTERM, before)
    return lines, process.returncode


def _find_seed(words: Sequence[str]) -> int:
    """Return the seed that a command names; that of all stages is 0 otherwise."""
    return next((int(match[1]) for word in words if (match := SEED.search(word))), 0)
