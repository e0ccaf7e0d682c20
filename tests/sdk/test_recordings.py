"""Recorded traffic of real providers through a running node: what comes out is what the provider sent, and the record says what was used."""

import functools
import json
import lzma
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
from conftest import APP, HELLO, ROOT, Node

RECORDINGS = ROOT / "../shared/recordings"
ROWS = RECORDINGS / "dev.jsonl.xz"
if not ROWS.exists():
    pytest.skip("skipped: ../shared/recordings/dev.jsonl.xz not present", allow_module_level=True)

DIALECTS = {
    "openai-chat": ("openai", "/v1/chat/completions", {"messages": HELLO}),
    "openai-completions": ("openai", "/v1/completions", {"prompt": "Hello!"}),
    "openai-responses": ("openai", "/v1/responses", {"input": "Hello!"}),
    "embeddings-openai": ("openai", "/v1/embeddings", {"input": "Hello!"}),
    "anthropic-messages": ("anthropic", "/v1/messages", {"messages": HELLO, "max_tokens": 1000}),
}
# every stream at one size, a few at each size from 1 on
SIZE_OF_ALL = 7
ROWS_AT_EACH_SIZE = 4


@functools.cache
def every_row():
    with lzma.open(ROWS) as lines:
        return [json.loads(line) for line in lines]


def rows():
    found = [row for row in every_row() if row["dialect"] in DIALECTS and row["provider"] == DIALECTS[row["dialect"]][0]]
    assert len(found) > 300
    return found


@dataclass
class Case:
    """One call: a row, and how the provider is to serve it."""

    row: dict
    options: dict = field(default_factory=dict)
    provider: str = ""
    status: int = 0
    headers: dict = None
    body: bytes = b""
    minimal: bool = False

    def settings(self, replay):
        options = "".join(f";{name}={value}" for name, value in self.options.items())
        dialect = DIALECTS[self.row["dialect"]][0]
        version = "/v1" if dialect == "openai" else ""
        return {"name": self.provider, "dialect": dialect, "base_url": f"{replay}/r/{self.row['id']}{options}{version}", "api_key": "sk-upstream"}

    def request(self):
        recorded = None if self.minimal else (self.row["request"] or {}).get("body")
        body = dict(recorded or DIALECTS[self.row["dialect"]][2])
        if not recorded and self.row["stream"]:
            body["stream"] = True
        return dict(body, model=f"{self.provider}/{body.get('model') or 'm'}")

    def call(self, client):
        answer = client.post(DIALECTS[self.row["dialect"]][1], json=self.request())
        if answer.status_code == 400 and "x-tollgate-provider" not in answer.headers and not self.minimal:
            # the node refuses what the provider refused: the provider's own words come by a request that is in order
            assert self.row["response"]["status"] == 400, (self.row["id"], answer.text)
            self.minimal = True
            return self.call(client)
        self.status, self.headers, self.body = answer.status_code, answer.headers, answer.content

    @property
    def recorded(self):
        return self.row["response"]["body_text"].encode()

    def wanted(self):
        """The recorded body, without the usage that the caller did not ask for."""
        asked = (self.request().get("stream_options") or {}).get("include_usage")
        if not self.row["stream"] or asked or self.row["dialect"] not in ("openai-chat", "openai-completions"):
            return self.recorded
        return b"".join(frame for frame in frames(self.recorded) if not is_usage_only(payload(frame)))


def frames(body):
    """The frames of a stream, each with the empty line that ends it."""
    text = body.replace(b"\r\n", b"\n")
    assert len(text) == len(body), "recorded streams end their lines by LF"
    parts = text.split(b"\n\n")
    return [part + b"\n\n" for part in parts[:-1]] + [part for part in parts[-1:] if part]


