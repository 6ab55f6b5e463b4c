"""The prompt that travels with a trained model: its file, and what a mismatch is told as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.errors import ConfigError
from codetool.models.locate import ADAPTERS_FOLDER, load_trained_prompt
from codetool.prompts import trained_prompt

PRM_PROMPTS = ("compact", "stepwise", "pairwise")
POLICY_PROMPTS = ("compact", "stepwise", "react", "whole_program")


def option(group: str, *words: str) -> Any:
    with initialize_config_dir(str(trained_prompt.CONFIG_FOLDER), version_base="1.3"):
        return instantiate(compose("config", [f"{group}=smollm2", *words])[group], _convert_="all")


def prompt(group: str, name: str, *words: str) -> Any:
    labels = ("prm.labels=[A,B]",) if name == "pairwise" else ()
    return option(group, f"{trained_prompt.CONFIG_GROUPS[group]}@{group}.prompt={name}", *labels, *words).prompt


def described(group: str, name: str) -> trained_prompt.PromptRecord:
    record = trained_prompt.describe_prompt(prompt(group, name))
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("group", "name"), [*(("prm", name) for name in PRM_PROMPTS), *(("policy", name) for name in POLICY_PROMPTS)]
)
def test_a_prompt_comes_back_from_its_file_under_its_name(tmp_path: Path, group: str, name: str) -> None:
    trained_prompt.save_prompt_record(tmp_path, prompt(group, name))
    record = trained_prompt.load_prompt_record(tmp_path)
    assert record == described(group, name)
    assert trained_prompt.explain_mismatch(group, "it", record, prompt(group, name)) is None
    if name != "pairwise":  # it is composed of two files
        assert trained_prompt.name_prompt(group, record) == name


@pytest.mark.parametrize(("group", "names"), [("prm", PRM_PROMPTS), ("policy", POLICY_PROMPTS)])
def test_a_mismatch_names_both_prompts_and_what_to_do(group: str, names: tuple[str, ...]) -> None:
    for trained in names[:2]:
        for used in names:
            said = trained_prompt.explain_mismatch(group, "model A", described(group, trained), prompt(group, used))
            assert (said is None) == (trained == used)
            if said is not None and used != "pairwise":
                word = f"{trained_prompt.CONFIG_GROUPS[group]}@{group}.prompt={trained}"
                assert f"model A was trained with the prompt {trained}, but {group}.prompt is {used} (" in said
                assert word in said


def test_an_own_prompt_is_named_by_its_text_and_limits_may_differ() -> None:
    own = prompt("prm", "compact", "prm.prompt.system=Is it good?")
    said = trained_prompt.explain_mismatch("prm", "A", described("prm", "compact"), own)
    assert said is not None and "('Is it good?'…) (different: system)" in said
    shorter = prompt("prm", "compact", "prm.prompt.max_observation_chars=9")
    assert trained_prompt.explain_mismatch("prm", "A", described("prm", "compact"), shorter) is None


@pytest.mark.parametrize("content", ["[", "kind: 3\nfields: {}", "- a", "", "kind: PRMPrompt"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / trained_prompt.FILE_NAME).write_text(content)
    with pytest.raises(ConfigError, match=trained_prompt.FILE_NAME):
        trained_prompt.load_prompt_record(tmp_path)


@pytest.mark.parametrize("group", ["prm", "policy"])
def test_the_shipped_adapters_have_the_prompt_that_their_options_use(group: str) -> None:
    record = load_trained_prompt(group, Path("embedded"))  # type: ignore[arg-type]
    assert record is not None and record == trained_prompt.load_prompt_record(ADAPTERS_FOLDER / f"smollm2_{group}")
    assert trained_prompt.explain_mismatch(group, "it", record, option(group).prompt) is None


def test_a_prm_of_another_prompt_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"prm\.path=embedded was trained with the prompt compact, but .* stepwise"):
        option("prm", "prm_prompt@prm.prompt=stepwise").checksum()
    with pytest.raises(ConfigError, match="prm_prompt@prm.prompt=compact"):  # a server's adapter too
        option(
            "prm", "prm_prompt@prm.prompt=stepwise", "prm.backend=vllm", "prm.base_url=http://127.0.0.1:1/v1"
        ).checksum()
    assert option("prm").checksum() is not None
    untrained = option("prm", "prm_prompt@prm.prompt=stepwise", "prm.path=null").checksum()
    assert untrained != option("prm").checksum()


def test_an_adapter_without_the_file_is_used_as_before(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    made = option("prm", f"prm.path={tmp_path}", "prm_prompt@prm.prompt=stepwise")
    assert made.check_prompt() is None and made.checksum() is not None


@pytest.mark.parametrize(("name", "same"), [("compact", True), ("stepwise", False), ("react", False)])
def test_transcripts_tell_whether_a_prompt_wrote_them(name: str, same: bool) -> None:
    text = "Answer the query in Python steps with `requests` and `headers`. The last step prints only the answer.\n.."
    assert trained_prompt.may_have_written(prompt("policy", name), [[{"role": "user", "content": text}]]) == same


def test_a_record_with_former_names_still_matches_its_prompt() -> None:
    fields = dict(described("prm", "compact")["fields"])
    fields["observation"] = fields.pop("max_observation_chars")
    record = {"kind": "JudgePrompt", "fields": fields}
    assert trained_prompt.explain_mismatch("prm", "A", record, prompt("prm", "compact")) is None
    other = trained_prompt.explain_mismatch("prm", "A", record, prompt("prm", "stepwise"))
    assert other is not None and "was trained with the prompt compact, but prm.prompt is stepwise" in other


@pytest.mark.parametrize("learned", [True, False])
def test_a_prm_that_reads_outputs_is_used_only_as_it_was_trained(tmp_path: Path, learned: bool) -> None:
    trained_prompt.save_prompt_record(tmp_path, prompt("prm", "compact"), sees_observation=learned)
    words = ("prm=smollm2", f"prm.path={tmp_path}", f"prm.sees_observation={str(learned).lower()}")
    assert validate(compose_all(list(words))[0]).prm.check_prompt() is not None
    other = [*words, f"prm.sees_observation={str(not learned).lower()}"]
    with pytest.raises(ConfigError, match=f"set prm.sees_observation={str(learned).lower()}, or choose another"):
        validate(compose_all(other)[0]).prm.check_prompt()
