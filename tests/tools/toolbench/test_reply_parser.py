"""What replies mean: data, or a failure with the status that REST would have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cache_world import recorded_answers

from codetool.tools.toolbench.reply_parser import Reply, parse_reply


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ({"message": "You are not subscribed to this API."}, 403),
        ({"message": "Missing required parameters"}, 400),
        ({"detail": "Not Found"}, 404),
        ({"detail": [{"type": "enum", "msg": "Input should be 'DE'", "loc": ["query"]}]}, 422),
        ({"success": False, "message": "Invalid id"}, 400),
        ({"message": "Error getting facilities", "status_code": 403}, 403),
        ({"404": "Unable to find a route to match the URI: x"}, 404),
        ({"err": "Aghhhhh"}, 400),
        ({"meta": {"status": 404, "message": "Not Found"}, "response": None}, 404),
        ({"code": "video-not-found", "message": "Video not found by ID", "data": {"status": 400}}, 400),
        ({"message": "Too many requests"}, 429),
        ("{'message': \"API doesn't exists\"}", 404),
        ("<html><head><title>503 Service Temporarily Unavailable</title></head></html>", 503),
        ("Internal Server Error", 500),
        ("jobId not found", 404),
        ("<html><body><pre>Cannot GET /x</pre></body></html>", 404),
        ("<h1>503 Service Unavailable</h1>", 503),
        ("Something went wrong. Please try again later.", 500),
        # objects with a status
        ({"success": False, "statusCode": 404, "statusMessage": "Not Found"}, 404),
        ({"success": False, "statusCode": 404, "statusMessage": "x", "name": None, "film": "y"}, 404),
        ({"status_code": 500, "status_txt": "INTERNAL_ERROR", "data": []}, 500),
        ({"status_code": 34, "success": False, "status_message": "The resource could not be found."}, 404),
        ({"code": 401, "message": "No key"}, 401),
        ({"code": "429", "description": "Too Many Requests"}, 429),
        ({"cod": "404", "message": "city not found"}, 404),
        ({"statusCode": 503}, 503),
        ({"status": {"code": 404, "message": "nothing here"}}, 404),
        ({"response": {"status": 404, "message": "nothing here"}}, 404),
        ({"type": "about:blank", "title": "Gone", "status": 410, "detail": "It is gone"}, 410),
        # objects that refuse
        ({"status": "error", "message": "x"}, 400),
        ({"status": "error", "code": 404, "data": None}, 404),
        ({"status": "fail", "data": {}}, 400),
        ({"status": "KO", "message": "x"}, 400),
        ({"result": "error", "message": "x"}, 400),
        ({"Response": "False", "Error": "Movie not found!"}, 404),
        ({"success": "false", "message": "x"}, 400),
        ({"success": 0, "message": "x"}, 400),
        ({"isSuccess": False, "errorMessage": "x"}, 400),
        ({"ok": False, "description": "Bad Request: chat not found", "error_code": 400}, 400),
        # objects with a fault
        ({"error": True, "message": "x"}, 400),
        ({"error": "true", "message": "x"}, 400),
        ({"errors": [{"message": "Cannot query field x"}]}, 400),
        ({"errors": [{"message": "x"}], "data": None, "extensions": {"a": 1}}, 400),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}}, 404),
        ({"error_code": 1003, "error_message": "Invalid key", "results": []}, 400),
        ([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}], 400),
        ({"code": "ENUM_MISMATCH", "message": "Request validation failed: " + "x" * 600}, 400),
        ({"message": "You have exceeded the MONTHLY quota for Requests on your current plan, BASIC."}, 429),
        ({"message": "The following headers are invalid", "invalidHeaders": ["host"] * 9}, 400),
        # texts
        ("500 - Server Error", 500),
        ("404 Not Found", 404),
        ("404: Not Found", 404),
        ("Error 404: Not Found", 404),
        ("HTTP Error 503: Service Unavailable", 503),
        ("HTTP 502 Bad Gateway", 502),
        ("HTTP 429", 429),
        ("Error: 403", 403),
        ("Server Error (500)", 500),
        ("Method Not Allowed", 405),
        ("Too Many Requests", 429),
        ("upstream request timeout", 504),
        ("no healthy upstream", 503),
        ("upstream connect error or disconnect/reset before headers. reset reason: connection failure", 503),
        ("You have exceeded the DAILY quota for Requests on your current plan", 429),
        ("Rate limit exceeded", 429),
        ("Invalid API key. Get one at example.com", 401),
        ("Error: Invalid Transaction!", 400),
        ('{"success": false, "statusCode": 404, "statusMessage": "Not Found"}', 404),
        # pages
        ("<!doctype html><html><head><title>Not Found</title></head><body><h1>Not Found</h1></body></html>", 404),
        ("<html><title>Error 404 (Not Found)!!1</title></html>", 404),
        ("<html><title>HTTP Status 404 – Not Found</title></html>", 404),
        ("<html><title>404 - File or directory not found.</title></html>", 404),
        ("<h1>Server Error (500)</h1>", 500),
        ("<html><title>Application Error</title></html>", 503),
        ("<title>Access denied | films.test used Cloudflare to restrict access</title>", 403),
        ('<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', 404),
        ("<br /><b>Fatal error</b>: Uncaught TypeError", 500),
        ("<pre>Cannot POST /x</pre>", 404),
    ],
)
def test_failures_that_come_as_data_are_failures(response: Any, status: int) -> None:
    reply = parse_reply("", response)
    assert reply is not None and reply.status == status
    assert set(json.loads(reply.body)) == {"error"}


@pytest.mark.parametrize(
    "response",
    [
        {"message": "Thanks for voting!"},
        {"message": "404 is a song", "results": [1]},
        {"title": "Error 404", "plot": "A film about a page that is not found."},
        {"status": "UP", "checks": []},
        {"status": 200, "data": {"found": False}},
        {"meta": {"code": 200, "message": "Success"}, "data": [{"name": "x"}]},
        {"error": None, "items": []},
        {"results": []},
        [],
        "The video cannot be found in every country.",
        "Forbidden Planet is a film of 1956.",
        {"id": 404, "name": "Room"},
        {"success": True, "message": "ok"},
        {"result": 450},
        {"success": True, "data": "exception"},
        {"status": "success", "data": "500"},
        {"data": {"status": 404, "items": [1, 2]}},
        {"error": False, "message": "Hello Ann"},
        {"title": "Forbidden Planet"},
        {"description": "Vitamin C is required for growth"},
        {"code": "543216789", "status": "invalid"},
        "<rss><channel><title>World</title><item><title>500 dead in flood</title></item></rss>",
        "<title>500 Days of Summer</title>",
        "Oops I did it again",
        {"id": 7, "status": "failed"},
        {"order_id": 7, "status": "failed", "message": "Card declined"},
        [{"id": 1, "status": "failed"}, {"id": 2, "status": "error"}],
        [{"id": 1, "status": "failed"}],
        [{"message": "File not found"}],
        {"jobs": [{"status": "error", "code": 500}]},
        {"error": "", "results": [1]},
        {"error": False, "results": [1]},
        {"error": "false", "results": [1]},
        {"error": None, "data": {"code": 404}},
        {"errors": [], "data": {"films": [404, 500]}},
        {"errors": [{"message": "partial"}], "data": {"films": [1]}},
        {"error_code": 0, "data": {"a": 1}},
        {"error_code": "0", "message": "ok"},
        {"success": True, "error": None, "status": 500},
        {"success": "true", "message": "Not found in cache, computed"},
        {"success": 1, "failed": 0},
        {"success": True},
        {"statusCode": 200, "message": "Success", "data": {"total": 0, "items": []}},
        {"code": 404, "description": "Area code of Atlanta"},
        {"code": 404, "title": "Atlanta"},
        {"code": 404, "name": "Room"},
        {"code": "INVALID"},
        {"status": "error", "films": [1]},
        {"result": "failed", "score": "0:1"},
        {"valid": False, "message": "Looks good"},
        {"response": {"docs": [1], "status": 404}},
        {"version": "1.0", "status": "error"},
        404,
        "404",
        "500 Days of Summer",
        "500 - a good year",
        "Error analysis is a field of statistics.",
        "Invalid is an adjective.",
        "Bad Gateway Band plays tonight",
        "upstream request rates by region",
        "<title>404 Squadron RCAF</title>",
        "<html><title>Errors and how to avoid them</title></html>",
        "<errorlist><a/></errorlist>",
    ],
)
def test_data_that_speak_of_failures_are_data(response: Any) -> None:
    assert parse_reply("", response) == Reply(200, response)


def test_an_error_text_is_a_failure_whatever_the_response() -> None:
    reply = parse_reply("get_id() missing 1 required positional argument: 'q'", "")
    assert reply == Reply(400, "get_id() missing 1 required positional argument: 'q'")


def test_what_a_simulator_left_where_it_failed_is_no_answer() -> None:
    assert parse_reply("Failed to generate fake response", "") is None
    assert parse_reply("", "") is not None


def test_texts_that_write_data_become_data() -> None:
    assert parse_reply("", "[{'a': 1}, {'a': 2, 'b': 'cu") == Reply(200, [{"a": 1}, {"a": 2}])


@pytest.mark.data
def test_of_the_published_answers_most_are_data_and_none_breaks() -> None:
    """The share was looked at reply by reply: 74 % data, the rest failures, 8 of them a simulator's."""
    statuses = [reply and reply.status for reply in (parse_reply(e, r) for e, r in recorded_answers())]
    assert len(statuses) == 1459 and statuses.count(None) == 8
    assert 0.72 < statuses.count(200) / len(statuses) < 0.78


@pytest.mark.data
def test_no_failure_has_names_that_only_data_have() -> None:
    for error, response in recorded_answers():
        reply = parse_reply(error, response)
        if reply and not error and reply.status >= 400 and isinstance(reply.data, dict):
            assert len(reply.data) <= 8 and not any(
                isinstance(each, list) and len(each) > 5 and name != "invalidHeaders"
                for name, each in reply.data.items()
            )


def test_a_body_is_json(tmp_path: Path) -> None:
    assert json.loads(Reply(200, "née").body) == "née"
    assert json.loads(Reply(404, "gone").body) == {"error": "gone"}


def test_what_no_json_can_hold_is_replaced() -> None:
    reply = parse_reply("", {"a": float("nan"), "b": "x\ud83d"})
    assert reply is not None and json.loads(reply.body.encode()) == {"a": None, "b": "x?"}
