"""What servers leave in a model's text beside the step: end-of-text tokens, thoughts, channels, several code blocks."""

import time

import pytest

from codetool.answers.composed import AnswerPrompt
from codetool.prompts.model_text import extract_visible_text
from codetool.prompts.react_parser import parse_action
from codetool.prompts.step_parser import parse_step

F = "```"
STEP = f"##Step 1: find it\nPython Code:\n{F}python\nprint(1)\n{F}"

END_TOKENS = [
    "</s>", "<s>", "<|im_end|>", "<|im_end|>\n<|im_start|>user\nmore", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",
    "<|endoftext|>", "<|end|>", "<|return|>", "<|call|>", "<|user|>", "<|observation|>", "<end_of_turn>", "<eos>",
    "<end_of_turn>\n<start_of_turn>user\nmore", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<|end▁of▁sentence|>",
    "<end_of_utterance>", "<turn|>", "<|eos|>", "[EOS]", "</s><s>[INST] more", " [end of text]", "<|endofprompt|>",
    "<EOT>", "\n</s>\n", "</s></s>", "<|fim_pad|>",
]  # fmt: skip
DECORATIONS = [
    "[All Finished]", "**[All Finished]**", "`[All Finished]`", "> [All Finished]", "- [All Finished]",
    "# [All Finished]", "### [All Finished] ###", "[ALL FINISHED].", "[ All  Finished ]!", "[All_Finished]",
    "\\[All Finished\\]", "__[All Finished]__", "*[All Finished]*  ", "[All Finished]</answer>", "~~[All Finished]~~",
    "[All Finished] 🎉", "\n\n[All Finished]\n\n\n", "**[All Finished]**\n**[Step 1 Finished]**",
]  # fmt: skip


@pytest.mark.parametrize("token", END_TOKENS)
@pytest.mark.parametrize("marker", ["[All Finished]", "[All Finished]\n[Step 1 Finished]"])
def test_a_finished_step_is_finished_before_any_end_of_text_token(marker: str, token: str) -> None:
    assert parse_step(f"{STEP}\n{marker}{token}", 1) == parse_step(f"{STEP}\n[All Finished]", 1)


@pytest.mark.parametrize("token", END_TOKENS)
def test_an_unfinished_step_stays_unfinished(token: str) -> None:
    assert parse_step(f"{STEP}{token}", 1) == parse_step(STEP, 1)


@pytest.mark.parametrize("marker", DECORATIONS)
def test_the_last_marker_is_found_in_decorations(marker: str) -> None:
    assert parse_step(f"{STEP}\n{marker}", 1) == parse_step(f"{STEP}\n[All Finished]", 1)


@pytest.mark.parametrize(
    "code",
    [
        "print('<|im_end|>')", "text = text.split(\"</s>\")[0]", "html = '<s>old</s>' + name",
        "s = f\"<eos>{x}\" + '</s>'",
        "re.sub('<think>.*</think>', '', text)", "print('[All Finished]')", "x = a <b> c",
    ],
)  # fmt: skip
def test_code_that_names_tokens_is_left_alone(code: str) -> None:
    step = parse_step(f"##Step 1: a\nPython Code:\n{F}python\n{code}\nprint(2)\n{F}", 1)
    assert (step.code, step.finished) == (f"{code}\nprint(2)", False)


@pytest.mark.parametrize("text", ["it's done<|im_end|>more", "done<|im_end|>it's more", "'a' and 'b'<|im_end|>'c'"])
def test_a_quote_on_one_side_of_a_token_does_not_hide_the_end(text: str) -> None:
    assert extract_visible_text(text) == text.partition("<|im_end|>")[0]


