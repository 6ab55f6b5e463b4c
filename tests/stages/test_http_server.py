"""The sockets of the stages that serve, and what uvicorn accepts from them."""

import asyncio
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codetool.stages.serve.http_server import bind_socket, create_server, format_url

HOSTS = ("127.0.0.1", "localhost", "::1")


@pytest.mark.parametrize("host", HOSTS)
async def test_connections_that_the_server_accepts_are_without_nagles_algorithm(host: str) -> None:
    async def answer(_: Request) -> Response:
        return Response("{}")

    with bind_socket("serve", host, 0) as listener:
        running = create_server(Starlette(routes=[Route("/", answer)]), 0)
        serving = asyncio.create_task(running.serve([listener]))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(format_url(host, listener))).status_code == 200
            accepted = [each.transport.get_extra_info("socket") for each in running.server_state.connections]
            assert [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in accepted] == [1]
            assert [each.family for each in accepted] == [listener.family]
        running.should_exit = True
        await serving


@pytest.mark.parametrize("host", HOSTS)
def test_a_connection_accepted_without_an_event_loop_inherits_the_option(host: str) -> None:
    with bind_socket("serve", host, 0) as listener:
        with socket.create_connection(listener.getsockname()[:2]):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                assert accepted.proto == socket.IPPROTO_TCP
