"""A task and a prompt that the policies' tests share."""

import pytest
from paths import SEARCH

from codetool.prompts.policy_prompt import StepPrompt
from codetool.types import Task


@pytest.fixture
def task() -> Task:
    return Task(id="t1", query="When did The Matrix come out?", tools=(SEARCH,))


@pytest.fixture
def prompt() -> StepPrompt:
    return StepPrompt(
        instruction="Solve {{ query }}",
        result="{{ output }}{{ error }}",
        max_observation_chars=100,
        max_response_chars=100,
    )
