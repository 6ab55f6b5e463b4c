"""What every option of the policy group has in common. Options are found by glob; a new one is held to this too."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from codetool.interfaces import PolicyOption, Prompt
from codetool.model_types import Sampling

OPTIONS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "policy").glob("*.yaml"))

Compose = Callable[..., DictConfig]


@pytest.fixture(params=OPTIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def option(name: str, composed: Compose) -> PolicyOption:
    option = instantiate(composed(f"policy={name}").policy, _convert_="all")
    assert isinstance(option, PolicyOption)
    return option


def test_has_a_prompt_and_sampling(option: PolicyOption) -> None:
    assert isinstance(option.prompt, Prompt)
    assert isinstance(option.sampling, Sampling)


def test_sampling_can_be_set(name: str, composed: Compose) -> None:
    config = composed(f"policy={name}", "policy.temperature=0", "policy.max_tokens=7", "policy.top_p=0.5")
    assert instantiate(config.policy, _convert_="all").sampling == Sampling(0, 0.5, 7)


def test_unknown_field_is_refused(name: str, composed: Compose) -> None:
    with pytest.raises(Exception, match="temprature"):
        instantiate(composed(f"policy={name}", "+policy.temprature=1").policy, _convert_="all")


def test_constructor_touches_nothing_and_torch_is_not_imported(name: str, composed: Compose, tmp_path: Path) -> None:
    """With every file access and connection refused, the constructor must still work."""
    config = composed(f"policy={name}")
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(OmegaConf.to_container(config.policy)))
    program = """
import json, sys
from importlib import import_module
settings = json.loads(open(sys.argv[1]).read())
module, _, name = settings.pop("_target_").rpartition(".")
option = getattr(import_module(module), name)
from codetool.prompts.policy_prompt import StepPrompt
prompt = settings.pop("prompt"); prompt.pop("_target_")
def audit(event, arguments):
    modules = str(arguments[0]).endswith((".py", ".pyc", ".so")) if arguments else False
    if event == "open" and not modules or event.startswith(("socket", "subprocess", "os.mkdir", "shutil", "tempfile")):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(audit)
option(prompt=StepPrompt(**prompt), **settings)
print("torch" in sys.modules, "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program, str(settings)], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["False", "False"], 0), done.stderr


@pytest.mark.parametrize("name", ["openai", "qwen7b_coder", "qwen7b", "llama8b"])
def test_defaults_are_those_of_the_method(composed: Compose, name: str) -> None:
    policy = composed(f"policy={name}").policy
    assert (policy.temperature, policy.top_p, policy.max_tokens) == (0.9, 0.95, 2048)


def test_the_embedded_model_writes_short_steps(composed: Compose) -> None:
    assert composed("policy=smollm2").policy.max_tokens == 192


@pytest.mark.parametrize("words", ["compact", "whole_program"])
def test_siblings_are_shown_only_by_a_prompt_that_has_words_for_it(composed: Compose, name: str, words: str) -> None:
    chosen = [f"policy={name}", "policy.diversity=shown", f"policy_prompt@policy.prompt={words}"]
    with pytest.raises(Exception, match=r"policy\.diversity=shown: policy\.prompt has no words .* Choose"):
        instantiate(composed(*chosen).policy, _convert_="all")
    option = instantiate(composed(*chosen, "policy.prompt.tried='Not {{ ways[0].text }}'").policy, _convert_="all")
    assert option.diversity == "shown" and "diversity" not in option.irrelevant_settings()


def test_the_default_diversity_has_no_part_in_the_identity(option: PolicyOption) -> None:
    assert option.irrelevant_settings() >= {"diversity"}  # type: ignore[attr-defined]
