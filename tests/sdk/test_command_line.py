"""The command line against a running node, and offline against its data directory."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from decimal import Decimal

import pytest
import yaml
from books import Books
from conftest import ADMIN, APP, BINARY, ROOT, Node, wait_until
from views import config, every, get, traffic


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("cli"), config(sim))
    traffic(node, 40)
    yield node
    node.stop()


def run(*arguments, node=None, code=0, **more):
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, **({"TOLLGATE_URL": node.url} if node else {})}
    done = subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_usage_in_every_form(node):
    shown = run("usage", "--by", "key,model", "--since", "24h", "--order=-cost", node=node).stdout.splitlines()
    assert re.split(r"  +", shown[0].strip()) == ["KEY", "MODEL", "CALLS", "FAILED", "INPUT", "OUTPUT", "TOKENS", "COST USD"]
    rows = json.loads(run("usage", "--by", "key,model", "-o", "json", node=node).stdout)["data"]
    assert len(shown) == len(rows) + 1 and {row["key"] for row in rows} == {"app", "search"}
    table = list(csv.DictReader(io.StringIO(run("usage", "--by", "key,model", "-o", "csv", node=node).stdout)))
    assert sum(Decimal(row["cost.USD"]) for row in table) == sum(Decimal(row["cost"]["USD"]) for row in rows) > 0
    one = run("usage", "--tenant", "umbrella", "--step", "day", node=node).stdout
    assert one.startswith("START") and one.count("\n") == 2
    wrong = run("usage", "--by", "colour", node=node, code=1).stderr
    assert "group_by: `colour` is none of tenant" in wrong


def test_calls_and_one_that_follows(node):
    shown = run("calls", "--status", "failed", node=node).stdout.splitlines()
    assert len(shown) > 1 and all("failed" in line for line in shown[1:])
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}
    process = subprocess.Popen([BINARY, "calls", "--follow", "-o", "json", "--model", "fast"], env=environment, stdout=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    time.sleep(1.5)
    before = {row["id"] for row in every(node, "calls")}
    traffic(node, 20)
    wanted = {row["id"] for row in every(node, "calls", model="fast")} - before
    assert wanted
    try:
        time.sleep(3)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        reader.join()
    seen = [json.loads(line) for line in lines]
    assert {row["id"] for row in seen} == wanted and len(seen) == len(wanted)
    assert all(row["status"] != "open" for row in seen)


def test_a_projection_is_rebuilt(node):
    assert re.fullmatch(r"calls is built anew; rows at 0:\d+: sha256 [0-9a-f]{64}\n", run("rebuild", "calls", node=node).stdout)
    assert "there is no projection `nothing`" in run("rebuild", "nothing", node=node, code=1).stderr


def test_the_export_applies_to_nothing(node, tmp_path):
    text = run("export", node=node).stdout
    exported = yaml.safe_load(text)
    assert {key["secret"] for key in exported["keys"]} == {"keep"} and "sk-upstream-secret" not in text and APP not in text
    file = tmp_path / "exported.yaml"
    file.write_text(text)
    for prune in ([], ["--prune"]):
        assert run("apply", "-f", file, "--dry-run", *prune, node=node).stdout == "nothing to change\n"


def test_the_books_close_under_load(node):
    stop = threading.Event()

    def load():
        while not stop.is_set():
            traffic(node, 16)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(8):
            proof = json.loads(run("proof", "--json", node=node).stdout)
            assert proof["closes"] and proof["residual"] == "0"
            assert len(proof["budgets"]) >= 3
            for line in proof["budgets"]:
                assert Decimal(line["limit"]) == Decimal(line["settled"]) + Decimal(line["held"]) + Decimal(line["free"])
                assert (line["records"], line["holds"]) == (line["settled"], line["held"])
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: get(node, "ledger/proof")["open_calls"] == 0)
    assert "the books close at" in run("proof", node=node).stdout


def test_litellm_is_imported(tmp_path):
    source = ROOT / "cluster-config/src/litellm_tests/full.yaml"
    done = run("import", "litellm", source)
    assert yaml.safe_load(done.stdout)["models"] and "were not taken over" in done.stderr
    run("import", "litellm", source, "--strict", code=1)
    (tmp_path / "wrong.yaml").write_text("- a\n- b\n")
    assert "must be a map" in run("import", "litellm", tmp_path / "wrong.yaml", code=1).stderr


@pytest.fixture(scope="module")
def dead(sim, tmp_path_factory):
    """A killed node, and its events while it lived."""
    node = Node(tmp_path_factory.mktemp("dead"), config(sim))
    traffic(node, 40)
    node.dead_events = node.events()
    node.kill()
    yield node
    node.stop()


def replay(node, *arguments, code=0):
    return run("replay", "--data", node.folder / "data", *arguments, code=code).stdout


def test_a_replay_gives_the_same_events_and_books(dead):
    lines = [json.loads(line) for line in replay(dead, "--events").splitlines()]
    assert lines == dead.dead_events
    shown = json.loads(replay(dead, "--json"))
    assert shown["at"] == f"0:{len(lines)}" and shown["open_calls"] == []
    spent = Books(lines).usage(lambda call: call.key)
    assert {row["key_id"]: Decimal(row["cost"]["USD"]) for row in shown["usage"] if row["calls"]["finished"]} == {key: row["cost"] for key, row in spent.items()}
    # verification counts what history and state have; the log may have more after a kill
    events, books = re.search(r"whole: (\d+) events, .* books (\w+),", run("verify", "--data", dead.folder / "data").stdout).groups()
    assert int(events) <= len(lines) and json.loads(replay(dead, "--json", "--until", f"0:{events}"))["books"] == books


def test_a_replay_stops_where_it_is_told_and_sees_one_tenant(dead):
    shown = json.loads(replay(dead, "--json", "--until", "0:40"))
    assert shown["at"] == "0:40"
    third = dead.dead_events[-3]["time"]
    assert json.loads(replay(dead, "--json", "--until", third))["at"] == f"0:{next(at for at, event in enumerate(dead.dead_events) if event['time'] >= third)}"
    one = json.loads(replay(dead, "--json", "--tenant", "umbrella"))
    assert {row["tenant"] for row in one["usage"]} == {"umbrella"} and len(one["budgets"]) == 1
    own = [json.loads(line) for line in replay(dead, "--events", "--tenant", "umbrella").splitlines()]
    assert own and {event.get("tenant") for event in own} <= {"umbrella", None}
    assert "events, up to" in replay(dead)
    replay(dead, "--until", "yesterday", code=1)
    replay(dead, "--json", "--tenant", "nobody", code=1)


def test_a_copy_is_compared_with_the_living(dead, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(dead.folder / "data", copy)
    before = {path: path.read_bytes() for path in sorted(copy.rglob("*")) if path.is_file()}
    dead.start()
    more = run("replay", "--data", copy, "--diff", dead.url).stdout
    assert f"{len(dead.dead_events)} events are the same" in more and "the node has more" in more
    assert {path: path.read_bytes() for path in sorted(copy.rglob("*")) if path.is_file()} == before, "nothing was written"
    other = Node(tmp_path, {"tenants": [{"name": "acme"}]})
    differs = run("replay", "--data", copy, "--diff", other.url, code=1).stdout
    assert re.match(r"event 0:\d+ differs", differs)
    other.stop()
