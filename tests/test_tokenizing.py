"""A chat as tokens, against transformers' own rendering."""

import json
from pathlib import Path

import pytest
import tiny_models
from transformers import AutoTokenizer

from codetool.embedded import smollm2_folder
from codetool.errors import ConfigError, MissingError
from codetool.tokenizing import ChatTokens

CHAT = [
    {"role": "system", "content": "You judge."},
    {"role": "user", "content": "x = 1999  # naïve\n\n\tprint(x)\n"},
    {"role": "assistant", "content": "##Step 1: 12 films"},
    {"role": "user", "content": "  {{ not a template }} <|im_end|>"},
]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "{{ m.content | trim }}{{ eos_token }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}"
)
"""What the templates of large models are written with."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_models.tokenizer().save_pretrained(tmp_path)
    return tmp_path


def same(folder: Path) -> None:
    reference, tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True), ChatTokens(folder)
    assert tokens.text(CHAT) == reference.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
    whole = reference.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    assert tokens.encode(CHAT) == whole


def test_text_and_tokens_are_those_of_transformers(folder: Path) -> None:
    same(folder)


def test_the_embedded_model_too() -> None:
    same(smollm2_folder())


def test_a_template_with_special_tokens_loops_and_refusals(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    bos = {"bos_token": {"content": "<|im_start|>", "__type": "AddedToken"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | bos))
    tokens = ChatTokens(folder)
    assert tokens.text(CHAT).startswith("<|im_start|>You judge.<|im_end|>x = 1999")
    assert "not a template" not in tokens.text(CHAT)
    with pytest.raises(ConfigError, match="no tools"):
        tokens.text([{"role": "tool", "content": ""}])


def test_a_template_inside_the_tokenizers_configuration_is_found(folder: Path) -> None:
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": template}]
    for form in (template, several):
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": form}))
        assert ChatTokens(folder).text(CHAT).startswith("<|im_start|>system\nYou judge.")


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingError, match=name):
        ChatTokens(folder)
