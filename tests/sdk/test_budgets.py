"""300 callers at once: budgets hold exactly, and the books close."""

import asyncio
from decimal import Decimal

import httpx
import pytest
from conftest import Node

CALLERS = 300
KEY = "sk-budget-0000001"
OUTPUT = 50
# an input price of 0 and 2 dollars a million tokens of output: a ceiling of 50 tokens is 0.0001 USD
FREE_INPUT = {"input_per_mtok": "0", "output_per_mtok": "2"}
CEILING = Decimal("0.0001")


def config(sim, limit):
    return {
        "providers": [{"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "headers": {"x-call": "{call_id}"}}],
        "models": [{"name": "m", "targets": [{"provider": "sim", "model": "sim-m"}], "price": FREE_INPUT, "max_output_tokens": 4096}],
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "total"}]}],
        "scopes": [{"name": "team", "kind": "team", "parent": "acme", "budgets": [{"limit": "100000 requests", "every": "total"}, {"limit": "100000000 tokens", "every": "total", "hard": False}]}],
        "keys": [{"name": "k", "scope": "team", "secret": KEY, "budgets": [{"limit": limit, "every": "total"}]}],
    }


async def callers(node, count, output, until_exceeded=False):
    """Status codes and error codes of what each caller saw last; with `until_exceeded` each calls until its budget is spent for good."""
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    headers = {"authorization": f"Bearer {KEY}"}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": OUTPUT, "x_sim": {"output": output}}

    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60) as client:

        async def one():
            passed = 0
            while True:
                answer = await client.post(f"{node.url}/v1/chat/completions", json=body)
                if answer.status_code == 200:
                    passed += 1
                code = "ok" if answer.status_code == 200 else answer.json()["error"]["code"]
                if not until_exceeded or code == "budget_exceeded":
                    return passed, code
                assert code in ("ok", "budget_held"), answer.text
                if code == "budget_held":
                    await asyncio.sleep(0.01)

        return await asyncio.gather(*(one() for _ in range(count)))


def books_close(node, sim):
    """limit = settled + held + free on every level; Σ records = Σ settled; each call that the simulator saw is exactly one record."""
    events = node.events()
    records = {}
    for event in events:
        kind = event["type"].split(".")[2]
        if event["subject"].startswith("call_") and kind in ("finished", "orphaned", "released"):
            assert kind == "finished" or event["subject"] not in records
            records[event["subject"]] = (kind, event["data"])
    spent = {"USD": Decimal(0), "tokens": 0, "requests": 0}
    for kind, data in records.values():
        if kind != "released":
            spent["USD"] += Decimal(data["cost"])
            spent["tokens"] += data["tokens"]
            spent["requests"] += 1
    for budget in node.budgets(KEY):
        limit, settled, held, free = (Decimal(budget[name]) for name in ("limit", "settled", "held", "free"))
        assert limit == settled + held + free and held == 0 and budget["open_calls"] == 0, budget
        assert settled == spent[budget["unit"]], budget
        assert Decimal(budget["overrun"]) == 0
    for call in sim.stats()["calls"]:
        assert call == "" or records[call][0] in ("finished", "orphaned"), call
    return records


@pytest.fixture
def start(sim, tmp_path):
    nodes = []

    def start(limit):
        sim.clear()
        nodes.append(Node(tmp_path, config(sim, limit)))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def test_a_hundred_requests(sim, start):
    node = start("100 requests")
    seen = asyncio.run(callers(node, CALLERS, 10))
    assert sum(passed for passed, _ in seen) == 100
    assert {code for passed, code in seen if not passed} <= {"budget_exceeded", "budget_held"}
    assert len(books_close(node, sim)) == 100


def test_money_for_a_hundred_ceilings(sim, start):
    node = start(f"{CEILING * 100} USD")
    seen = asyncio.run(callers(node, CALLERS, "max"))
    assert sum(passed for passed, _ in seen) == 100
    books_close(node, sim)
    assert sim.stats()["tokens"]["output"] == 100 * OUTPUT


def test_money_for_a_hundred_calls_of_a_quarter_ceiling(sim, start):
    node = start(f"{CEILING * 25} USD")  # 12 of 50 tokens: about a quarter
    seen = asyncio.run(callers(node, CALLERS, 12, until_exceeded=True))
    books_close(node, sim)
    left = Decimal(node.budgets(KEY)[0]["free"])
    assert 0 <= left < CEILING, "nobody is refused for good while more than a ceiling is free"
    assert sum(passed for passed, _ in seen) * 12 * Decimal("0.000002") == Decimal(node.budgets(KEY)[0]["settled"])


def test_a_lowered_limit_binds_what_comes_after(sim, start):
    node = start("100 requests")
    asyncio.run(callers(node, 10, 2))
    lowered = config(sim, "5 requests")
    changes = node.apply(lowered).json()["changes"]
    assert {change["kind"] for change in changes} == {"budget"}, changes
    assert {code for _, code in asyncio.run(callers(node, 3, 2))} == {"budget_exceeded"}
    assert Decimal(node.budgets(KEY)[0]["free"]) == -5


def test_applying_twice_changes_nothing(sim, start):
    node = start("100 requests")
    assert node.apply(config(sim, "100 requests")).json()["changes"] == []
