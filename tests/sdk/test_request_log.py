"""The request log: off unless somebody asks, never in the clear on disk, masked, bounded, and gone with its tenant."""

import json
import stat
import subprocess

import httpx
import openai
import pytest
from conftest import ADMIN, APP, BINARY, HELLO, Node, base_config, wait_until

CANARY = "quetzalcoatlus"
MAIL = "ada.lovelace@example.com"
OTHER = "sk-other-0000001"
AUTHORIZED = {"authorization": f"Bearer {ADMIN}"}


class Watched(Node):
    """Its lines go into a file beside the data."""

    def __init__(self, folder, *more, **named):
        self.stderr = (folder / "lines").open("ab")
        super().__init__(folder, *more, env={"RUST_LOG": "info"}, **named)


def config(sim, **logs):
    """What tenants and keys say of the request log, by their names."""
    config = base_config(sim)
    config["tenants"].append({"name": "umbrella"})
    config["scopes"].append({"name": "lab", "kind": "team", "parent": "umbrella"})
    config["keys"].append({"name": "app", "scope": "lab", "secret": OTHER})
    for tenant in config["tenants"]:
        if tenant["name"] in logs:
            tenant["request_log"] = logs[tenant["name"]]
    for key in config["keys"]:
        if key["secret"] in logs.get("keys", {}):
            key["request_log"] = logs["keys"][key["secret"]]
    return config


def call(node, text=CANARY, key=APP, **more):
    """A call; its id."""
    client = openai.OpenAI(api_key=key, base_url=f"{node.url}/v1", max_retries=0, timeout=30)
    asked = {"model": "fast", "messages": [{"role": "user", "content": text}], **more}
    try:
        raw = client.chat.completions.with_raw_response.create(**asked)
    except openai.APIStatusError as error:
        return error.response.headers["x-request-id"]
    if asked.get("stream"):
        list(raw.parse())
    return raw.headers["x-request-id"]


def bodies(node, id, token=ADMIN):
    return httpx.get(f"{node.url}/api/v1/calls/{id}/bodies", headers={"authorization": f"Bearer {token}"}, timeout=30)


def kept(node, id):
    """What is kept of a call; waits until it is written."""

    def look():
        answer = bodies(node, id)
        return answer.json() if answer.status_code == 200 else None

    return wait_until(look)


def not_kept(node, id, why):
    answer = bodies(node, id)
    assert answer.status_code == 404 and answer.json()["code"] == "bodies_not_kept" and why in answer.json()["detail"], answer.text


def figures(node):
    text = httpx.get(f"{node.url}/metrics", headers=AUTHORIZED).text
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("tollgate_request_log")}


def result(node, name):
    return figures(node)[f'tollgate_request_log_records_total{{result="{name}"}}']


def files(node):
    return sorted((node.folder / "data" / "bodies").glob("*"))


def nothing_in_the_clear(node, *texts):
    """Neither in a file of the data directory nor in a line."""
    for path in [*(node.folder / "data").rglob("*"), node.folder / "lines"]:
        if path.is_file():
            content = path.read_bytes()
            for text in texts:
                assert text.encode() not in content, (path, text)


@pytest.fixture
def start(sim, tmp_path):
    nodes = []

    def start(*flags, **logs):
        nodes.append(Watched(tmp_path, config(sim, **logs), *flags))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def test_off_keeps_nothing(start):
    node = start()
    id = call(node)
    node.record(id)
    not_kept(node, id, "off")
    assert files(node) == [] and set(figures(node).values()) == {0.0}
    nothing_in_the_clear(node, CANARY)
    assert bodies(node, "call_" + "0" * 26).json()["code"] == "not_found"


