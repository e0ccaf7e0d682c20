"""Backups: made while calls go on, proved, restored elsewhere; kills at any moment; and what is damaged is refused or named."""

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from conftest import ADMIN, APP, BINARY, HELLO, Node, wait_until
from views import AUTHORIZED, assert_rebuilt_alike, config, every, get, traffic


def run(*arguments, node=None, code=0, env=(), **more):
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, **({"TOLLGATE_URL": node.url} if node else {}), **dict(env)}
    done = subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def call(node, key=APP):
    client = openai.OpenAI(api_key=key, base_url=f"{node.url}/v1", max_retries=0, timeout=30)
    return client.chat.completions.create(model="fast", messages=HELLO)


@pytest.fixture(scope="module")
def made(sim, tmp_path_factory):
    """A node that goes on, an identity, and a backup made while it was under load."""

    class Made:
        pass

    made, folder = Made(), tmp_path_factory.mktemp("backup")
    made.node = Node(tmp_path_factory.mktemp("node"), config(sim))
    made.identity, made.file = folder / "backup.key", folder / "tollgate.backup"
    made.recipient = run("backup", "--new-identity", made.identity).strip()
    traffic(made.node, 60)
    stop, made.failed = threading.Event(), []

    def load():
        while not stop.is_set():
            try:
                call(made.node)
            except Exception as error:  # any failure fails the test
                made.failed.append(error)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(load)
        wait_until(lambda: made.node.last() > 250)
        before = made.node.last()
        run("backup", "--to", made.file, "--recipient", made.recipient, node=made.node)
        stop.set()
    told = run("backup", "--check", made.file, "--identity", made.identity)
    made.position = int(re.search(r"position 0:(\d+)", told)[1])
    made.books = re.search(r"books ([0-9a-f]{32})", told)[1]
    assert before <= made.position <= made.node.last()
    yield made
    made.node.stop()


def restore(made, folder, *flags, code=0):
    return run("restore", "--from", made.file, "--identity", made.identity, "--data", folder, *flags, code=code)


def test_it_is_made_while_calls_go_on(made):
    assert not made.failed
    assert made.file.stat().st_mode & 0o77 == 0 and made.identity.stat().st_mode & 0o77 == 0
    assert not made.file.with_name(made.file.name + ".part").exists()
    assert f"books {made.books}" in run("verify", "--backup", made.file, "--identity", made.identity)


def test_a_replay_of_it_is_the_live_node(made):
    here = json.loads(run("replay", "--backup", made.file, "--identity", made.identity, "--json"))
    assert here["at"] == f"0:{made.position}" and here["books"] == made.books
    told = run("replay", "--backup", made.file, "--identity", made.identity, "--diff", made.node.url)
    assert f"{made.position} events are the same" in told and made.books in told


def test_it_is_restored_elsewhere(made, sim, tmp_path):
    told = restore(made, tmp_path / "data", "--master-key-file", made.node.folder / "data/master.key")
    assert made.books in told
    restored = Node(tmp_path, config(sim))
    try:
        theirs, ours = made.node.events()[: made.position], restored.events()
        assert [event["data"] for event in ours[: made.position]] == [event["data"] for event in theirs]
        said = ours[made.position]
        assert said["type"] == "tollgate.node.restored.v1" and said["data"]["position"] == f"0:{made.position}"
        admitted, closed = set(), set()
        for event in ours:
            kind = event["type"].split(".")[2]
            (admitted if kind == "admitted" else closed if kind in ("finished", "released", "orphaned") else set()).add(event["subject"])
        assert admitted == closed  # what was open in the backup is orphaned
        assert any(row["type"] == "tollgate.node.restored.v1" for row in every(restored, "audit", kind="node"))
        assert call(restored).choices and dict(sim.requests()["data"][0]["headers"])["authorization"] == "Bearer sk-upstream-secret"
        assert get(restored, "ledger/proof")["closes"]
        restored.kill()
        assert "whole" in run("verify", "--data", tmp_path / "data")
    finally:
        restored.stop()


