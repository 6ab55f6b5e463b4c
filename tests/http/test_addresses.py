"""Addresses of servers: queries, redirects, lists of models, keys, proxies and variables that belong to others."""

from typing import Any

import httpx
import pytest
from chat_server import Reply, chat, serve_chat
from chat_world import ask, make_refusal, request_once, settings

from codetool.credentials.api_keys import read_key, reject_key_as_name
from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.http.chat_client import ChatClient
from codetool.http.proxies import bypasses_proxy, find_proxy
from codetool.http.reachability import reject_secrets_in_url

LISTED = Reply(body={"data": [{"id": "meta-llama/x"}, {"id": "q"}]})


async def test_a_query_stays_at_the_end_of_each_address() -> None:
    async with serve_chat(lambda body: chat("a")) as server:
        url = server.url.replace("/v1", "/d?api-version=2024-10-21&x=1")
        async with ChatClient(settings(url)) as client:
            await ask(client)
    assert server.paths == ["/d/models?api-version=2024-10-21&x=1", "/d/chat/completions?api-version=2024-10-21&x=1"]


async def test_azure_gets_the_key_in_its_own_header_too(monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-1")
    async with serve_chat(lambda body: chat("a")) as server:
        async with ChatClient(settings(server.url + "?api-version=1")) as client:
            await ask(client)
    assert server.headers[-1]["api-key"] == "sk-1"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_on_the_same_host_keeps_method_and_body(status: int, monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-1")

    def handler(body: dict[str, Any]) -> Reply:
        moved = Reply(status, headers={"Location": "/v1/chat/completions/"})
        return chat("a") if server.paths[-1].endswith("/") else moved

    async with serve_chat(handler) as server:
        assert (await request_once(server)).texts == ("a",)
    assert server.requests[0] == server.requests[1]
    assert server.headers[-1]["authorization"] == "Bearer sk-1"


async def test_a_redirect_to_another_host_is_named_and_not_followed() -> None:
    async with serve_chat(lambda body: chat("stolen")) as other:
        target = f"{other.url}/chat/completions"
        async with serve_chat(lambda body: Reply(307, headers={"Location": target})) as server:
            with pytest.raises(ConfigError, match="redirects to http.*policy.base_url="):
                await request_once(server)
    assert not other.headers


async def test_redirects_in_a_circle_end() -> None:
    async with serve_chat(lambda body: Reply(308, headers={"Location": "/v1/chat/completions"})) as server:
        with pytest.raises(ConfigError, match="redirects"):
            await request_once(server)


@pytest.mark.parametrize("model", ["meta-llama/x:nitro", "meta-llama/x:free", "meta-llama/x@rev", "alias"])
async def test_a_model_that_is_not_listed_is_warned_of_and_asked(model: str, caplog: Any) -> None:
    async with serve_chat(lambda body: chat("a"), models=LISTED) as server:
        assert (await request_once(server, model=model)).texts == ("a",)
    assert "a first request decides" in caplog.text


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404, {"error": {"message": "The model `m` does not exist"}}),
        make_refusal("m is not a valid model ID"),
        make_refusal("Invalid model: m"),
        Reply(404, {"detail": "Not Found"}),
    ],
)
async def test_a_model_that_is_neither_listed_nor_served_is_told_before_any_task(reply: Reply) -> None:
    async with serve_chat(lambda body: reply, models=LISTED) as server:
        with pytest.raises(ConfigError, match="It lists meta-llama/x, q"):
            await request_once(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "models",
    [
        Reply(403, {"error": {"message": "Missing scopes: api.model.read"}}),
        Reply(401, {"error": {"message": "You have insufficient permissions. Missing scopes: api.model.read"}}),
        Reply(403, b"<html>forbidden</html>"),
    ],
)
async def test_a_key_that_may_not_list_models_may_chat(models: Reply, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-1")
    async with serve_chat(lambda body: chat("a"), models=models) as server:
        assert (await request_once(server)).texts == ("a",)
    assert "does not list its models" in caplog.text


async def test_a_key_that_may_do_neither_is_refused_before_any_task(monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-1")
    async with serve_chat(lambda body: Reply(403, {"error": {"message": "no sk-1"}}), models=Reply(403)) as server:
        with pytest.raises(ConfigError, match="TEST_KEY: no …"):
            async with ChatClient(settings(server.url)):
                pass


@pytest.mark.parametrize("models", [Reply(401), Reply(403)])
async def test_a_server_that_wants_a_key_says_which_variable(models: Reply) -> None:
    async with serve_chat(lambda body: chat("a"), models=models) as server:
        with pytest.raises(MissingError, match="TEST_KEY"):
            await request_once(server)


@pytest.mark.parametrize("models", [Reply(404), Reply(500), Reply(body=b"<html>"), Reply(405), Reply(429)])
async def test_a_list_of_models_that_is_missing_says_nothing(models: Reply) -> None:
    async with serve_chat(lambda body: chat("a"), models=models) as server:
        assert (await request_once(server)).texts == ("a",)


async def test_openais_variables_do_not_leak_to_another_server(monkeypatch: Any) -> None:
    leaks = {
        "OPENAI_API_KEY": "sk-openai", "OPENAI_ORG_ID": "org-leak", "OPENAI_PROJECT_ID": "proj-leak",
        "OPENAI_ADMIN_KEY": "adm-leak", "OPENAI_BASE_URL": "http://127.0.0.1:9/leak",
        "OPENAI_CUSTOM_HEADERS": "X-Leak: header-leak\nAuthorization: Bearer leak",
    }  # fmt: skip
    for name, value in leaks.items():
        monkeypatch.setenv(name, value)
    async with serve_chat(lambda body: chat("a")) as server:
        assert (await request_once(server)).texts == ("a",)
    assert "leak" not in str(server.headers) and "sk-openai" not in str(server.headers)
    assert all("authorization" not in headers for headers in server.headers)


@pytest.mark.parametrize("key", ["sk-abc…", "sk-abc\nX-Evil: 1", "sk-abc\r\n def", "sk abc", "schlüssel", "sk-\x00abc"])
async def test_a_key_that_no_header_may_carry_is_named_by_its_variable_and_never_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="TEST_KEY") as caught:
        read_key("TEST_KEY", {"TEST_KEY": key})
    assert key not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", ["", " ", "\n", None])
def test_an_empty_key_is_no_key(key: str | None) -> None:
    assert read_key("TEST_KEY", {} if key is None else {"TEST_KEY": key}) is None
    assert read_key(None) is None


async def test_a_broken_key_is_told_before_anything_is_sent(monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-abc…")
    async with serve_chat(lambda body: chat("a")) as server:
        with pytest.raises(ConfigError, match="TEST_KEY"):
            await request_once(server)
    assert not server.headers


@pytest.mark.parametrize(
    "name", ["sk-abcdefghijkl0123", "hf_abcdefGHIJKL0123456789", "a key", "gsk_1234567890abcdefghij"]
)
def test_a_key_in_the_place_of_a_variables_name_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(ValueError, match="policy.key_env must be the name") as caught:
        reject_key_as_name("policy.key_env", name)
    assert name not in str(caught.value)


@pytest.mark.parametrize("name", [None, "OPENAI_API_KEY", "MY_KEY_2", "key", "AZURE_OPENAI_API_KEY_EAST_2"])
def test_names_of_variables_are_fine(name: str | None) -> None:
    reject_key_as_name("policy.key_env", name)


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/v1?api_key=abc", "https://x.example/v1?key=abc", "https://x.example/v1?%6bey=abc",
        "https://x.example/v1;api_key=abc", "https://x.example/v1;key=abc/models",
        "https://x.example/v1?code=abc", "https://x.example/v1?sig=abc&sv=1", "https://x.example/v1?v=sk-abcdefghij012345",
        "https://x.example/v1#access_token=abc", "https://user:pw@x.example/v1", "https://x.example/sk-abcdefghijk01234/v1",
        "https://x.example/v1?subscription-key=abc",
    ],
)  # fmt: skip
def test_a_key_in_an_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="judge.base_url must not hold") as caught:
        reject_secrets_in_url("judge.base_url", url, instead="name the variable")
    assert "abc" not in str(caught.value) and "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://x.example/d?api-version=2024-10-21", "http://[::1]:8000/v1", "", "no address"]
)
def test_other_addresses_are_fine(url: str) -> None:
    reject_secrets_in_url("judge.base_url", url, instead="name the variable")


