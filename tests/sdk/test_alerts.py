"""Alerts, as operators see them and as receivers of webhooks get them; receivers check signatures with code of their own."""

import base64
import hashlib
import hmac
import json
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from conftest import ADMIN, HELLO, Node, free_port, wait_until
from views import AUTHORIZED, OTHER, config, every, get

SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
ALERTED = "sk-alerted-0000001"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=receiver"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class Receiver:
    """Takes deliveries, once it has failed as often as it is told to."""

    def __init__(self, certificate=None, key=b"twenty-four bytes of key", port=None):
        self.key, self.port, self.certificate = key, port or free_port(), certificate
        self.taken, self.cleared, self.tries, self.answers = [], [], [], []
        self.ahead = 0  # seconds that the sender's clock is
        self.server = None
        self.start()

    @property
    def url(self):
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/hook/"

    def start(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.check(self.path, self.headers, body)
                status = receiver.answers.pop(0) if receiver.answers else 204
                receiver.tries.append((self.headers["webhook-id"], status))
                if status < 300:
                    event = json.loads(body)
                    (receiver.cleared if ".cleared." in event["type"] else receiver.taken).append(event)
                self.send_response(status)
                self.send_header("location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate / "cert.pem", self.certificate / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def check(self, path, headers, body):
        try:
            assert path == "/hook/" and headers["content-type"] == "application/cloudevents+json"
            assert abs(time.time() + self.ahead - int(headers["webhook-timestamp"])) < 60
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(self.key, signed, hashlib.sha256).digest()).decode()
            event = json.loads(body)
            assert event["specversion"] == "1.0" and event["id"] == headers["webhook-id"]
            kind, alert = event["data"]["kind"], event["data"].get("alert", event["id"])  # a test is none
            # what is over says under which id it was told
            was_told = alert in {told["id"] for told in self.taken}
            assert event["type"] == f"tollgate.alert.{kind}.v1" and alert == event["id"] or event["type"] == f"tollgate.alert.{kind}.cleared.v1" and was_told
        except AssertionError as error:
            self.tries.append(("wrong", repr(error)))

    def is_sound(self):
        return not [why for what, why in self.tries if what == "wrong"]

    def kinds(self):
        return [event["data"]["kind"] for event in self.taken]


def alerted(sim, *webhooks):
    """A key whose first call passes a share of its budget, and webhooks."""
    made = config(sim)
    made["keys"].append({"name": "alerted", "scope": "team", "secret": ALERTED, "budgets": [{"limit": "0.000001 USD", "every": "day", "hard": False, "alert_at": ["0.5"]}]})
    made["providers"].append({"name": "failing", "dialect": "openai", "base_url": f"{sim.url}/v1"})
    made["models"].append({"name": "failing", "targets": [{"provider": "failing", "model": "sim-fast"}], "price": {"input_per_mtok": "1", "output_per_mtok": "2"}, "max_output_tokens": 16})
    return {**made, "webhooks": list(webhooks)}


def call(node, key=ALERTED, model="fast", **more):
    body = {"model": model, "max_tokens": 8, "messages": HELLO, **more}
    return httpx.post(f"{node.url}/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=body, timeout=60)


def leave_open(node, key=ALERTED):
    """A call that its provider does not answer for long: it is open when this returns."""

    def ask():
        try:
            call(node, key, x_sim={"latency_ms": 60_000})
        except httpx.HTTPError:
            pass

    threading.Thread(target=ask, daemon=True).start()
    wait_until(lambda: node.usage(key)["calls"]["open"] == 1)


def alerts(node, **query):
    return every(node, "alerts", **query)


def posted(node, path, code=200, token=ADMIN):
    answer = httpx.post(f"{node.url}/api/v1/{path}", headers={"authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == code, answer.text
    return answer.json()


def test_each_alert_comes_signed_in_order_and_at_least_once(sim, tmp_path, certificate):
    receiver, dead = Receiver(certificate), free_port()
    receiver.answers = [500, 302, 429]
    webhooks = [{"name": "all", "url": receiver.url, "secret": SECRET}, {"name": "dead", "url": f"http://127.0.0.1:{dead}/", "secret": SECRET}]
    node = Node(tmp_path, alerted(sim, *webhooks), env={"SSL_CERT_FILE": str(certificate / "cert.pem")})
    try:
        assert call(node).status_code == 200
        wait_until(lambda: receiver.kinds() == ["budget_threshold"], 40)
        assert [status for _, status in receiver.tries] == [500, 302, 429, 204] and len({id for id, _ in receiver.tries}) == 1
        told = receiver.taken[0]
        assert told["tenant"] == "acme" and told["data"]["owner"] == "alerted" and told["data"]["threshold"] == "0.5" and told["subject"].startswith("bud_")
        assert call(node, OTHER, x_sim={"overrun": 50_000}).status_code in (200, 502)
        wait_until(lambda: "budget_overrun" in receiver.kinds(), 40)
        receiver.stop()
        leave_open(node)
        node.kill()
        node.start()
        for _ in range(6):
            call(node, OTHER, "failing", x_sim={"status": 500})
        wait_until(lambda: {"call_orphaned"} <= {row["kind"] for row in alerts(node)})
        status = wait_until(lambda: (found := get(node, "webhooks/all/deliveries"))["failures"] and found)
        assert status["last_failure"]["why"] and status["next_try_at"] and status["delivered"] == 0
        node.kill()
        receiver.start()
        node.start()
        wait_until(lambda: "call_orphaned" in receiver.kinds(), 40)
        wait_until(lambda: {row["id"] for row in alerts(node)} == {event["id"] for event in receiver.taken}, 40)
        first = list(dict.fromkeys(event["id"] for event in receiver.taken))
        assert first == sorted(first, key=lambda id: int(id.split(":")[1])) and len(first) >= 3
        assert receiver.is_sound(), receiver.tries
        figures = httpx.get(f"{node.url}/metrics").text
        assert 'tollgate_webhook_deliveries_total{webhook="dead",outcome="failed"}' in figures
    finally:
        node.stop()
        receiver.stop()


def test_breakers_and_a_low_disk_are_raised_and_told(sim, tmp_path):
    receiver = Receiver()
    node = Node(tmp_path, alerted(sim, {"name": "ops", "url": receiver.url, "secret": SECRET, "alerts": ["breaker_open", "disk_low"]}), "--reactors", "1")
    try:
        for _ in range(6):
            assert call(node, OTHER, "failing", x_sim={"status": 500}).status_code >= 500
        call(node)
        rows = wait_until(lambda: alerts(node, state="open", kind="breaker_open"))
        assert len(rows) == 1 and "failing" in rows[0]["message"] and rows[0]["subject"].startswith("prov_") and rows[0]["tenant"] is None
        wait_until(lambda: receiver.kinds() == ["breaker_open"])
        events = [event["type"] for event in node.events() if event["type"].startswith("tollgate.alert.")]
        assert events == ["tollgate.alert.raised.v1"]
        wait_until(lambda: 'tollgate_alerts_open{kind="breaker_open"} 1' in httpx.get(f"{node.url}/metrics").text)
        free = int(float(next(line.split()[1] for line in httpx.get(f"{node.url}/metrics").text.splitlines() if line.startswith("tollgate_disk_free_bytes "))))
        node.kill()
        node.flags, node.ready = (*node.flags, "--disk-low-mib", str(2 * (free >> 20)), "--disk-ok-mib", str(3 * (free >> 20))), "/livez"
        node.start()
        wait_until(lambda: receiver.kinds()[-1] == "disk_low")
        figures = httpx.get(f"{node.url}/metrics").text
        assert "tollgate_disk_low 1" in figures and "tollgate_ready 0" in figures
        assert "budget_threshold" not in receiver.kinds() and receiver.is_sound(), receiver.tries
    finally:
        node.stop()
        receiver.stop()


def test_tenants_get_their_own_and_urls_stay_outside(sim, tmp_path):
    receiver = Receiver()
    node = Node(tmp_path, alerted(sim, {"name": "all", "url": receiver.url, "secret": SECRET}))
    try:
        assert call(node).status_code == 200
        call(node, OTHER, x_sim={"overrun": 50_000})
        wait_until(lambda: len(alerts(node)) == 2)
        tokens = {}
        for tenant in ("acme", "umbrella"):
            body = {"name": tenant, "role": "auditor", "tenant": tenant}
            tokens[tenant] = httpx.post(f"{node.url}/api/v1/tokens", json=body, headers=AUTHORIZED).json()["secret"]
        for tenant, kind in [("acme", "budget_threshold"), ("umbrella", "budget_overrun")]:
            own = httpx.get(f"{node.url}/api/v1/alerts", headers={"authorization": f"Bearer {tokens[tenant]}"}).json()["data"]
            assert [(row["tenant"], row["kind"]) for row in own] == [(tenant, kind)]
            hidden = httpx.get(f"{node.url}/api/v1/webhooks/all/deliveries", headers={"authorization": f"Bearer {tokens[tenant]}"})
            assert hidden.status_code == 404
        assert [row["kind"] for row in alerts(node, tenant="umbrella")] == ["budget_overrun"]
        assert [row["kind"] for row in alerts(node, kind="budget_threshold", state="open")] == ["budget_threshold"]
        assert alerts(node, state="open", kind="budget_overrun") == [] and len(alerts(node, state="closed")) == 1
        assert get(node, "alerts", accept="text/csv").count("\n") == 3
        assert get(node, "alerts", code=400, kind="disk_lo")["path"] == "kind"
        for url, path in [("https://127.0.0.1:9/x", "webhooks[0].url"), ("http://hooks.example/x", "webhooks[0].url"), ("https://169.254.169.254/x", "webhooks[0].url")]:
            refused = node.apply({"webhooks": [{"name": "theirs", "tenant": "acme", "url": url}]})
            assert refused.status_code == 400 and refused.json()["problems"][0]["path"] == path, refused.text
        # a name that leads inside is found when it is dialled
        made = node.apply({"webhooks": [{"name": "theirs", "tenant": "acme", "url": f"https://localhost.localdomain.:{receiver.port}/hook/"}]})
        if made.status_code == 200:
            assert not posted(node, "webhooks/theirs/test")["delivered"]
    finally:
        node.stop()
        receiver.stop()


def test_a_webhook_is_an_entry_like_others(sim, tmp_path):
    receiver = Receiver()
    node = Node(tmp_path, alerted(sim))
    try:
        put = httpx.put(f"{node.url}/api/v1/webhooks/pager", json={"url": receiver.url}, headers=AUTHORIZED)
        assert put.status_code == 201 and put.json()["secret"].startswith("whsec_"), put.text
        receiver.key = base64.b64decode(put.json()["secret"].removeprefix("whsec_"))
        tested = posted(node, "webhooks/pager/test")
        assert tested["delivered"] and tested["status"] == 204 and receiver.kinds() == ["test"] and receiver.is_sound(), receiver.tries
        receiver.answers = [404]
        refused = posted(node, "webhooks/pager/test")
        assert not refused["delivered"] and refused["status"] == 404 and "404" in refused["why"]
        assert call(node).status_code == 200
        wait_until(lambda: receiver.kinds()[-1] == "budget_threshold")
        again = httpx.put(f"{node.url}/api/v1/webhooks/pager", json={"url": receiver.url, "alerts": ["disk_low"], "secret": "keep"}, headers=AUTHORIZED)
        assert again.status_code == 200 and "secret" not in again.json() and again.json()["spec"]["secret"] == "keep"
        wrong = httpx.put(f"{node.url}/api/v1/webhooks/pager", json={"url": receiver.url, "alert": ["disk_low"]}, headers=AUTHORIZED)
        assert wrong.status_code == 400 and "alerts" in wrong.text
        exported = get(node, "export", accept="application/json")
        assert exported["webhooks"] == [{"name": "pager", "url": receiver.url, "alerts": ["disk_low"], "secret": "keep"}]
        assert node.apply(exported, dry_run="true").json()["changes"] == []
        assert httpx.delete(f"{node.url}/api/v1/webhooks/pager", headers=AUTHORIZED).status_code == 200
        assert get(node, "webhooks")["data"] == [] and get(node, "webhooks/pager/deliveries", code=404)
        history = json.dumps(node.events())
        assert "whsec_" not in history and "tollgate.webhook.closed.v1" in history
        changes = get(node, "audit", kind="webhook")["data"]
        assert {change["type"].split(".")[2] for change in changes} == {"created", "secret_set", "changed", "closed"}
    finally:
        node.stop()
        receiver.stop()


CLOCK = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The wall clock, set by as many seconds as a file says. */
int clock_gettime(clockid_t which, struct timespec *at) {
    long done = syscall(SYS_clock_gettime, which, at), seconds = 0;
    FILE *file = done == 0 && which == CLOCK_REALTIME ? fopen(getenv("CLOCK_SET_BY"), "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &seconds) == 1) at->tv_sec += seconds;
        fclose(file);
    }
    return (int)done;
}
"""


def values_of(page):
    """Keys and where their values lie, of a leaf page of redb; nothing, if it is none."""
    entries = int.from_bytes(page[2:4], "little")
    heads = 4 + 8 * entries
    if page[0] != 1 or not 0 < entries or heads > len(page):
        return
    ends = [int.from_bytes(page[at : at + 4], "little") for at in range(4, heads, 4)]
    if ends != sorted(ends) or ends[-1] > len(page):
        return
    starts = [heads, *ends[:-1]]
    for key, value in zip(range(entries), range(entries, 2 * entries)):
        yield page[starts[key] : ends[key]], starts[value], ends[value]


def crc32c(content):
    sum = 0xFFFFFFFF
    for byte in content:
        sum ^= byte
        for _ in range(8):
            sum = sum >> 1 ^ (0x82F63B78 if sum & 1 else 0)
    return sum ^ 0xFFFFFFFF


def rewritten(file, prefix, change):
    """Changes the rows of a table of a projection (a checksum, and what it is of); answers how many there were."""
    content, found = bytearray(file.read_bytes()), 0
    for page in range(0, len(content), 4096):
        for key, start, end in values_of(bytes(content[page : page + 4096])):
            if key.startswith(prefix) and end - start > 4:
                content[page + start : page + end] = change(key, bytes(content[page + start : page + end]))
                found += 1
    file.write_bytes(content)
    return found


def damaged(_, row):
    return row[:-1] + bytes([row[-1] ^ 1])


def wrong_by_one(key, row):
    """Sound, but its first figure is not what it was."""
    figures = bytes([row[4] ^ 2]) + row[5:]
    return crc32c(key + figures).to_bytes(4, "little") + figures


def test_what_a_node_sees_of_itself(sim, tmp_path):
    """A projection that fails, books that do not close, a clock that is set: each is told, none of them touches a call."""
    source, library, set_by = tmp_path / "clock.c", tmp_path / "clock.so", tmp_path / "seconds"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    set_by.write_text("0")
    receiver = Receiver()
    made = alerted(sim, {"name": "all", "url": receiver.url, "secret": SECRET})
    node = Node(tmp_path, made, env={"LD_PRELOAD": str(library), "CLOCK_SET_BY": str(set_by)})
    try:
        for _ in range(5):
            assert call(node, OTHER).status_code == 200
        for name in ("usage", "budgets"):
            get(node, name, at_least=f"0:{node.last()}")
        node.process.terminate()
        node.process.wait()
        views = tmp_path / "data/projections"
        assert rewritten(views / "usage.redb", b"u", damaged) and rewritten(views / "budgets.redb", b"b", wrong_by_one)
        node.start()
        assert call(node, OTHER).status_code == 200
        get(node, "calls", at_least=f"0:{node.last()}")
        wait_until(lambda: "projection_lag" in receiver.kinds(), 20)
        [lag] = alerts(node, state="open", kind="projection_lag")
        assert "projection usage has failed" in lag["message"], lag
        wait_until(lambda: "ledger_residual" in receiver.kinds(), 80)
        posted(node, "projections/usage/rebuild", 202)
        wait_until(lambda: not alerts(node, state="open", kind="projection_lag"), 20)
        wait_until(lambda: "projection_lag" in [event["data"]["kind"] for event in receiver.cleared], 20)
        # what is not proved yet is not over
        node.process.terminate()
        node.process.wait()
        node.start()
        time.sleep(4)
        assert alerts(node, state="open", kind="ledger_residual") and not get(node, "ledger/proof")["closes"]
        posted(node, "projections/budgets/rebuild", 202)
        wait_until(lambda: get(node, "ledger/proof")["residual"] in (0, "0"), 20)
        receiver.ahead = 7_200
        set_by.write_text("7200")
        wait_until(lambda: "clock_step" in receiver.kinds(), 20)
        [step] = alerts(node, state="open", kind="clock_step")
        assert "set by 7200 s" in step["message"] or "set by 7199 s" in step["message"], step
        assert call(node, OTHER).status_code == 200
        assert receiver.is_sound(), receiver.tries
    finally:
        node.stop()
        receiver.stop()


def test_what_cannot_be_opened_touches_no_call(sim, tmp_path):
    """A folder in the place of one projection's file, then a file in the place of their folder."""
    node = Node(tmp_path, alerted(sim))
    views = tmp_path / "data/projections"
    try:
        assert call(node, OTHER).status_code == 200
        get(node, "usage", at_least=f"0:{node.last()}")
        node.kill()
        (views / "usage.redb").unlink()
        (views / "usage.redb").mkdir()
        node.start()
        assert call(node, OTHER).status_code == 200
        assert httpx.get(f"{node.url}/api/v1/usage", headers=AUTHORIZED).status_code == 503
        assert len(get(node, "calls", at_least=f"0:{node.last()}")["data"]) == 2
        wait_until(lambda: alerts(node, state="open", kind="projection_lag"), 20)
        (views / "usage.redb").rmdir()
        posted(node, "projections/usage/rebuild", 202)
        wait_until(lambda: get(node, "projections/usage")["status"] == "following")
        assert get(node, "usage", at_least=f"0:{node.last()}")["data"][0]["calls"]["finished"] == 2
        node.kill()
        views.rename(tmp_path / "kept")
        views.write_text("no folder")
        node.start()
        assert call(node, OTHER).status_code == 200
        told = httpx.get(f"{node.url}/api/v1/projections", headers=AUTHORIZED).json()["data"]
        assert len(told) == 6 and all(view["status"] == "failed" and "next start" in view["why"] for view in told), told
        for path in ("usage", "calls", "audit", "alerts", "ledger/proof"):
            assert httpx.get(f"{node.url}/api/v1/{path}", headers=AUTHORIZED).status_code == 503, path
        wait_until(lambda: [event for event in node.events() if event["type"] == "tollgate.alert.raised.v1" and "failed" in json.dumps(event)])
        node.kill()
        views.unlink()
        node.start()
        assert len(get(node, "calls", at_least=f"0:{node.last()}")["data"]) == 3
    finally:
        node.stop()
