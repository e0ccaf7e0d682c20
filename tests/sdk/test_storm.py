"""Many callers at once over providers that fail in every way, some of whom leave: each call is one record, and the books close."""

import asyncio
import random
from collections import Counter
from decimal import Decimal

import anthropic
import httpx
import openai
import pytest
from conftest import APP, HELLO, PRICE, Node, wait_until

CALLS = 600
AT_ONCE = 100
WISHES = [{}] * 30 + [
    {"status": 500}, {"status": 429}, {"status": 401}, {"status": 400}, {"cut": 0}, {"cut": 4}, {"cut": 9}, {"reset": True}, {"hang": "head"}, {"hang": "body"},
    {"error_event": 3}, {"garbage": True}, {"usage": "missing"}, {"split": 3}, {"gzip": True}, {"overrun": 50}, {"fail_first": 1, "status": 503}, {"latency_ms": 150}, {"chunk_ms": 20},
]


def config(sim):
    def provider(name, dialect, url):
        timeouts = {"first_byte": "700ms", "silence": "700ms", "total": "5s"}
        return {"name": name, "dialect": dialect, "base_url": url, "headers": {"x-call": "{call_id}"}, "price": PRICE, "timeouts": timeouts}

    urls = {"openai": f"{sim.url}/v1", "anthropic": sim.url}
    return {
        "providers": [provider(f"{dialect}-{number}", dialect, urls[dialect]) for dialect in urls for number in (1, 2)],
        "models": [
            {"name": name, "targets": [{"provider": f"{dialect}-{number}", "model": "sim"} for number in (1, 2)], "max_output_tokens": 100}
            for name, dialect in (("gpt", "openai"), ("claude", "anthropic"))
        ],
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "total"}]}],
        "scopes": [{"name": "team", "kind": "team", "parent": "acme", "budgets": [{"limit": "10000000 tokens", "every": "total"}, {"limit": "100 USD", "every": "total", "only": {"providers": ["openai-2"]}}]}],
        "keys": [{"name": "app", "scope": "team", "secret": APP, "budgets": [{"limit": "100000 requests", "every": "total"}]}],
    }


async def storm(node, chance):
    gpt = openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=APP, max_retries=0, timeout=30)
    claude = anthropic.AsyncAnthropic(base_url=node.url, api_key=APP, max_retries=0, timeout=30)
    room, seen = asyncio.Semaphore(AT_ONCE), Counter()

    def ask(kind, wish, stream):
        more = {"stream": stream, "extra_body": {"x_sim": {"output": 12} | wish}}
        return {
            "chat": lambda: gpt.chat.completions.create(model="gpt", messages=HELLO, max_tokens=20, **more),
            "completions": lambda: gpt.completions.create(model="gpt", prompt="x", max_tokens=20, **more),
            "responses": lambda: gpt.responses.create(model="gpt", input="x", max_output_tokens=20, **more),
            "messages": lambda: claude.messages.create(model="claude", messages=HELLO, max_tokens=20, **more),
        }[kind]()

    async def one():
        kind, wish, stream, leaves = chance.choice(["chat", "completions", "responses", "messages"]), chance.choice(WISHES), chance.random() < 0.6, chance.random() < 0.3
        patience = chance.uniform(0.0, 0.3) if leaves else 30
        async with room:
            try:
                async with asyncio.timeout(patience):
                    answer = await ask(kind, wish, stream)
                    if stream:
                        async for _ in answer:
                            pass
                seen["whole"] += 1
            except TimeoutError:
                assert leaves, (kind, wish, stream)
                seen["left"] += 1
            except (openai.APIError, anthropic.APIError, httpx.HTTPError, ValueError) as error:
                # what the others do to its providers is all that can happen to a call without a wish
                assert wish or leaves or "left alone for now" in str(error), error
                seen["failed"] += 1

    await asyncio.gather(*(one() for _ in range(CALLS)))
    await gpt.close()
    await claude.close()
    return seen


@pytest.fixture
def node(sim, tmp_path):
    sim.clear()
    node = Node(tmp_path, config(sim))
    yield node
    node.stop()


def test_a_storm(node, sim):
    seen = asyncio.run(storm(node, random.Random(11)))
    assert min(seen["whole"], seen["left"], seen["failed"]) > 50, seen
    wait_until(lambda: "tollgate_calls_in_flight 0" in httpx.get(f"{node.url}/metrics").text)

    events, records = node.events(), node.records()
    admitted = {event["subject"] for event in events if event["type"] == "tollgate.call.admitted.v1"}
    assert set(records) == admitted and {kind for kind, _ in records.values()} <= {"finished", "released"}
    spent = Counter()
    for kind, data in records.values():
        if kind == "finished":
            spent["USD"] += Decimal(data["cost"])
            spent["tokens"] += data["tokens"]
            spent["requests"] += 1
    for budget in node.budgets(APP):
        limit, settled, held, free = (Decimal(budget[name]) for name in ("limit", "settled", "held", "free"))
        assert limit == settled + held + free and held == 0 and budget["open_calls"] == 0, budget
        assert "only" in budget or settled == spent[budget["unit"]], budget
    usage = node.usage(APP)
    assert usage["calls"]["open"] == 0 and usage["calls"]["finished"] == spent["requests"] and Decimal(usage["cost"]["USD"]) == spent["USD"]

    # whatever the provider billed was booked, or was uncertain and said so
    for call, bill in sim.stats()["calls"].items():
        kind, data = records[call]
        assert kind == "finished", call
        if data["outcome"] == "ok" and data["attempts"] == 1 and not data["estimated"]:
            assert data["usage"]["output"] + data["usage"]["reasoning"] == bill["output"], (call, data, bill)
