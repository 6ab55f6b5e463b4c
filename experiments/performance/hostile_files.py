"""Attacks on the memory of the host process by files and answers that it parses."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from memory_meter import MIB, Meter


async def attack_journal(meter: Meter, tasks: int) -> None:
    """Read a journal with a line of 1 GiB."""
    from codetool.errors import ConfigError
    from codetool.runs import journal

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.jsonl"
        with file.open("wb") as stream:
            stream.write(b'{"task_id": "')
            stream.writelines([b"x" * MIB] * 1024)
        meter.start()
        try:
            list(journal.read_records(file))
        except ConfigError as error:
            meter.outcome = f"…{str(error)[len(str(file)) : 100 + len(str(file))]}"


async def attack_documents(meter: Meter, tasks: int) -> None:
    """Parse OpenAPI documents of many operations and of many values."""
    from codetool.benchmarks.openapi import parse_document, parse_tools
    from codetool.errors import ConfigError

    paths = ",".join(f'"/{n}": {{"get": {{}}}}' for n in range(1_000_000))
    text = f'{{"openapi": "3.0.0", "servers": [{{"url": "https://a.test"}}], "paths": {{{paths}}}}}'
    del paths
    meter.start()
    lines = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    for each in (text, f"a0: &a0 [x]\n{lines}"):
        try:
            parse_tools(parse_document(each))
        except ConfigError as error:
            meter.outcome += f"{str(error)[:70]}… "


async def attack_checker(meter: Meter, tasks: int) -> None:
    """Check long answers."""
    from codetool.benchmarks.answer_checker.checker import matches
    from codetool.types import Answer

    meter.start()
    start = time.monotonic()
    for text in ("1 " * 10**6, "[" + "1," * 10**6 + "1]", "9" * 10**6, "1e999999999"):
        for kind, value in (("list", [1, 2, 3]), ("number", 5), ("some_of", ["a", "b"])):
            matches(Answer(kind, value), text)  # type: ignore[arg-type]
    meter.outcome = f"12 checks in {time.monotonic() - start:.2f} s"
