"""Sizes of the models of a run, and the limits and warnings that need them."""

from __future__ import annotations

import logging

import pytest

from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.errors import ConfigError
from codetool.stages.evaluate.equal_repeats import warn_of_equal_repeats
from codetool.stages.evaluate.task_price import check_flops_limit, find_rates

POLICY = ("policy=openai", "policy.model=m", "policy.base_url=http://127.0.0.1:9/v1", "policy.parameters=7")


def compose(*words: str) -> RunConfig:
    return validate(compose_all([*POLICY, *words])[0])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("prm=random",), None),
        (("prm=oracle",), None),
        (("prm=ensemble", "prm.members.first.parameters=5", "+prm@prm.members.second=random"), 5),
        (("prm=ensemble", "prm.members.first.parameters=5", "+prm@prm.members.second=smollm2",
          "prm.members.second.parameters=6"), None),
    ],
)  # fmt: skip
def test_a_prm_without_a_model_has_no_size_and_asks_for_none(words: tuple[str, ...], expected: int | None) -> None:
    config = compose(*words, "budget.flops=1000")
    rates = find_rates(config)
    assert rates.parameters.get("prm") == expected
    if len(words) < 4:
        check_flops_limit(config, rates)
    else:  # two sizes: which of them read a token is not counted
        with pytest.raises(ConfigError, match=r"the size of the model is unknown for prm"):
            check_flops_limit(config, rates)


def test_a_composed_answer_of_unknown_size_is_named() -> None:
    config = compose("prm=none", "answer=openai", "answer.model=a", "budget.flops=1000")
    with pytest.raises(ConfigError, match=r"unknown for answer, .*Set answer.parameters=NUMBER"):
        check_flops_limit(config, find_rates(config))


@pytest.mark.parametrize(
    ("words", "warns"),
    [
        (("repeats=3", "policy.temperature=0"), True),
        (("repeats=3", "search=chain"), True),  # chain has the temperature 0
        (("repeats=3", "policy.temperature=0.7"), False),
        (("policy.temperature=0",), False),
    ],
)
def test_repeats_without_sampling_are_warned_of(
    words: tuple[str, ...], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_equal_repeats(compose("prm=none", *words))
    assert bool(caplog.records) == warns