def payload(frame):
    data = b"\n".join(line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:"))
    try:
        return json.loads(data)
    except ValueError:
        return None  # `[DONE]`, or a comment


def is_usage_only(value):
    return bool(value) and value.get("choices") == [] and isinstance(value.get("usage"), dict)


def is_end(value):
    """The frame by which a dialect's stream ends."""
    if not value:
        return False
    finished = any(choice.get("finish_reason") for choice in value.get("choices") or [])
    stopped = value.get("type") in ("response.completed", "response.incomplete", "response.failed", "message_stop")
    return finished or stopped or is_usage_only(value) or bool((value.get("delta") or {}).get("stop_reason") if isinstance(value.get("delta"), dict) else None)


def stated(usage):
    """What a usage object states, in and out, from the cache and by reasoning; None if it states nothing."""
    usage = usage or {}
    inward = usage.get("prompt_tokens", usage.get("input_tokens"))
    if inward is None:
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    out_details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    outward = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    said = [inward + read + written, outward, read or details.get("cached_tokens") or 0, out_details.get("reasoning_tokens") or out_details.get("thinking_tokens") or 0]
    for step in usage.get("iterations") or []:
        if step.get("type") in ("compaction", "advisor_message"):  # billed beside the totals
            said = [sum(pair) for pair in zip(said, stated(step))]
    return said


def used(row):
    """What a recorded answer says it used; of a stream the last word counts, of Anthropic's for each field."""
    if not row["stream"]:
        value = json.loads(row["response"]["body_text"])
        return None if value.get("status") in ("queued", "in_progress") else stated(value.get("usage"))
    said = {}
    for value in filter(None, map(payload, frames(row["response"]["body_text"].encode()))):
        for usage in (value.get("usage"), (value.get("response") or {}).get("usage"), (value.get("message") or {}).get("usage")):
            if usage and row["dialect"] == "anthropic-messages":
                said = dict(said, **usage) if value["type"] != "message_start" else dict(usage)
            elif usage:
                said = usage
    return stated(said)


def booked(usage):
    inward = sum(usage.get(name, 0) for name in ("input", "cache_read", "cache_write", "cache_write_1h", "audio_input"))
    return [inward, sum(usage.get(name, 0) for name in ("output", "reasoning", "audio_output")), usage["cache_read"], usage["reasoning"]]


@dataclass
class World:
    whole: list
    pieces: list
    cut: list
    records: dict
    replay: str


def cuts(row):
    """Places before the end: in the first frame, in the middle, right before the frame that ends it."""
    at, end = 0, None
    for frame in frames(row["response"]["body_text"].encode()):
        if is_end(payload(frame)):
            end = at
            break
        at += len(frame)
    return sorted({7, end // 2, end - 1}) if end else []


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    replay = subprocess.Popen([sys.executable, RECORDINGS / "replay.py", "--port", "0"], stdout=subprocess.PIPE, text=True)
    node = None
    try:
        url = replay.stdout.readline().split()[2]
        every = rows()
        streams = [row for row in every if row["stream"]]
        short = defaultdict(list)
        for row in sorted(streams, key=lambda row: len(row["response"]["body_text"])):
            short[row["dialect"]].append(row)
        world = World(
            whole=[Case(row) for row in every],
            pieces=[Case(row, {"chunk": SIZE_OF_ALL}) for row in streams]
            + [Case(row, {"chunk": size}) for found in short.values() for row in found[:ROWS_AT_EACH_SIZE] for size in range(1, SIZE_OF_ALL)],
            cut=[Case(row, {"cut": at}) for row in streams for at in cuts(row)],
            records={},
            replay=url,
        )
        cases = world.whole + world.pieces + world.cut
        for number, case in enumerate(cases):
            case.provider = f"r{number}"
        node = Node(tmp_path_factory.mktemp("recordings"), config([case.settings(url) for case in cases]))
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        with httpx.Client(base_url=node.url, headers={"authorization": f"Bearer {APP}"}, timeout=30, limits=limits) as client:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda case: case.call(client), cases))
        world.records = node.records()
        yield world
    finally:
        if node:
            node.stop()
        replay.kill()
        replay.wait()


def config(providers):
    return {"providers": providers, "tenants": [{"name": "acme"}], "keys": [{"name": "app", "scope": "acme", "secret": APP}]}


def check(cases, problem):
    """`problem` says what is wrong with a case, or nothing; all that is wrong is shown at once."""
    found = [(case.row["id"], case.row["dialect"], case.options, wrong) for case in cases if (wrong := problem(case))]
    assert not found, f"{len(found)} of {len(cases)}: {found[:10]}"
    assert cases


def test_every_answer_passes_to_the_byte(world):
    def problem(case):
        status = case.row["response"]["status"]
        if status in (401, 403):  # the provider refuses the gateway's key, not the caller's
            return (case.status, json.loads(case.body)["error"]["code"]) != (502, "upstream_auth") and case.body
        if case.headers["content-type"] != case.row["response"]["headers"]["content-type"]:
            return case.headers["content-type"]
        return (case.status != status or case.body != case.wanted()) and (case.status, case.body[:200])

    check(world.whole, problem)


def test_every_record_says_what_was_used(world):
    def problem(case):
        kind, data = world.records[case.headers["x-request-id"]]
        if case.row["response"]["status"] != 200:
            return (kind, data["outcome"], data["cost"]) != ("finished", "failed", "0") and data
        wanted = used(case.row)
        if wanted is None:
            return not data["estimated"] and data["usage"]
        return (data["estimated"] or booked(data["usage"]) != wanted) and (wanted, data["usage"], data["estimated"])

    check(world.whole, problem)
    check(world.pieces, problem)


def test_streams_are_the_same_however_they_are_cut_into_pieces(world):
    check(world.pieces, lambda case: (case.status != 200 or case.body != case.wanted()) and (case.status, case.body[-200:]))


def test_requests_reach_the_provider_as_they_were(world):
    ours = {"$.stream_options", "$.stream_options.include_usage"}

    def problem(case):
        found = httpx.get(f"{world.replay}/compare/{case.row['id']}").json()
        kept = not found["missing"] and set(found["extra"]) <= ours and set(found["different"]) <= ours
        return not kept and found

    check([case for case in world.whole if (case.row["request"] or {}).get("body") and not case.minimal], problem)


def test_a_stream_that_is_cut_ends_in_an_error_and_a_record(world):
    def problem(case):
        kind, data = world.records[case.headers["x-request-id"]]
        if (kind, data["outcome"]) != ("finished", "failed"):
            return data
        anthropic = case.row["dialect"] == "anthropic-messages"
        if case.status == 502:  # nothing was shown yet
            value = json.loads(case.body)
            return (value["error"]["code"] != "upstream_broke_off" or (value.get("type") == "error") != anthropic) and value
        *passed, last = frames(case.body)
        last = last.lstrip(b"\n")  # a frame that was whole but for its empty line was given one
        value = payload(last)
        if case.status != 200 or not value or value.get("error", {}).get("code") != "upstream_broke_off":
            return case.status, last
        named = last.startswith(b"event: error\n") and value["type"] == "error"
        if named != (case.row["dialect"] in ("anthropic-messages", "openai-responses")):
            return last
        if any(is_end(payload(frame)) for frame in passed) or passed != frames(case.wanted())[: len(passed)]:
            return passed[-1:]
        return not data["estimated"] and data

    check(world.cut, problem)
