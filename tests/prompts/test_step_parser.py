"""What models write, and the step that comes of it."""

import time

import pytest

from codetool.prompts.step_format import ALL_FINISHED, format_stop_marker, strip_markers
from codetool.prompts.step_parser import parse_step

GOOD = "##Step 1: find it\nPython Code:\n```python\nprint(1)\n```\n"

SHOUTED = "## STEP 1: FIND IT\n```python\nprint(1)\n```\n"

# name, raw text, step asked for, code, finished
CASES = [
    ("in format", GOOD + "[Step 1 Finished]", 1, "print(1)", False),
    ("cut before the stop marker", GOOD, 1, "print(1)", False),
    ("last step", GOOD + "[All Finished]\n[Step 1 Finished]", 1, "print(1)", True),
    ("last step cut by the stop string", GOOD + "[All Finished]\n", 1, "print(1)", True),
    ("markers in the wrong order", GOOD + "[Step 1 Finished]\n[All Finished]", 1, "print(1)", True),
    ("both markers on one line", GOOD + "[All Finished] [Step 1 Finished]", 1, "print(1)", True),
    ("missing fence end", "##Step 1: a\nPython Code:\n```python\nprint(1)\n[Step 1 Finished]", 1, "print(1)", False),
    ("missing fence end at the end", "##Step 1: a\nPython Code:\n```python\nprint(1)", 1, "print(1)", False),
    ("fence without language", "##Step 1: a\nPython Code:\n```\nprint(1)\n```", 1, "print(1)", False),
    ("other name of the language", "##Step 1: a\n```py\nprint(1)\n```", 1, "print(1)", False),
    ("upper-case language", "##Step 1: a\n```Python\nprint(1)\n```", 1, "print(1)", False),
    ("two blocks", "##Step 1: a\n```python\nprint(1)\n```\nand\n```python\nprint(2)\n```", 1, "print(1)", False),
    ("shell first", "##Step 1: a\n```bash\npip install x\n```\n```python\nprint(1)\n```", 1, "print(1)", False),
    ("second block without the first's end", "```python\nprint(1)\n```python\nprint(2)\n```", 1, "print(1)", False),
    ("runs on into the next step", GOOD + "\n" + GOOD.replace("1", "2"), 1, "print(1)", False),
    ("runs on to the end", GOOD + GOOD.replace("1", "2") + "[All Finished]", 1, "print(1)", False),
    ("runs on inside an open fence", GOOD.replace("```\n", "\n") + GOOD.replace("1", "2"), 1, "print(1)", False),
    ("text around", "Sure, here it is!\n\n" + GOOD + "\nThis prints the id.\n", 1, "print(1)", False),
    ("invented observation", GOOD + "[Step 1 Finished]\nOutput: 7\n##Step 2: b", 1, "print(1)", False),
    ("wrong step number", GOOD, 3, "print(1)", False),
    ("wrong closing number", GOOD + "[Step 7 Finished]\nmore", 1, "print(1)", False),
    ("repeats earlier steps", GOOD + "[Step 1 Finished]\n" + GOOD.replace("1", "2"), 2, "print(2)", False),
    ("plan before the step", "Plan:\nStep 1: find\nStep 2: read\n\n" + GOOD, 1, "print(1)", False),
    ("header as a comment", "```python\n## Step 2: read\nprint(1)\n```", 1, "## Step 2: read\nprint(1)", False),
    ("no fence", "##Step 1: a\nPython Code:\nx = 1\nprint(x)\n[Step 1 Finished]", 1, "x = 1\nprint(x)", False),
    ("no fence, no announcement", "##Step 1: a\nimport math\nprint(math.pi)", 1, "import math\nprint(math.pi)", False),
    ("nothing but code", "x = 1\nprint(x)", 1, "x = 1\nprint(x)", False),
    ("only the fence end", "##Step 1: a\nPython Code:\nprint(1)\n```\n[Step 1 Finished]", 1, "print(1)", False),
    ("thought", "<think>\n```python\nprint(0)\n```\n</think>\n\n" + GOOD, 1, "print(1)", False),
    ("thought opened by the chat template", "let me see [Step 1 Finished]\n</think>\n" + GOOD, 1, "print(1)", False),
    ("thought without end", "<think>\nI could ```python\nprint(0)\n```", 1, None, False),
    ("null characters", GOOD.replace("(1)", "(\0" + "1)"), 1, "print(1)", False),
    ("expected output first", "##Step 1: a\n```\n7\n```\n```python\nprint(1)\n```", 1, "print(1)", False),
    ("language with version", "##Step 1: a\n```python3.11\nprint(1)\n```", 1, "print(1)", False),
    ("upper-case headers", SHOUTED + SHOUTED.replace("1", "2") + "[All Finished]", 1, "print(1)", False),
    ("Windows newlines", GOOD.replace("\n", "\r\n") + "[All Finished]\r\n", 1, "print(1)", True),
    ("one line", "##Step 1: a ```python print(1)```", 1, None, False),
    ("block on one line", "##Step 1: a\n```python print(1)```", 1, "print(1)", False),
    ("fence end behind code", "##Step 1: a\n```python\nprint(1)```\n[All Finished]", 1, "print(1)", True),
    ("marker behind code", "##Step 1: a\n```python\nprint(1) [Step 1 Finished]", 1, "print(1)", False),
    ("last marker inside the block", "##Step 1: a\n```python\nprint(1)\n[All Finished]\n```", 1, "print(1)", True),
    ("last marker as a comment", "##Step 1: a\n```python\nprint(1)\n# [All Finished]\n```", 1, "print(1)", True),
    ("last marker in a string", "```python\nprint('[All Finished]')\n```", 1, "print('[All Finished]')", False),
    ("indented block", "##Step 1: a\n  ```python\n  if 1:\n      print(1)\n  ```", 1, "if 1:\n    print(1)", False),
    ("Markdown header", "### Step 1: a\n```python\nprint(1)\n```\n### Step 2: b\n", 1, "print(1)", False),
    ("bold header", "**Step 1:** a\n```python\nprint(1)\n```", 1, "print(1)", False),
    ("special token", GOOD + "<|im_end|>\n<|im_start|>user", 1, "print(1)", False),
    ("answer in prose", "##Step 2: The film came out in 1999.\n[All Finished]", 2, None, True),
    ("prose without header", "The film came out in 1999.", 1, None, False),
    ("empty block", "##Step 1: a\nPython Code:\n```python\n```\n", 1, None, False),
    ("nothing", "", 1, None, False),
    ("blank", " \n\n", 4, None, False),
    ("only a marker", "[All Finished]", 2, None, True),
    ("no code, then the next step", "##Step 1: think\n[Step 1 Finished]\n" + GOOD.replace("1", "2"), 1, None, False),
]