BLOCKS = {
    "output before the announced block": (
        f"##Step 2: The answer was\n{F}\n{{'id': 1}}\n{F}\nPython Code:\n{F}\nprint('valid')\n{F}", "print('valid')"),
    "Python draft before the announced block": (
        f"Earlier:\n{F}python\nprint(0)\n{F}\n**Python Code:**\n{F}python\nprint('valid')\n{F}", "print('valid')"),
    "output in tildes": ("It was\n~~~\n7\n~~~\nPython Code:\n~~~python\nprint('valid')\n~~~", "print('valid')"),
    "tildes": ("##Step 2: a\n~~~py\nprint('valid')\n~~~", "print('valid')"),
    "backticks inside tildes": (
        "~~~python\nx = '''\n```\n'''\nprint('valid')\n~~~", "x = '''\n```\n'''\nprint('valid')"),
    "four backticks around three": (f"{F}`python\nx = 1\n{F}`", "x = 1"),
    "fence inside a string": (
        f'{F}python\nx = """\n{F}json\n{{}}\n{F}\n"""\nprint(x)\n{F}', f'x = """\n{F}json\n{{}}\n{F}\n"""\nprint(x)'),
    "indented": (f"- a\n    {F}py\n    if 1:\n        print('valid')\n    {F}", "if 1:\n    print('valid')"),
    "unclosed after an output": (f"It was\n{F}\n7\n{F}\nPython Code:\n{F}python\nprint('valid')", "print('valid')"),
    "fence on the announcement's line": (f"##Step 2: a\nPython Code: {F}python\nprint('valid')\n{F}", "print('valid')"),
    "unfenced code, then its output": (f"Python Code:\nprint('valid')\n\nOutput:\n{F}\n7\n{F}", "print('valid')"),
    "output after the block": (f"{F}python\nprint('valid')\n{F}\nOutput:\n{F}\n7\n{F}", "print('valid')"),
    "two without language": (f"It was\n{F}\n{{'id': 1}}\n{F}\nNow\n{F}\nprint('valid')\n{F}", "print('valid')"),
    "attributes": (f'{F}python title="a.py"\nprint(\'valid\')\n{F}', "print('valid')"),
    "braces": (f"{F}{{.python}}\nprint('valid')\n{F}", "print('valid')"),
    "version": (f"{F}python3.11\nprint('valid')\n{F}", "print('valid')"),
    "JSON after the announcement": (
        f"Python Code:\n{F}json\n{{}}\n{F}\n{F}python\nprint('valid')\n{F}", "print('valid')"),
    "announcement as a comment": (
        f"{F}python\n# Python Code:\nprint('valid')\n{F}", "# Python Code:\nprint('valid')"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "code"), BLOCKS.values(), ids=BLOCKS)
def test_the_right_block_is_the_code(raw: str, code: str) -> None:
    step = parse_step(raw, 2)
    assert step.code == code
    assert parse_step(f"{step.text}\n[Step 2 Finished]", 2) == step


def test_further_python_blocks_are_counted() -> None:
    raw = f"{STEP}\nthen\n{F}python\nprint(2)\n{F}\nIt prints\n{F}\n2\n{F}\nor\n{F}py\n{{'a': 1}}\n{F}"
    assert (parse_step(raw, 1).code, parse_step(raw, 1).unused) == ("print(1)", 1)
    assert parse_step(STEP, 1).unused == 0