def test_of_a_node_that_does_not_run(made, tmp_path):
    shutil.copytree(made.node.folder / "data", tmp_path / "copy")  # as after a power cut
    run("backup", "--data", tmp_path / "copy", "--to", tmp_path / "offline.backup", "--recipient", made.recipient)
    told = run("backup", "--check", tmp_path / "offline.backup", "--identity", made.identity)
    assert int(re.search(r"position 0:(\d+)", told)[1]) >= made.position
    assert "in use" in run("backup", "--data", made.node.folder / "data", "--to", tmp_path / "x", "--recipient", made.recipient, code=1)


def test_the_standard_tool_opens_it(made):
    pyrage = pytest.importorskip("pyrage")
    identity = pyrage.x25519.Identity.from_str(made.identity.read_text().splitlines()[-1])
    plain = pyrage.decrypt(made.file.read_bytes(), [identity])
    assert plain.startswith(b"tollgate backup\n")
    assert (made.node.folder / "data/master.key").read_bytes().strip() not in plain and b"sk-upstream-secret" not in plain


def test_the_master_key_must_be_the_same(made, sim, tmp_path):
    restore(made, tmp_path / "data")
    environment = {**os.environ, "TOLLGATE_ADMIN_TOKEN": ADMIN}
    serve = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data", tmp_path / "data"]
    lost = subprocess.run(serve, env=environment, capture_output=True, text=True, timeout=60)
    assert lost.returncode == 1 and "put the master key back" in lost.stderr
    other = subprocess.run(serve, env={**environment, "TOLLGATE_MASTER_KEY": "0" * 64}, capture_output=True, text=True, timeout=60)
    assert other.returncode == 1 and "does not open the secret" in other.stderr


