"""Providers that answer strangely: what the caller gets stays well formed, and the record says what is known and what is not."""

import json
from decimal import Decimal

import httpx
import pytest
from conftest import APP, HELLO, PRICE, Node

SOFT = "sk-soft-000000001"
REQUESTS = {
    "chat/completions": {"model": "sim/m", "messages": HELLO, "max_tokens": 12},
    "completions": {"model": "sim/m", "prompt": "Hello!", "max_tokens": 12},
    "responses": {"model": "sim/m", "input": "Hello!", "max_output_tokens": 12},
    "messages": {"model": "claude/m", "messages": HELLO, "max_tokens": 12},
}


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    config = {
        "providers": [
            {"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "headers": {"x-call": "{call_id}"}, "price": PRICE},
            {"name": "claude", "dialect": "anthropic", "base_url": sim.url, "headers": {"x-call": "{call_id}"}, "price": PRICE},
        ],
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "total"}]}, {"name": "soft", "budgets": [{"limit": "1000 USD", "every": "total", "hard": False}]}],
        "keys": [{"name": "app", "scope": "acme", "secret": APP}, {"name": "soft", "scope": "soft", "secret": SOFT}],
    }
    node = Node(tmp_path_factory.mktemp("wrong"), config)
    yield node
    node.stop()


def ask(node, path, stream, key=APP, **wish):
    body = REQUESTS[path] | {"stream": stream, "x_sim": {"output": "max"} | wish}
    answer = httpx.post(f"{node.url}/v1/{path}", json=body, headers={"x-api-key": key}, timeout=30)
    return answer, node.record(answer.headers["x-request-id"])


def last(answer):
    """The last event of a stream: its data, and whether it has the name `error`."""
    lines = answer.text.strip().split("\n\n")[-1].split("\n")
    return json.loads(lines[-1].removeprefix("data: ")), lines[0] == "event: error"


BOTH = pytest.mark.parametrize("stream", [False, True])
ALL = pytest.mark.parametrize("path", REQUESTS)


@ALL
@BOTH
@pytest.mark.parametrize("usage", ["missing", "null", "negative"])
def test_usage_that_does_not_come_is_estimated(node, path, stream, usage):
    answer, record = ask(node, path, stream, usage=usage)
    assert answer.status_code == 200 and record["outcome"] == "ok"
    assert record["estimated"] and record["usage"]["input"] > 0 and record["usage"]["output"] > 0
    admitted = next(event["data"] for event in node.events() if event["subject"] == answer.headers["x-request-id"])
    ceiling = Decimal(admitted["ceiling"]["cost"])
    assert Decimal(record["cost"]) + Decimal(record["uncertain"]) == ceiling and Decimal(record["overrun"]) == 0


@ALL
@BOTH
def test_usage_is_what_the_provider_says(node, path, stream):
    _, right = ask(node, path, stream)
    _, wrong = ask(node, path, stream, usage="wrong")
    assert right["usage"]["output"] == 12 and wrong["usage"]["output"] == 6 and not wrong["estimated"]
    _, zero = ask(node, path, stream, usage="zero")
    assert zero["tokens"] == 0 and Decimal(zero["cost"]) == 0 and not zero["estimated"]


@ALL
@BOTH
def test_what_is_billed_above_the_ceiling_is_an_overrun(node, path, stream):
    answer, record = ask(node, path, stream, overrun=100_000)
    assert answer.status_code == 200 and record["usage"]["output"] == 100_012
    admitted = next(event["data"] for event in node.events() if event["subject"] == answer.headers["x-request-id"])
    assert Decimal(record["overrun"]) == Decimal(record["cost"]) - Decimal(admitted["ceiling"]["cost"]) > 0
    (budget,) = node.budgets(APP)
    assert Decimal(budget["overrun"]) >= Decimal(record["overrun"]) and budget["held"] == "0"


@ALL
@BOTH
def test_usage_beyond_belief_breaks_no_book(node, path, stream):
    _, record = ask(node, path, stream, key=SOFT, usage="huge")
    (budget,) = node.budgets(SOFT)
    limit, settled, held, free = (Decimal(budget[name]) for name in ("limit", "settled", "held", "free"))
    assert limit == settled + held + free and record["outcome"] == "ok" and Decimal(record["overrun"]) > 0
    assert ask(node, path, stream, key=SOFT)[0].status_code == 200


@ALL
def test_an_error_event_passes_and_is_recorded(node, path):
    answer, record = ask(node, path, True, error_event=5)
    value, named = last(answer)
    assert answer.status_code == 200 and record["outcome"] == "failed" and record["estimated"]
    assert "error" in json.dumps(value) and "tollgate" not in json.dumps(value), "the provider's own words"
    assert named == (path in ("messages", "responses"))


@ALL
@BOTH
def test_what_is_no_json_does_not_stop_the_rest(node, path, stream):
    answer, record = ask(node, path, stream, garbage=True)
    assert answer.status_code == 200 and record["outcome"] == "ok"
    assert record["estimated"] != stream, "a stream has its usage behind one bad frame"


@ALL
@BOTH
@pytest.mark.parametrize("split", [1, 3, 1000])
def test_pieces_fall_where_they_will(node, path, stream, split):
    answer, record = ask(node, path, stream, split=split)
    assert answer.status_code == 200 and record["usage"]["output"] == 12 and not record["estimated"]
    assert not stream or len(answer.text.strip().split("\n\n")) > 10


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_several_choices_end_with_the_last(node, path):
    body = REQUESTS[path] | {"stream": True, "n": 3, "x_sim": {"output": "max"}}
    answer = httpx.post(f"{node.url}/v1/{path}", json=body, headers={"x-api-key": APP})
    finished = [json.loads(line[6:])["choices"][0]["index"] for line in answer.text.splitlines() if '"finish_reason":"' in line.replace(" ", "")]
    assert sorted(finished) == [0, 1, 2] and answer.text.endswith("data: [DONE]\n\n")
    assert node.record(answer.headers["x-request-id"])["usage"]["output"] == 36


def test_usage_may_come_late(node):
    for path in REQUESTS:
        _, record = ask(node, path, True, usage="late")
        assert record["usage"]["output"] == 12 and not record["estimated"]


def test_a_whole_answer_where_a_stream_was_asked_for(node, sim):
    """An error status, or an answer that is no stream, passes as it is."""
    for path in REQUESTS:
        answer, record = ask(node, path, True, status=422, code="strange_code")
        assert answer.status_code == 422 and "strange_code" in answer.text and record["outcome"] == "failed" and record["cost"] == "0"
