"""The whole program in one pass: what counts as one."""

from pathlib import Path

import pytest
import yaml

from codetool.prompts.step_format import ALL_FINISHED
from codetool.prompts.step_parser import parse_step
from codetool.prompts.whole_program import WholeProgramPrompt
from codetool.types import Task

YAML = Path(__file__).parents[2] / "conf" / "policy_prompt" / "whole_program.yaml"
TASK = Task("t", "Who?", ())
PROGRAM = "##Step 1: all of it\nPython Code:\n```python\nprint(1)\n```\n"


@pytest.fixture
def prompt() -> WholeProgramPrompt:
    fields = yaml.safe_load(YAML.read_text())
    assert fields.pop("_target_") == "codetool.prompts.whole_program.WholeProgramPrompt"
    return WholeProgramPrompt(**fields | {"max_observation_chars": 60})


@pytest.mark.parametrize(
    "raw", [PROGRAM, PROGRAM + f"{ALL_FINISHED}\n", PROGRAM + "[Step 1 Finished]", "```\nprint(1)\n```"]
)
def test_a_program_is_finished_with_or_without_the_marker(prompt: WholeProgramPrompt, raw: str) -> None:
    step = prompt.parse(raw, 1, TASK)
    assert (step.code, step.finished) == ("print(1)", True)
    assert parse_step(step.text, 1) == step


def test_a_failed_attempt_is_told_and_a_program_asked_for_again(prompt: WholeProgramPrompt) -> None:
    step = prompt.parse("I would rather not.", 1, TASK)
    assert (step.code, step.finished) == (None, False)
    assert prompt.parse(f"It is 7.\n{ALL_FINISHED}", 1, TASK).finished
