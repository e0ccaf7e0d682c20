"""The data directory of an older build opens: `tests/data` keeps one, with its master key, as a node left it that was killed."""

import json
import subprocess
import tarfile

import openai
import pytest
from books import Books
from conftest import APP, BINARY, HELLO, ROOT, Node
from views import OTHER, SEARCH, config, every, get

OLD = ROOT / "tests/data/before-projections.tar.xz"


def run(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def old(sim, tmp_path_factory):
    assert OLD.stat().st_size < 300 << 10
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(OLD) as tar:
        tar.extractall(folder, filter="data")
    expected = json.loads((folder / "expected.json").read_text())
    verified = run("verify", "--data", folder / "data")
    node = Node(folder, config(sim))
    yield node, expected, verified
    node.stop()


def test_it_is_whole(old):
    _, expected, verified = old
    told = lambda text: [line for line in text.splitlines() if line.startswith("whole: ")]  # noqa: E731
    assert told(verified) == told(expected["verify"])


def test_its_events_are_those_that_it_had(old):
    node, expected, _ = old
    events = node.events()[: expected["events"]]
    assert [event["subject"] for event in events] == expected["subjects"]
    assert [event["type"] for event in events] == expected["types"]
    kinds = [kind for kind, _ in node.records().values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == expected["records"] and expected["records"]["orphaned"] > 0


def test_keys_let_in_and_figures_are_the_same(old):
    node, expected, _ = old
    for key in (APP, OTHER, SEARCH):
        now, before = node.usage(key), expected["usage"][key]
        assert {what: now[what] for what in ("key", "calls", "cost", "tokens", "uncertain")} == {
            what: before[what] for what in ("key", "calls", "cost", "tokens", "uncertain")
        }
        # their windows are over
        assert [(row["limit"], row["every"]) for row in node.budgets(key)] == [(row["limit"], row["every"]) for row in expected["budgets"][key]]


def test_reports_are_made_of_it(old):
    node, expected, _ = old
    books = Books(node.events())
    rows = every(node, "calls", since="3650d")
    assert {row["id"] for row in rows} <= set(books.calls)
    if rows:  # rows of calls are kept for a while only
        assert len(rows) == sum(expected["records"].values())
    assert len(every(node, "audit", since="3650d")) == sum(not event["type"].startswith("tollgate.call.") for event in node.events())
    usage = get(node, "usage", group_by="key", since="3650d")["data"]
    assert sum(row["calls"]["finished"] + row["calls"]["orphaned"] + row["calls"]["released"] for row in usage) == sum(expected["records"].values())
    assert get(node, "ledger/proof")["closes"]


def test_it_goes_on(old, sim):
    node, _, _ = old
    client = openai.OpenAI(api_key=APP, base_url=f"{node.url}/v1", max_retries=0, timeout=30)
    assert client.chat.completions.create(model="fast", messages=HELLO).choices
    assert dict(sim.requests()["data"][0]["headers"])["authorization"] == "Bearer sk-upstream-secret"  # sealed by the old build
    node.process.terminate()
    node.process.wait()
    assert "whole" in run("verify", "--data", node.folder / "data", "--deep")
    here = json.loads(run("replay", "--data", node.folder / "data", "--json"))
    node.start()
    told = subprocess.run([BINARY, "replay", "--data", node.folder / "data", "--json"], capture_output=True, text=True)
    assert "in use" in told.stderr
    assert here["books"] and int(here["at"].split(":")[1]) <= node.last()