DRAFT = f"##Step 1: draft\nPython Code:\n{F}python\nprint('draft')\n{F}\n[All Finished]\n"
HIDDEN = {
    "analysis": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{STEP}<|return|>"
    ),
    "commentary": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>commentary to=functions.x "
        f"<|constrain|>json<|message|>{{}}<|call|><|start|>assistant<|channel|>final<|message|>{STEP}"
    ),
    "whole prefix": f"<|start|>assistant<|channel|>analysis<|message|>{DRAFT}<|end|><|channel|>final<|message|>{STEP}",
    "analysis whose head was cut": f"{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{STEP}<|end|>",
    "without message token": f"<|channel|>analysis\n{DRAFT}<|channel|>final\n{STEP}",
    "special tokens left out": f"analysisWe need {DRAFT}assistantfinal{STEP}",
    "think": f"<think>{DRAFT}</think>{STEP}",
    "think on the step's line": f"<think>\n{DRAFT}</think> {STEP}",
    "unopened": f"We need {DRAFT}. Good.</think>{STEP}",
    "unopened, line": f"We need\n{DRAFT}</think>\n\n{STEP}",
    "nested": f"<think>a <think>{DRAFT}</think> b</think>{STEP}",
    "thinking": f"<thinking>\n{DRAFT}</thinking>\n{STEP}",
    "reasoning": f"<reasoning>{DRAFT}</reasoning>{STEP}",
    "thought": f"<thought>{DRAFT}</thought>{STEP}",
    "upper case": f"<THINK>{DRAFT}</THINK>{STEP}",
    "attributes": f'<think budget="3">{DRAFT}</think>{STEP}',
    "brackets": f"[THINK]{DRAFT}[/THINK]{STEP}",
    "Kimi": f"◁think▷{DRAFT}◁/think▷{STEP}",
    "Seed": f"<seed:think>{DRAFT}</seed:think>{STEP}",
    "Cohere": f"<|START_THINKING|>{DRAFT}<|END_THINKING|><|START_RESPONSE|>{STEP}<|END_RESPONSE|>",
    "begin of thought": f"<|begin_of_thought|>{DRAFT}<|end_of_thought|>{STEP}",
    "Gemma": f"<|channel>thought\n{DRAFT}<channel|>{STEP}<turn|>",
    "ollama": f"Thinking...\n{DRAFT}\n...done thinking.\n\n{STEP}",
    "two thoughts": f"<think>{DRAFT}</think>\n<think>again</think>\n{STEP}",
    "thought behind": f"{STEP}\n<think>\n{DRAFT}",
    "turn header": f"<|start_header_id|>assistant<|end_header_id|>\n\n{STEP}<|eot_id|>",
}


@pytest.mark.parametrize("raw", HIDDEN.values(), ids=HIDDEN)
def test_drafts_in_thoughts_and_other_channels_are_not_run(raw: str) -> None:
    assert parse_step(raw, 1) == parse_step(STEP, 1)


@pytest.mark.parametrize(
    "raw",
    [
        f"<|channel|>analysis<|message|>{DRAFT}", f"<|channel|>commentary<|message|>{DRAFT}<|end|>", f"<think>{DRAFT}",
        f"<thinking>\n{DRAFT}", f"[THINK]{DRAFT}", f"analysisWe need {DRAFT}", f"{DRAFT}</think>",
        f"<think>a</think><think>{DRAFT}",
    ],
)  # fmt: skip
def test_a_text_that_never_leaves_its_thoughts_has_no_code(raw: str) -> None:
    assert (parse_step(raw, 1).code, parse_step(raw, 1).finished) == (None, False)


def test_a_react_action_comes_from_the_final_channel_too() -> None:
    draft = '<|channel|>analysis<|message|>Action: Finish\nAction Input: {"final_answer": "no"}<|end|>'
    final = '<|start|>assistant<|channel|>final<|message|>Action: search\nAction Input: {"q": 1}<|return|>'
    action = parse_action(draft + final)
    assert action is not None
    assert (action.name, action.arguments) == ("search", {"q": 1})


@pytest.mark.parametrize("raw", HIDDEN.values(), ids=HIDDEN)
def test_a_composed_answer_has_no_thoughts(raw: str) -> None:
    prompt = AnswerPrompt(system="", request="{{ query }}", max_observation_chars=9)
    said = prompt.parse(raw.replace(STEP, "It is Ann.").replace(DRAFT, "Bob?"), 1, None).text  # type: ignore[arg-type]
    assert said == "It is Ann."


@pytest.mark.parametrize(
    "unit", ["<think>", "</think>", "'<think>", "<|im_end|>'", "<|channel|>", "<|channel|>final", "</s> ",
     "[THINK]", "```\n\"\"\"\n", "~~~\n", "[All Finished]\n", "- "],
)  # fmt: skip
def test_endless_repetition_costs_no_time(unit: str) -> None:
    began = time.process_time()
    extract_visible_text(unit * 20_000)
    parse_step(unit * 20_000, 1)
    assert time.process_time() - began < 3.0
