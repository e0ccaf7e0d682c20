"""The real binary, a simulated provider behind it, and one configuration for all tests."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("TOLLGATE_BINARY", ROOT / "target/debug/tollgate"))
ADMIN = "test-admin-token"
APP = "sk-app-0000000001"
HELLO = [{"role": "user", "content": "Hello!"}]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(is_so, seconds=20):
    """What `is_so` gives once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so after {seconds} s")


def wait_for(url, process):
    for _ in range(400):
        assert process.poll() is None, f"ended with code {process.returncode} while it started"
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.025)
    raise AssertionError(f"{url} does not answer")


class Sim:
    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([BINARY, "provider-sim", "--listen", f"127.0.0.1:{self.port}"], stdout=subprocess.DEVNULL)
        wait_for(f"{self.url}/healthz", self.process)

    def stats(self):
        return httpx.get(f"{self.url}/stats").json()

    def clear(self):
        httpx.delete(f"{self.url}/stats")

    def set(self, **wishes):
        assert httpx.put(f"{self.url}/settings", json=wishes).status_code == 200

    def requests(self, limit=1):
        return httpx.get(f"{self.url}/requests", params={"limit": limit}).json()

    def stop(self):
        self.process.kill()
        self.process.wait()


class Node:
    """A running node. `config` is a dict; YAML reads JSON."""

    stderr = None

    def __init__(self, folder, config, *flags, env=(), ready="/readyz"):
        self.folder, self.flags, self.env, self.ready = Path(folder), flags, dict(env), ready
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = self.folder / "tollgate.yaml"
        self.file.write_text(json.dumps(config))
        self.process = None
        self.start()

    def start(self):
        environment = {**os.environ, "TOLLGATE_ADMIN_TOKEN": ADMIN, "RUST_LOG": "warn", **self.env}
        command = [BINARY, "serve", "-f", self.file, "--listen", f"127.0.0.1:{self.port}", "--data", self.folder / "data", *self.flags]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=self.stderr)
        self.read, self.known = 0, {}
        wait_for(f"{self.url}{self.ready}", self.process)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def apply(self, config, **query):
        answer = httpx.post(f"{self.url}/api/v1/apply", params=query, json=config, headers={"authorization": f"Bearer {ADMIN}"})
        return answer

    def events(self, since=0):
        found, start = [], since
        while True:
            answer = httpx.get(f"{self.url}/api/v1/events", params={"from": f"0:{start}", "limit": 1000}, headers={"authorization": f"Bearer {ADMIN}"}, timeout=60)
            assert answer.status_code == 200, answer.text
            lines = [json.loads(line) for line in answer.text.splitlines()]
            if not lines:
                return found
            found += lines
            start = int(lines[-1]["id"].split(":")[1]) + 1

    def last(self):
        """How many events there are: where those to come begin."""
        return len(self.events())

    def records(self, since=0):
        """What closed each call, by call id: kind and data. No call has two."""
        found = {}
        for event in self.events(since):
            kind = event["type"].split(".")[2]
            if event["subject"].startswith("call_") and kind in ("finished", "released", "orphaned"):
                assert event["subject"] not in found, event["subject"]
                found[event["subject"]] = (kind, event["data"])
        return found

    def record(self, call):
        """The record of a finished call; waits for it, for a caller that left sees no end."""

        def look():
            new = self.events(self.read)
            self.read += len(new)
            self.known |= {event["subject"]: event for event in new if event["type"] == "tollgate.call.finished.v1"}
            return self.known.get(call)

        return wait_until(look)["data"]

    def budgets(self, key):
        return httpx.get(f"{self.url}/v1/budget", headers={"authorization": f"Bearer {key}"}).json()["data"]

    def usage(self, key):
        return httpx.get(f"{self.url}/v1/usage", headers={"authorization": f"Bearer {key}"}).json()


PRICE = {"input_per_mtok": "1", "output_per_mtok": "2"}


def base_config(sim):
    return {
        "providers": [
            {"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "api_key": "sk-upstream-secret", "headers": {"x-call": "{call_id}"}},
            {"name": "claude-sim", "dialect": "anthropic", "base_url": sim.url, "api_key": "sk-ant-upstream", "headers": {"x-call": "{call_id}"}},
            {"name": "dead", "dialect": "openai", "base_url": "http://127.0.0.1:9/v1"},
        ],
        "models": [
            {"name": "fast", "targets": [{"provider": "sim", "model": "sim-fast"}], "price": PRICE, "max_output_tokens": 4096, "context_tokens": 128000},
            {"name": "claude", "targets": [{"provider": "claude-sim", "model": "sim-claude"}], "price": PRICE, "max_output_tokens": 4096, "context_tokens": 200000},
            {"name": "fallback", "targets": [{"provider": "dead", "model": "x"}, {"provider": "sim", "model": "sim-fast"}], "price": PRICE, "max_output_tokens": 4096},
            {"name": "embed", "targets": [{"provider": "sim", "model": "sim-embed"}], "price": PRICE, "max_output_tokens": 16},
        ],
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "month"}]}],
        "scopes": [{"name": "team", "kind": "team", "parent": "acme", "budgets": [{"limit": "100 USD", "every": "day", "alert_at": ["0.8"]}]}],
        "keys": [
            {"name": "app", "scope": "team", "secret": APP},
            {"name": "narrow", "scope": "team", "secret": "sk-narrow-000001", "models": ["claude"]},
            {"name": "slow", "scope": "team", "secret": "sk-slow-00000001", "rpm_limit": 2},
            {"name": "poor", "scope": "team", "secret": "sk-poor-00000001", "budgets": [{"limit": "0.000001 USD", "every": "day"}]},
        ],
    }


@pytest.fixture(scope="session")
def sim():
    sim = Sim()
    yield sim
    sim.stop()


@pytest.fixture(scope="session")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("node"), base_config(sim))
    yield node
    node.stop()
