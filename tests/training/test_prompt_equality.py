"""What is trained on, token for token what is scored and generated from."""

from dataclasses import dataclass

import pytest
import tiny_models

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.model_types import ProcessExample, Sampling, Weights
from codetool.models.chat_template import ChatTokenizer
from codetool.models.locate import ModelFolders
from codetool.policies.local_model import LocalModelPolicy
from codetool.prm.local_scorer import LocalScorer
from codetool.process_data.examples import make_process_examples
from codetool.process_data.labels import LabelledStep
from codetool.process_data.rollouts import Estimate
from codetool.prompts.step_format import format_stop_marker
from codetool.stages.train.prm_targets import read_targets
from codetool.training.sft_examples import build_policy_examples, build_prm_examples
from codetool.types import Execution, Node, Step, Task, Tool

ROOT = Node(id="0")
TOOL = Tool(name="GET_a", method="GET", server="http://films", path="/search/movie", summary="Search for movies")
TASK = Task(id="t", query="Who directed it?", tools=(TOOL,))


def step(words):
    return Step(f"##Step: {words}", "print(1)", finished=False)


def after(words, observation, parent=ROOT):
    ran = Execution("ok", observation)
    return Node(id=f"{parent.id}-1", parent=parent, depth=parent.depth + 1, step=step(words), execution=ran)


def prm(folder):
    words = ["prm=qwen7b", f"prm.path={folder}", "prm.precision=float32", "prm.device=cpu"]
    return validate(compose_all(words)[0]).prm


FIRST = after("search for  the film\n", "603 The Matrix\n\n")
SECOND = after("read the crédits", " ", FIRST)
PATHS = [(), FIRST.path, SECOND.path]


@dataclass(frozen=True)
class Transcript:
    task_id: str
    messages: list
    weights: list


@pytest.fixture(scope="module", params=tiny_models.KINDS)
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp(request.param)
    tiny_models.save(request.param, made)
    return made


@pytest.mark.parametrize("path", PATHS, ids=len)
def test_a_prm_is_taught_on_the_prompt_that_it_scores(folder, path):
    settings, judged_step = prm(folder), step("give up")
    scorer = LocalScorer(settings, ModelFolders(folder, None, local=True))
    try:
        scored = scorer.tokenizer.encode(settings.prompt.messages(TASK, path, judged_step))
    finally:
        scorer.close()
    node = "-".join("1" * (len(path) + 1))
    before = tuple(settings.prompt.prefix_messages(TASK, path))
    example = ProcessExample("t", node, "0", before, judged_step.text, True, 1.0, True, 1.0, True, 3)
    [taught] = build_prm_examples([example], settings.prompt, ChatTokenizer(folder), read_targets([example], "label"))
    assert list(taught.tokens) == scored
    [target] = taught.targets
    assert (target.position, target.label_prob, target.weight) == (len(scored) - 1, 1.0, 3.0)


@pytest.mark.parametrize("path", PATHS[1:], ids=len)
def test_a_prm_that_reads_what_a_step_did_is_taught_so(folder, path):
    """The last step of the path is scored, with what it did."""
    settings, node, before = prm(folder), path[-1], path[:-1]
    labelled = LabelledStep("t", node, "0", True, Estimate(1.0, True, 1.0), True)
    [example] = make_process_examples(TASK, [labelled], settings.prompt)
    for sees, execution in ((True, node.execution), (False, None)):
        scored = ChatTokenizer(folder).encode(settings.prompt.messages(TASK, before, node.step, execution))
        targets = read_targets([example], "label")
        [taught] = build_prm_examples([example], settings.prompt, ChatTokenizer(folder), targets, sees_observation=sees)
        assert list(taught.tokens) == scored


@pytest.mark.parametrize("path", PATHS[1:], ids=len)
def test_a_policy_is_taught_after_the_prompt_that_it_continues(folder, path):
    prompt = validate(compose_all(["policy_prompt@policy.prompt=compact"])[0]).policy.prompt
    sampling = Sampling(0.0, 1.0, 10)
    model = LocalModelPolicy(Weights(folder, None, "float32"), prompt, sampling, rows=1, prefix_tokens=0, threads=1)
    try:
        asked = [model.encode(prompt.messages(TASK, path[:k])) for k in range(len(path))]
    finally:
        model.close()
    messages = prompt.messages(TASK, path)[:-1]
    weights = [float(message["role"] == "assistant") for message in messages]
    taught = list(build_policy_examples([Transcript("t", messages, weights)], ChatTokenizer(folder)))
    assert len(taught) == len(asked)
    for k, (example, before) in enumerate(zip(taught, asked, strict=True), start=1):
        said = [target.token for target in example.targets]
        assert list(example.tokens) == [*before, *said[:-1]]
        assert [target.position for target in example.targets] == [len(before) - 1 + i for i in range(len(said))]
        assert ChatTokenizer(folder).decode(said) == f"{path[k - 1].step.text}\n{format_stop_marker(k)}<|im_end|>"


def test_what_has_no_weight_is_not_learned(folder):
    messages = [{"role": role, "content": role} for role in ("user", "assistant", "user", "assistant")]
    [only] = build_policy_examples([Transcript("t", messages, [0, 0, 0, 1])], ChatTokenizer(folder))
    assert only.targets[0].position == len(ChatTokenizer(folder).encode(messages[:3])) - 1


def test_a_step_without_a_label_is_not_learned(folder):
    example = ProcessExample(
        "t", "1", "0", tuple(prm(folder).prompt.prefix_messages(TASK, ())), "a", True, 0.5, True, 0.9, None
    )
    unlabelled = read_targets([example], "label")
    assert list(build_prm_examples([example], prm(folder).prompt, ChatTokenizer(folder), unlabelled)) == []
    [soft] = build_prm_examples([example], prm(folder).prompt, ChatTokenizer(folder), read_targets([example], "soft"))
    assert soft.targets[0].label_prob == 0.5