def test_all_is_kept_masked_and_nowhere_in_the_clear(start):
    rules = ["email", "$$.user", "secret"]
    node = start(acme={"log": "all", "keep": "3d", "mask": rules}, keys={"sk-narrow-000001": {"log": "off"}})
    id = call(node, f"{CANARY} {MAIL}", user="ada", temperature=0.5)
    found = kept(node, id)
    assert found["object"] == "call_bodies" and found["call"] == id and found["endpoint"] == "chat_completions"
    request = found["request"]["body"]
    assert request["messages"][0]["content"] == f"{CANARY} [email]" and request["user"] == "[masked]" and request["temperature"] == 0.5
    assert found["masked"] == ["$.user", "email"] and not found["request"]["truncated"]
    answer = found["answer"]
    assert answer["status"] == 200 and answer["content_type"].startswith("application/json") and answer["body"]["choices"][0]["message"]["content"]
    assert found["expires_at"] > found["at"]
    off = call(node, key="sk-narrow-000001", model="claude")
    node.record(off)
    not_kept(node, off, "off")
    assert result(node, "kept") == 1
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files(node)) and files(node)
    nothing_in_the_clear(node, CANARY, MAIL)
    shown = subprocess.run([BINARY, "calls", "--bodies", id, "--url", node.url, "--token", ADMIN], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["call"] == id
    reads = [event for event in node.events() if event["type"] == "tollgate.tenant.bodies_read.v1"]
    assert reads and {event["data"]["call"] for event in reads} == {id}


def test_streams_are_kept_as_what_they_add_up_to(start):
    node = start(acme={"log": "all", "mask": ["email"]})
    client = openai.OpenAI(api_key=APP, base_url=f"{node.url}/v1", max_retries=0)
    raw = client.chat.completions.with_raw_response.create(model="fast", messages=HELLO, stream=True)
    heard = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
    answer = kept(node, raw.headers["x-request-id"])["answer"]
    assert answer["body"]["choices"][0]["message"]["content"] == heard and answer["frames"] > 2
    claude = httpx.post(
        f"{node.url}/v1/messages",
        headers={"x-api-key": APP},
        json={"model": "claude", "max_tokens": 64, "messages": HELLO, "stream": True},
        timeout=30,
    )
    deltas = [json.loads(line[6:]) for line in claude.text.splitlines() if line.startswith("data: ")]
    heard = "".join(delta["delta"].get("text", "") for delta in deltas if delta["type"] == "content_block_delta")
    answer = kept(node, claude.headers["x-request-id"])["answer"]
    assert heard and answer["body"]["content"][0]["text"] == heard and answer["content_type"].startswith("text/event-stream")


def test_errors_only_and_samples(start):
    node = start(acme={"log": "errors", "bodies": "request"}, umbrella={"log": "sampled", "sample": "0.5"})
    good, bad = call(node), call(node, model="missing")
    refused = call(node, key="sk-poor-00000001")
    assert kept(node, bad)["answer"] is None
    assert kept(node, refused)["request"]["body"]["messages"][0]["content"] == CANARY
    not_kept(node, good, "went well")
    ids = [call(node, key=OTHER) for _ in range(40)]
    for id in ids:
        node.record(id)
    taken = [id for id in ids if bodies(node, id).status_code == 200]
    assert 6 <= len(taken) <= 34, "a half, but for chance"
    not_kept(node, next(id for id in ids if id not in taken), "sampled")


def test_a_big_body_is_cut(start):
    node = start(acme={"log": "all", "mask": ["email"]})
    words = f"{MAIL} and many words " * 150_000
    client = httpx.post(
        f"{node.url}/v1/embeddings", headers={"authorization": f"Bearer {APP}"}, json={"model": "embed", "input": [words]}, timeout=60
    )
    found = kept(node, client.headers["x-request-id"])
    assert found["request"]["truncated"] and len(found["request"]["body"]) == 2 << 20 and MAIL not in found["request"]["body"]
    assert result(node, "truncated") == 1


def test_a_kill_loses_nothing_that_was_written_and_a_torn_end_is_cut(start):
    node = start(acme={"log": "all"})
    ids = [call(node) for _ in range(20)]
    for id in ids:
        kept(node, id)
    node.kill()
    last = files(node)[-1]
    with last.open("ab") as file:
        file.write(b"\xf7T\x01\x01torn")
    size = last.stat().st_size
    node.start()
    assert all(kept(node, id)["call"] == id for id in ids)
    assert last.stat().st_size < size
    more = call(node)
    assert kept(node, more) and len(files(node)) == 1
    nothing_in_the_clear(node, CANARY)


def test_the_oldest_make_room(start):
    node = start("--request-log-mib", "3", acme={"log": "all", "media": "keep"})
    noise = [f"{number:x}" for number in range(10**11, 10**11 + 60_000)]
    ids = []
    for turn in range(30):
        id = call(node, " ".join(reversed(noise)) + str(turn), max_tokens=1)
        ids.append(id)
        wait_until(lambda: result(node, "kept") + result(node, "dropped") == len(ids))
    assert sum(path.stat().st_size for path in files(node)) <= 3 << 20
    assert result(node, "evicted") > 0
    not_kept(node, ids[0], "room")
    assert kept(node, ids[-1])


def test_files_that_somebody_removed_are_begun_anew(start):
    node = start(acme={"log": "all"})
    first = call(node)
    wait_until(lambda: result(node, "kept") == 1)
    for path in files(node):
        path.unlink()
    second = call(node)
    wait_until(lambda: result(node, "kept") == 2)
    assert kept(node, second) and result(node, "dropped") == 0 and bodies(node, first).status_code == 404


def test_who_may_see_and_erase(start):
    node = start(acme={"log": "all"}, umbrella={"log": "all"})
    own, other = call(node), call(node, key=OTHER)
    kept(node, own), kept(node, other)
    codes = {}
    for role in ("owner", "admin", "operator", "auditor", "billing"):
        for tenant in (None, "acme"):
            asked = {"name": f"{role}-{tenant}", "role": role, **({"tenant": tenant} if tenant else {})}
            token = httpx.post(f"{node.url}/api/v1/tokens", headers=AUTHORIZED, json=asked).json()["secret"]
            codes[role, tenant] = bodies(node, own, token).status_code, bodies(node, other, token).status_code
            if tenant and role in ("owner", "admin", "auditor"):
                unknown = bodies(node, "call_" + "0" * 26, token).json()
                foreign = bodies(node, other, token).json()
                assert foreign["code"] == unknown["code"] == "not_found"
                gone = httpx.delete(f"{node.url}/api/v1/tenants/umbrella/bodies", headers={"authorization": f"Bearer {token}"})
                assert gone.status_code == (403 if role == "auditor" else 404)
    for role in ("owner", "admin", "auditor"):
        assert codes[role, None] == (200, 200) and codes[role, "acme"] == (200, 404)
    for role in ("operator", "billing"):
        assert codes[role, None] == codes[role, "acme"] == (403, 403)
    gone = httpx.delete(f"{node.url}/api/v1/tenants/acme/bodies", headers=AUTHORIZED)
    assert gone.status_code == 200 and gone.json()["deleted"] is True
    not_kept(node, own, "erased")
    assert kept(node, other) and len(files(node)) == 1
    again = call(node)
    assert kept(node, again), "a new key is made when it is needed"


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_kept_goes_with_its_tenant(start, sim, killed):
    node = start(acme={"log": "all"}, umbrella={"log": "all"})
    own, other = call(node), call(node, key=OTHER)
    kept(node, own), kept(node, other)
    rest = config(sim, acme={"log": "all"})
    for kind, name in (("tenants", "umbrella"), ("scopes", "lab")):
        rest[kind] = [entry for entry in rest[kind] if entry["name"] != name]
    rest["keys"] = [key for key in rest["keys"] if key["secret"] != OTHER]
    assert node.apply(rest, prune="true").status_code == 200
    if killed:
        node.kill()
        node.file.write_text(json.dumps(rest))
        node.start()
    wait_until(lambda: len(files(node)) == 1)
    assert bodies(node, other).status_code == 404 and kept(node, own)
    nothing_in_the_clear(node, CANARY)


def test_what_is_wrong_in_a_file_is_said(start):
    node = start()
    wrong = [
        ({"log": "some"}, "log"),
        ({"mask": ["email"]}, "log"),
        ({"log": "sampled"}, "sample"),
        ({"log": "all", "sample": "0.1"}, "sample"),
        ({"log": "all", "keep": "91d"}, "keep"),
        ({"log": "all", "keep": "7"}, "keep"),
        ({"log": "all", "mask": ["$$.a[1]"]}, "mask[0]"),
        ({"log": "all", "colour": "red"}, "colour"),
    ]
    for said, field in wrong:
        answer = node.apply({"tenants": [{"name": "acme", "request_log": said}]})
        assert answer.status_code == 400, said
        assert [problem["path"] for problem in answer.json()["problems"]] == [f"tenants[0].request_log.{field}"], answer.text
    right = {"log": "sampled", "sample": "0.25", "keep": "36h", "mask": ["iban", "$$.a[*]['b c']"], "bodies": "answer", "media": "keep"}
    assert node.apply({"tenants": [{"name": "acme", "request_log": right}], "request_log": {"log": "off"}}).status_code == 200
    exported = httpx.get(f"{node.url}/api/v1/export", headers={**AUTHORIZED, "accept": "application/json"}).json()
    acme = next(tenant for tenant in exported["tenants"] if tenant["name"] == "acme")
    assert acme["request_log"] == right and exported["request_log"] == {"log": "off"}
