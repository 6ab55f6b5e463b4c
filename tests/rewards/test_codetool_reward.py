"""The reward of a path, and every option of `reward=`."""

import math
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pydantic import ValidationError

from codetool.errors import MissingError
from codetool.interfaces import Reward
from codetool.rewards.codetool import StepReward
from codetool.types import Node

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "reward").glob("*.yaml"))
KNOWN = {"log_probability": -2.0, "tokens_out": 4}
PATH = [
    Node(id="1", spot=1.0, latent=0.5, **KNOWN),
    Node(id="1-1", spot=0.0, latent=0.25, **KNOWN),
    Node(id="1-1-1", spot=1.0, latent=1, **KNOWN),
]
UNJUDGED = [Node(id="1", spot=1.0, **KNOWN), Node(id="1-1", spot=0.0, **KNOWN)]


def option(name, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=[f"+reward={name}", *overrides]).reward)


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("sum", 3.75), ("mean", 1.25), ("min", 0.25), ("last", 2.0), ("product", 0.75)],
)
def test_aggregates(aggregate, expected):
    assert StepReward(spot=1.0, latent=1.0, aggregate=aggregate).cumulative(PATH) == pytest.approx(expected)


def test_weights_scale_their_terms():
    assert StepReward(spot=2.0, latent=0.5, aggregate="sum").cumulative(PATH) == pytest.approx(4 + 0.875)


@pytest.mark.parametrize(("name", "expected"), [("codetool", 3.75), ("without_latent", 2.0), ("without_spot", 1.75)])
def test_options_switch_terms_off(name, expected):
    assert option(name).cumulative(PATH) == pytest.approx(expected)


def test_without_a_prm_the_latent_term_is_absent():
    assert option("codetool").cumulative(UNJUDGED) == option("without_latent").cumulative(UNJUDGED) == 1.0


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("aggregate", ["sum", "mean", "min", "last", "product"])
def test_every_option_values_every_path(name, aggregate):
    reward = option(name, f"reward.aggregate={aggregate}")
    assert isinstance(reward, Reward)
    assert reward.cumulative([]) == 0.0
    assert all(isinstance(reward.cumulative(path), float) for path in (PATH, PATH[:1], UNJUDGED))


@pytest.mark.parametrize("wrong", [{"spot": -1.0}, {"latent": float("nan")}, {"aggregate": "median"}, {"other": 1}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        StepReward(**{"spot": 1.0, "latent": 1.0, "aggregate": "sum", **wrong})


@pytest.mark.parametrize("name", OPTIONS)
def test_every_line_says_what_it_means(name):
    lines = (CONF / "reward" / f"{name}.yaml").read_text().splitlines()
    assert all("#" in line for line in lines if not line.startswith("_target_:"))


@pytest.mark.parametrize(("exponent", "expected"), [(0.0, 3.75), (0.5, 3.75 / 3**0.5), (1.0, 1.25), (2.0, 3.75 / 9)])
def test_a_sum_is_divided_by_a_power_of_the_length(exponent, expected):
    reward = option("codetool", f"reward.length_exponent={exponent}")
    assert reward.cumulative(PATH) == pytest.approx(expected)
    assert reward.cumulative(PATH[:1]) == 1.5, "a path of one step keeps its reward"
    assert ("length_exponent" in reward.irrelevant_settings()) == (exponent == 0)


@pytest.mark.parametrize("aggregate", ["mean", "min", "last", "product"])
def test_only_a_sum_is_divided(aggregate):
    with pytest.raises(Exception, match=r"reward\.length_exponent=0\.5 divides a sum .* choose reward\.aggregate=sum"):
        option("codetool", "reward.length_exponent=0.5", f"reward.aggregate={aggregate}")
    with pytest.raises(Exception, match="length_exponent"):
        option("codetool", "reward.length_exponent=-1")


def test_certainty_is_the_geometric_mean_of_the_tokens_probabilities():
    reward = option("certainty")
    path = [
        Node(id="1", spot=1.0, latent=0.9, log_probability=3 * math.log(0.5), tokens_out=3),
        Node(id="1-1", spot=0.0, log_probability=math.log(0.25) + math.log(1.0), tokens_out=2),
        Node(id="1-1-1", spot=0.0, tokens_out=0),
    ]
    assert reward.cumulative(path) == pytest.approx(1 + 0.5 + 0.5)
    assert reward.reads_log_probability and not option("codetool").reads_log_probability
    assert option("codetool", "reward.certainty=2").cumulative(path[:1]) == pytest.approx(1 + 0.9 + 2 * 0.5)
    assert reward.irrelevant_settings() == {"length_exponent"}


def test_certainty_without_log_probabilities_is_one_message():
    with pytest.raises(MissingError, match=r"reward\.certainty needs the log-probabilities .* another policy="):
        option("certainty").cumulative([Node(id="1", spot=1.0, tokens_out=5)])