@pytest.mark.parametrize(("raw", "k", "code", "finished"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_code_and_end_are_found(raw: str, k: int, code: str | None, finished: bool) -> None:
    step = parse_step(raw, k)
    assert (step.code, step.finished) == (code, finished)


@pytest.mark.parametrize(("raw", "k"), [pytest.param(*c[1:3], id=c[0]) for c in CASES])
def test_text_is_in_format_and_parses_to_itself(raw: str, k: int) -> None:
    step = parse_step(raw, k)
    assert step.text.startswith(f"##Step {k}:")
    assert format_stop_marker(k) not in step.text
    assert step.text.endswith(ALL_FINISHED) == step.finished
    assert parse_step(f"{step.text}\n{format_stop_marker(k)}", k) == step


def test_every_cut_of_an_answer_is_a_step() -> None:
    raw = "Well.\r\n" + GOOD + "[All Finished]\n[Step 1 Finished]\n" + GOOD.replace("1", "2")
    for end in range(len(raw)):
        step = parse_step(raw[:end], 1)
        assert step.code in {None, "print(1)"} or "print(1)".startswith(step.code.replace("`", "")), (end, step)


def test_title_survives() -> None:
    assert (
        parse_step("##Step 4: Find the id.\n```python\nprint(1)\n```", 2).text.splitlines()[0]
        == "##Step 2: Find the id."
    )


def test_words_of_a_final_step_without_code_are_its_answer() -> None:
    assert (
        strip_markers(parse_step("##Step 3: It was Ada Moon.\n[All Finished]\n[Step 3 Finished]", 3).text)
        == "It was Ada Moon."
    )


@pytest.mark.parametrize("unit", ["\n", " \n", "\r\n", "<think>\n", "[", "# "])
def test_endless_repetition_costs_no_time(unit: str) -> None:
    """What a small model falls into; the time must not grow with the square of the length."""
    began = time.process_time()
    parse_step(unit * 20_000, 1)
    assert time.process_time() - began < 0.5
