"""The command line under test and the model servers behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer
from command_line import CommandLine
from scripted_policy import scripted_server


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "outputs")


@pytest.fixture
def policy() -> Iterator[ChatServer]:
    with scripted_server(latency=0.02) as server:
        yield server


@pytest.fixture
def slow_policy() -> Iterator[ChatServer]:
    with scripted_server(latency=0.5) as server:
        yield server
