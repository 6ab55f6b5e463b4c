"""Secrets in a recorded command line, by the name of a query argument and by the shape of a key."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable

import pytest

from codetool.credentials.api_keys import reject_secrets_in_query
from codetool.credentials.masking import MASK, mask_command, mask_text


@pytest.mark.parametrize("name", ["api_key", "token", "X-Amz-Signature", "code", "sig", "session_id", "pwd", "jwt"])
def test_a_query_argument_that_settings_refuse_is_masked_in_a_command(name: str) -> None:
    url = f"http://host/v1?page=2&{name}=abc"
    with pytest.raises(ValueError, match="must not hold a key"):
        reject_secrets_in_query("policy.base_url", url, instead="name a variable")
    assert mask_command([f"policy.base_url={url}"]) == [f"policy.base_url=http://host/v1?page=2&{name}={MASK}"]


@pytest.mark.parametrize("prefix", ["sk-", "hf_", "gsk_", "pplx-", "nvapi-", "AIza", "AKIA", "r8_", "tgp_v1_", "csk-"])
def test_the_key_of_a_service_is_refused_in_a_url_and_masked_in_a_command(prefix: str) -> None:
    key = f"{prefix}A1b2C3d4E5f6G7h8I9"
    with pytest.raises(ValueError, match="must not hold a key"):
        reject_secrets_in_query("policy.base_url", f"http://host/{key}/v1", instead="name a variable")
    assert mask_command([f"policy.model={key}"]) == [f"policy.model={MASK}"]


@pytest.mark.parametrize(
    "word", ["search=beam", "policy.base_url=http://host/v1?page=2&model=small", "policy.model=gpt-4o"]
)
def test_ordinary_arguments_stay(word: str) -> None:
    assert mask_command([word]) == [word]


@pytest.mark.parametrize(
    "around", [("", ""), ("user:", ""), ("u:", ""), ("us:", "!"), ("Bearer ", " and more"), (":", ":")]
)
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_base64_of_any_text_around_a_secret_is_replaced(
    monkeypatch: pytest.MonkeyPatch, around: tuple[str, str], encode: Callable[[bytes], bytes]
) -> None:
    secret = "planted?secret/0123>456"
    monkeypatch.setenv("SOME_API_KEY", secret)
    text = encode(f"{around[0]}{secret}{around[1]}".encode()).decode()
    masked = mask_text(f"said {text} at the end")
    assert masked.startswith("said ") and masked.endswith(" at the end") and "[secret]" in masked
    rest = masked.removeprefix("said ").removesuffix(" at the end").replace("[secret]", "")
    assert len(rest) <= len(encode("".join(around).encode())) + 5  # up to five letters hold bits of what is around, too


@pytest.mark.parametrize("change", [str.lower, str.upper, str.swapcase])
def test_a_secret_in_other_letters_is_replaced(monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]) -> None:
    monkeypatch.setenv("SOME_API_KEY", "Planted-Secret-0123")
    assert mask_text(f"no host {change('Planted-Secret-0123')}.example") == "no host [secret].example"
