"""A disk that does not answer: no end without its record (LEDGER §10), no admission, and nothing is lost once it goes on."""

import subprocess
import threading
import time

import httpx
import pytest
from conftest import Node, wait_until
from test_budgets import KEY, books_close, config

# Stands before the C library's fdatasync and fsync: while the file exists, a sync does not return.
STALL = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int wait_then(const char *name, int file) {
    const char *stalled = getenv("STALLED");
    while (stalled && access(stalled, F_OK) == 0) usleep(5000);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}
int fdatasync(int file) { return wait_then("fdatasync", file); }
int fsync(int file) { return wait_then("fsync", file); }
"""


@pytest.fixture
def disk(tmp_path):
    """The file whose presence stalls the disk, and the variables that make a process heed it."""
    source, library, stalled = tmp_path / "stall.c", tmp_path / "stall.so", tmp_path / "stalled"
    source.write_text(STALL)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return stalled, {"LD_PRELOAD": str(library), "STALLED": str(stalled)}


def ask(node, stream=False, latency=0):
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 50, "stream": stream, "x_sim": {"output": 3, "latency_ms": latency}}
    return httpx.post(f"{node.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=60)


def test_no_end_comes_before_its_record_and_no_record_is_lost(sim, disk, tmp_path):
    sim.clear()
    stalled, heeds = disk
    node = Node(tmp_path, config(sim, "100 requests"), env=heeds)
    try:
        assert ask(node).status_code == 200
        answers = {}
        running = [threading.Thread(target=lambda stream=stream: answers.update({stream: ask(node, stream, latency=1500)})) for stream in (False, True)]
        [thread.start() for thread in running]
        wait_until(lambda: len(sim.stats()["calls"]) == 3)  # both are admitted, durably: they were sent
        stalled.touch()
        began = time.monotonic()
        refused = ask(node)
        assert refused.status_code == 503 and refused.headers["retry-after"], refused.text
        assert "nothing was sent and nothing is charged" in refused.json()["error"]["message"]
        [thread.join() for thread in running]
        assert time.monotonic() - began > 9, "it was waited for the record"
        whole, stream = answers[False], answers[True]
        assert whole.status_code == 503 or whole.status_code == 500, whole.text
        assert whole.json()["error"]["code"] == "record_pending" and whole.headers["x-should-retry"] == "false"
        assert whole.headers["x-request-id"] in whole.json()["error"]["message"]
        assert "[DONE]" not in stream.text and '"record_pending"' in stream.text and stream.headers["x-request-id"] in stream.text
        stalled.unlink()
        for answer in (whole, stream):
            assert node.record(answer.headers["x-request-id"])["outcome"] == "ok"
        wait_until(lambda: node.budgets(KEY)[0]["held"] == "0")
        assert ask(node).status_code == 200
        records = books_close(node, sim)
        assert sorted(kind for kind, _ in records.values()) == ["finished"] * 4 + ["released"], "what was not sent is released"
    finally:
        stalled.unlink(missing_ok=True)
        node.stop()