def test_what_is_not_whole_is_refused(made, tmp_path):
    other = tmp_path / "other.key"
    run("backup", "--new-identity", other)
    assert "another identity" in run("backup", "--check", made.file, "--identity", other, code=1)
    whole, wrong = made.file.read_bytes(), tmp_path / "wrong.backup"
    chance = random.Random(5)
    for bytes in [whole[:at] for at in (0, 10, 200, len(whole) // 2, len(whole) - 1)] + [
        whole[:at] + b"%c" % (whole[at] ^ 1) + whole[at + 1 :] for at in (chance.randrange(len(whole)) for _ in range(20))
    ]:
        wrong.write_bytes(bytes)
        said = run("backup", "--check", wrong, "--identity", made.identity, code=1)
        assert "wrong.backup" in said and "panic" not in said
    header = whole.index(b"\n---") + 100  # its last line and the nonce; what follows is sealed by pieces of 64 KiB
    for left in (header, len(whole) // 2, len(whole) - 1):
        wrong.write_bytes(whole[:left])
        said = run("restore", "--from", wrong, "--identity", made.identity, "--data", tmp_path / "half", code=1)
        assert "empty it" in said
        serve = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data", tmp_path / "half"]
        serve = subprocess.run(serve, capture_output=True, text=True, timeout=60)
        assert serve.returncode == 1 and "did not come to its end" in serve.stderr
        assert "something in this folder" in restore(made, tmp_path / "half", code=1)
        shutil.rmtree(tmp_path / "half")
    restore(made, tmp_path / "half")


def test_what_is_there_is_not_overwritten(made, tmp_path):
    assert "already" in run("backup", "--to", made.file, "--recipient", made.recipient, node=made.node, code=1)
    run("backup", "--new-identity", made.identity, code=1)
    assert "whom it is sealed for" in run("backup", "--to", tmp_path / "x", node=made.node, code=1)
    secret = made.identity.read_text().splitlines()[-1]
    assert secret not in run("backup", "--to", tmp_path / "x", "--recipient", secret, node=made.node, code=1)


def test_two_at_once_do_not_mix(made, tmp_path):
    to, part = tmp_path / "x.backup", tmp_path / "x.backup.part"
    with open(part, "wb") as other:
        other.write(b"what a killed one left" * 1000)
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another backup is being written there" in run("backup", "--to", to, "--recipient", made.recipient, node=made.node, code=1)
        assert part.stat().st_size == 22_000
    run("backup", "--to", to, "--recipient", made.recipient, node=made.node)
    run("backup", "--check", to, "--identity", made.identity)
    assert not part.exists()


def test_the_master_key_is_put_beside_the_data_only_when_it_is_said(made, tmp_path):
    named = {"TOLLGATE_MASTER_KEY_FILE": str(made.node.folder / "data/master.key")}
    run("restore", "--from", made.file, "--identity", made.identity, "--data", tmp_path / "data", env=named)
    assert not (tmp_path / "data/master.key").exists()


def test_who_may(made, tmp_path):
    for role, code in [("admin", 200), ("operator", 403), ("auditor", 403), ("billing", 403)]:
        answer = httpx.post(f"{made.node.url}/api/v1/tokens", json={"name": f"b-{role}", "role": role}, headers=AUTHORIZED)
        assert answer.status_code in (200, 201), answer.text
        token = {"authorization": f"Bearer {answer.json()['secret']}"}
        assert httpx.get(f"{made.node.url}/api/v1/backup", params={"recipient": made.recipient}, headers=token).status_code == code
    for wrong in ("", "age1nobody"):
        answer = httpx.get(f"{made.node.url}/api/v1/backup", params={"recipient": wrong}, headers=AUTHORIZED)
        assert answer.status_code == 400 and answer.json()["path"] == "recipient", answer.text


def test_a_journal_in_memory_has_none(made, sim, tmp_path):
    node = Node(tmp_path, config(sim), "--journal", "memory")
    try:
        answer = httpx.get(f"{node.url}/api/v1/backup", params={"recipient": made.recipient}, headers=AUTHORIZED)
        assert answer.status_code == 503 and "memory only" in answer.json()["detail"]
    finally:
        node.stop()


def killed_after(process, seconds):
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def start(*arguments, node):
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}
    return subprocess.Popen([BINARY, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def whole_or_absent(made, file):
    if file.exists():
        run("backup", "--check", file, "--identity", made.identity)
        return True
    return False


def test_kills_of_who_asks(made, tmp_path):
    chance = random.Random(7)
    outcomes = []
    for number in range(12):
        file = tmp_path / f"{number}.backup"
        killed_after(start("backup", "--to", file, "--recipient", made.recipient, node=made.node), chance.uniform(0, 0.12))
        outcomes.append(whole_or_absent(made, file))
    assert not all(outcomes)
    wait_until(lambda: httpx.get(f"{made.node.url}/api/v1/backup", params={"recipient": made.recipient}, headers=AUTHORIZED).status_code == 200)
    assert call(made.node).choices


def test_kills_of_the_node(made, sim, tmp_path):
    node = Node(tmp_path, config(sim))
    chance = random.Random(8)
    try:
        traffic(node, 30)
        for number in range(6):
            file = tmp_path / f"{number}.backup"
            asks = start("backup", "--to", file, "--recipient", made.recipient, node=node)
            time.sleep(chance.uniform(0, 0.12))
            node.kill()
            asks.communicate(timeout=60)
            assert whole_or_absent(made, file) == (asks.returncode == 0)
            node.start()
        assert get(node, "ledger/proof")["closes"]
    finally:
        node.stop()


def test_kills_of_a_restore(made, sim, tmp_path):
    chance = random.Random(9)
    ended = []
    for number in range(12):
        folder = tmp_path / str(number)
        flags = ("restore", "--from", made.file, "--identity", made.identity, "--data", folder)
        killed_after(start(*flags, node=made.node), chance.uniform(0, 0.4))
        done = subprocess.run([BINARY, "verify", "--data", folder], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            assert f"whole: {made.position + 1} events" in done.stdout
        elif folder.exists() and any(folder.iterdir()):
            assert "did not come to its end" in done.stderr or "no file VERSION" in done.stderr, done.stdout + done.stderr
        ended.append(done.returncode == 0)
        shutil.rmtree(folder, ignore_errors=True)
    assert not all(ended)
    restore(made, tmp_path / "last")


def test_kills_of_a_rebuilding(sim, tmp_path):
    node = Node(tmp_path, config(sim))
    chance = random.Random(10)
    try:
        traffic(node, 60)
        for name in ("usage", "calls", "budgets", "providers"):
            run("rebuild", name, "--no-wait", node=node)
            time.sleep(chance.uniform(0, 0.05))
            node.kill()
            node.start()
            wait_until(lambda: get(node, f"projections/{name}")["lag_events"] == 0)
            assert_rebuilt_alike(node, name)
            assert not [file for file in (tmp_path / "data/projections").iterdir() if ".rebuild" in file.name]
        assert get(node, "ledger/proof")["closes"]
    finally:
        node.stop()