@pytest.mark.parametrize("no_proxy", ["[::1],127.0.0.1", "[::1]", "::1, ,*.local", "", "*"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "no address ://", "http://[::1"])
async def test_this_machine_is_asked_whatever_the_proxy_variables_hold(
    no_proxy: str, proxy: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    async with serve_chat(lambda body: chat("a")) as server:
        assert (await request_once(server)).texts == ("a",)


@pytest.mark.parametrize("proxy", ["http://[::1", "ftp://x:1", "http://:port", "://"])
def test_a_wrong_proxy_is_named_in_one_line(proxy: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        find_proxy(httpx.URL("https://x.example/v1"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "no_proxy", "excepted"),
    [
        ("x.example", "example", True), ("x.example", ".example", True), ("x.example", "*.example", True),
        ("x.example", "y.example", False), ("notexample", "example", False), ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False), ("fd00::1", "[fd00::1]", True), ("fd00::1", "fd00::/8", True),
        ("x.example", "x.example:8000", True), ("x.example", "x.example:9", False), ("::1", "", True),
        ("127.0.0.5", "", True), ("x.example", "", False), ("x.example", "*", True),
    ],
)  # fmt: skip
def test_exceptions_from_the_proxy(host: str, no_proxy: str, excepted: bool) -> None:
    assert bypasses_proxy(host, 8000, no_proxy) is excepted


async def test_a_prompt_that_a_content_filter_refuses_is_counted(caplog: Any) -> None:
    reply = make_refusal("The response was filtered due to the prompt triggering the content management policy.",
                    code="content_filter", param="prompt")  # fmt: skip
    async with serve_chat(lambda body: reply) as server, ChatClient(settings(server.url)) as client:
        for _ in range(2):
            with pytest.raises(CodeToolError, match="content management policy"):
                await ask(client)
    assert "2 of 2 answers were prompts that the server's content filter does not let pass" in caplog.text
