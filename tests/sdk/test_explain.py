"""Every call of a run with faults, kills and changes of the configuration is decided again from the log: to the same decision."""

import json
import os
import re
import subprocess
from decimal import Decimal

import httpx
import openai
import pytest
from books import Books
from conftest import ADMIN, APP, BINARY, HELLO, PRICE, Node
from views import AUTHORIZED, config, every, get, traffic


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("explain"), faulty(sim))
    traffic(node, 40)
    # prices, targets and budgets change under the calls
    changed = faulty(sim)
    changed["models"][0]["price"] = {"input_per_mtok": "7", "output_per_mtok": "9", "cache_read_per_mtok": "3", "tiers": {"priority": {"input_per_mtok": "14", "output_per_mtok": "18"}}}
    changed["models"][2]["targets"].reverse()
    changed["tenants"][0]["budgets"].append({"limit": "5000 requests", "every": "day", "only": {"models": ["fast"]}})
    assert node.apply(changed).status_code == 200
    traffic(node, 40)
    node.kill()
    node.start()
    storm(node)
    traffic(node, 20)
    yield node
    node.stop()


def faulty(sim):
    """A chain whose first provider fails now and then, and one that speaks the other dialect behind it."""
    made = config(sim)
    made["providers"] += [
        {"name": "shaky", "dialect": "openai", "base_url": f"{sim.url}/v1", "headers": {"x-sim-status": "503"}},
        {"name": "breaks", "dialect": "openai", "base_url": f"{sim.url}/v1", "headers": {"x-sim-output": "40", "x-sim-cut": "3"}},
    ]
    made["models"] += [
        {"name": "chain", "targets": [{"provider": "shaky", "model": "sim-a"}, {"provider": "claude-sim", "model": "sim-claude"}], "price": PRICE, "max_output_tokens": 64},
        {"name": "broken", "targets": [{"provider": "breaks", "model": "sim-b"}, {"provider": "sim", "model": "sim-fast"}], "price": PRICE, "max_output_tokens": 64},
    ]
    return made


def storm(node):
    client = openai.OpenAI(api_key=APP, base_url=f"{node.url}/v1", max_retries=0, timeout=20)
    for number in range(24):
        model = ("chain", "broken")[number % 2]
        # a seed and penalties are told by OpenAI's dialect alone: the second target of the chain loses them, or is left out
        more = [{}, {"seed": 7}, {"n": 2}][number % 3]
        try:
            answer = client.chat.completions.create(model=model, messages=HELLO, stream=number % 4 > 1, **more)
            if number % 4 > 1:
                list(answer)
        except (openai.APIError, httpx.HTTPError):
            pass


class Before(Books):
    """Also what each budget had settled and held right before each call came."""

    def __init__(self, events):
        self.before = {}
        super().__init__(events)

    def fold(self, what, event):
        if what == "admitted":
            self.before[event["subject"]] = {budget: self.shown(budget, event["time"]) for budget in event["data"]["budgets"]}
        super().fold(what, event)

    def shown(self, budget, time):
        window, limit = self.windows[self.window(budget, time)], Decimal(self.budgets[budget]["limit"])
        free = limit - window["settled"] - window["held"]
        return {"settled": text(window["settled"]), "held": text(window["held"]), "free": text(free), "open_calls": window["open_calls"]}


def text(amount):
    return f"{amount.normalize():f}" if amount else "0"


def test_every_call_is_decided_again_to_the_same(node):
    events = node.events()
    books = Before(events)
    before = books.before
    rows = every(node, "calls", limit=500, at_least=f"0:{books.position}")
    assert len(rows) == len(books.calls) > 80
    kinds = set()
    for row in rows:
        body = get(node, f"calls/{row['id']}/explain")
        told = body["explanation"]
        assert told["same"], (row["id"], told["differences"])
        kinds |= {attempt["end"] for attempt in told["attempts"]} | {f"{len(told['candidates'])} candidates"} | ({"left out"} if any(choice["left_out"] for choice in told["candidates"]) else set())
        recorded = next(event["data"] for event in get(node, f"calls/{row['id']}")["events"] if event["type"] == "tollgate.call.admitted.v1")
        assert [budget["id"] for budget in told["budgets"]] == recorded["budgets"]
        for budget in told["budgets"]:
            assert budget["before"] == before[row["id"]][budget["id"]], (row["id"], budget)
        if told["lines"]:
            assert sum(Decimal(line["cost"]["USD"]) for line in told["lines"]) == Decimal(row["charge"]["USD"])
    assert {"ok", "status", "not_sent", "1 candidates", "2 candidates", "left out"} <= kinds, kinds


def test_the_command_line_explains(node):
    call = next(row for row in every(node, "calls", status="ok") if row["attempts"] == 2)
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}

    def run(*arguments):
        return subprocess.run([BINARY, "explain", *arguments], env=environment, capture_output=True, text=True, timeout=30)

    shown = run(call["id"])
    assert shown.returncode == 0 and "made again, the decision is the same" in shown.stdout, shown
    assert re.search(r"^dead +x +true", shown.stdout, re.M) or "shaky" in shown.stdout
    assert json.loads(run(call["id"], "--json").stdout)["explanation"]["same"] is True
    assert run("call_00000000000000000000000000").returncode == 1


def test_only_who_may_see_the_call(node):
    call = next(row for row in every(node, "calls", tenant="acme"))["id"]
    made = httpx.post(f"{node.url}/api/v1/tokens", json={"name": "other", "role": "auditor", "tenant": "umbrella"}, headers=AUTHORIZED).json()
    answer = httpx.get(f"{node.url}/api/v1/calls/{call}/explain", headers={"authorization": f"Bearer {made['secret']}"})
    assert answer.status_code == 404
