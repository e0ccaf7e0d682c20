"""Lines, spans and figures of the running binary, with a collector of our own."""

import gzip
import json
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import httpx
import openai
import pytest
from conftest import ADMIN, Node, base_config, free_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

KEY = "sk-app-0000000001"
PROMPT = "the-prompt-is-nobodys-business"
HELLO = [{"role": "user", "content": PROMPT}]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRETS = [KEY, "sk-upstream-secret", "sk-ant-upstream", "sk-wrong-00000000", ADMIN, PROMPT, "collector-secret"]


class Collector:
    """Takes spans over OTLP, HTTP and protobuf."""

    def __init__(self):
        self.requests, self.headers, self.status = [], [], 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.status == 200:
                    collector.headers.append({**self.headers, ":path": self.path})
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [span for request in list(self.requests) for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]

    def span(self, call):
        found = until(lambda: [span for span in self.spans() if attributes(span).get("tollgate.call.id") == call])
        assert len(found) == 1, f"{len(found)} spans of {call}"
        return found[0]


def value(any_value):
    kind = any_value.WhichOneof("value")
    return [value(item) for item in any_value.array_value.values] if kind == "array_value" else getattr(any_value, kind)


def attributes(span):
    return {pair.key: value(pair.value) for pair in span.attributes}


def until(look, wait=10):
    end = time.monotonic() + wait
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


class Watched(Node):
    """A node whose stderr is kept."""

    def start(self):
        self.stderr = open(self.folder / "stderr", "ab")
        super().start()

    def text(self):
        return (self.folder / "stderr").read_text()

    def lines(self, **wanted):
        lines = [json.loads(line) for line in self.text().splitlines()]
        return [line for line in lines if line["target"] == "tollgate::call" and all(line.get(name) == found for name, found in wanted.items())]

    def line(self, call):
        until(lambda: self.lines(call=call))
        time.sleep(0.05)
        found = self.lines(call=call)
        assert len(found) == 1, f"{len(found)} lines of {call}"
        return found[0]

    def figures(self):
        return figures(httpx.get(f"{self.url}/metrics").text)


@pytest.fixture(scope="module")
def collector():
    return Collector()


@pytest.fixture(scope="module")
def watched(sim, collector, tmp_path_factory):
    env = {
        "RUST_LOG": "info",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=collector-secret",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        "OTEL_SERVICE_NAME": "gateway-under-test",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    node = Watched(tmp_path_factory.mktemp("telemetry"), base_config(sim), env=env)
    yield node
    node.stop()


def gpt(node, key=KEY, **more):
    return openai.OpenAI(base_url=f"{node.url}/v1", api_key=key, max_retries=0, **more)


def chat(node, headers=None, **more):
    return gpt(node).chat.completions.with_raw_response.create(model="fast", messages=HELLO, max_tokens=20, extra_headers=headers, **more)


def upstream_headers(sim):
    return dict(sim.requests()["data"][0]["headers"])


def test_a_span_is_a_child_of_the_callers_and_the_parent_of_upstreams(watched, sim, collector):
    raw = chat(watched, {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"})
    usage = raw.parse().usage
    span = collector.span(raw.headers["x-request-id"])
    assert span.trace_id.hex() == TRACE and span.parent_span_id.hex() == PARENT and span.trace_state == "vendor=1"
    assert span.name == "chat fast" and span.kind == 3 and span.status.code == 0
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10e9 and abs(span.end_time_unix_nano / 1e9 - time.time()) < 60
    found = attributes(span)
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.system": "openai", "gen_ai.request.model": "fast", "gen_ai.response.model": "sim-fast",
        "gen_ai.request.max_tokens": 20, "gen_ai.usage.input_tokens": usage.prompt_tokens, "gen_ai.usage.output_tokens": usage.completion_tokens, "gen_ai.response.id": raw.parse().id,
        "gen_ai.response.finish_reasons": [raw.parse().choices[0].finish_reason], "server.address": "127.0.0.1", "server.port": sim.port, "http.response.status_code": 200,
        "tollgate.tenant": "acme", "tollgate.key": "app", "tollgate.provider": "sim", "tollgate.provider.model": "sim-fast", "tollgate.attempts": 1, "tollgate.outcome": "ok",
        "tollgate.stream": False, "tollgate.cost_usd": raw.headers["x-tollgate-cost-usd"],
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "error.type" not in found and found["gen_ai.usage.cost"] == float(raw.headers["x-tollgate-cost-usd"])
    sent = upstream_headers(sim)
    assert sent["traceparent"].startswith(f"00-{TRACE}-{span.span_id.hex()}-") and int(sent["traceparent"][-2:], 16) & 1 and sent["tracestate"] == "vendor=1"


def test_what_the_collector_is_told_of_us(watched, collector):
    chat(watched)
    until(lambda: collector.requests)
    resource = {pair.key: value(pair.value) for pair in collector.requests[-1].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "gateway-under-test" and resource["deployment.environment"] == "test" and resource["service.version"]
    headers = collector.headers[-1]
    assert headers[":path"] == "/v1/traces" and headers["x-collector-key"] == "collector-secret" and headers["content-type"] == "application/x-protobuf"


def test_without_a_parent_a_trace_begins_and_an_invalid_one_is_ignored(watched, sim, collector):
    for headers in (None, {"traceparent": f"00-{'0' * 32}-{PARENT}-01", "tracestate": "vendor=1"}, {"traceparent": "nonsense"}):
        span = collector.span(chat(watched, headers).headers["x-request-id"])
        assert span.parent_span_id == b"" and int(span.trace_id.hex(), 16) and span.trace_id.hex() != TRACE
        sent = upstream_headers(sim)
        assert sent["traceparent"].split("-")[1:3] == [span.trace_id.hex(), span.span_id.hex()] and "tracestate" not in sent


def test_a_caller_that_does_not_sample_gets_no_span(watched, sim, collector):
    unsampled = chat(watched, {"traceparent": f"00-{TRACE}-{PARENT}-00"}).headers["x-request-id"]
    assert upstream_headers(sim)["traceparent"].startswith(f"00-{TRACE}-") and upstream_headers(sim)["traceparent"].endswith("-00")
    collector.span(chat(watched).headers["x-request-id"])
    assert unsampled not in [attributes(span)["tollgate.call.id"] for span in collector.spans()]


def test_streams_and_the_other_dialect(watched, collector):
    client = anthropic.Anthropic(base_url=watched.url, api_key=KEY, max_retries=0)
    with client.messages.stream(model="claude", messages=HELLO, max_tokens=5) as stream:
        stream.until_done()
        call = stream.response.headers["request-id"]
    found = attributes(collector.span(call))
    assert found["gen_ai.provider.name"] == "anthropic" and found["gen_ai.usage.output_tokens"] == 5 and found["tollgate.stream"] is True
    assert found["gen_ai.response.model"] == "sim-claude" and found["gen_ai.response.finish_reasons"] and found["gen_ai.response.time_to_first_chunk"] > 0
    line = watched.line(call)
    assert line["dialect"] == "anthropic" and line["stream"] is True and line["output_tokens"] == 5 and "first_token_ms" in line and line["key"] == "app"


def test_a_call_has_one_line_with_the_records_figures(watched):
    raw = chat(watched)
    usage, line = raw.parse().usage, watched.line(raw.headers["x-request-id"])
    expected = {
        "level": "INFO", "tenant": "acme", "key": "app", "endpoint": "chat_completions", "dialect": "openai", "model": "fast", "provider": "sim", "provider_model": "sim-fast", "stream": False,
        "outcome": "ok", "status": 200, "attempts": 1, "input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens, "cost_usd": raw.headers["x-tollgate-cost-usd"], "estimated": False,
    }
    assert {name: line.get(name) for name in expected} == expected and "code" not in line
    assert line["duration_ms"] >= 0 and line["overhead_us"] > 0 and len(line["trace_id"]) == 32


def refusals(node):
    def raised(make):
        with pytest.raises(openai.APIStatusError) as caught:
            make()
        return caught.value

    def ask(key=KEY, model="fast", **more):
        return lambda: gpt(node, key).chat.completions.create(model=model, messages=HELLO, max_tokens=100, **more)

    yield raised(ask("sk-wrong-00000000")), "refused", "invalid_api_key", {"attempts": 0}
    yield raised(ask("sk-poor-00000001")), "refused", "budget_exceeded", {"tenant": "acme", "key": "poor", "model": "fast"}
    yield raised(ask(model="fsat")), "refused", "model_not_found", {"model": "fsat"}
    yield raised(ask(extra_body={"background": True, "messages": 7})), "refused", None, {"tenant": "acme"}
    yield raised(ask(extra_body={"x_sim": {"status": 401}})), "failed", "upstream_auth", {"status": 502, "provider": "sim"}
    yield raised(ask(extra_body={"x_sim": {"status": 400}})), "failed", "upstream_error", {"status": 400}
    yield raised(ask(model="dead/x")), None, None, {}


def test_what_does_not_end_well_is_told_too(watched, collector):
    for error, outcome, code, more in refusals(watched):
        call = error.response.headers["x-request-id"]
        line, span = watched.line(call), collector.span(call)
        found = attributes(span)
        assert line["status"] == error.status_code and line["code"] == found["error.type"] == span.status.message and span.status.code == 2
        assert outcome in (None, line["outcome"]) and code in (None, line["code"]), line
        assert {name: line.get(name) for name in more} == more


def test_a_stream_that_breaks_off(watched, collector):
    stream = gpt(watched).chat.completions.create(model="fast", messages=HELLO, max_tokens=50, stream=True, extra_body={"x_sim": {"cut": 8}})
    call = stream.response.headers["x-request-id"]
    with pytest.raises(openai.APIError):
        list(stream)
    line = watched.line(call)
    assert line["status"] == 200 and line["outcome"] == "failed" and line["code"] == "upstream_broke_off" and line["estimated"] is True
    assert attributes(collector.span(call))["error.type"] == "upstream_broke_off"


def test_a_providers_error_inside_of_a_stream(watched, collector):
    for frames in (1, 4):
        raw = gpt(watched).chat.completions.with_raw_response.create(model="fast", messages=HELLO, max_tokens=50, stream=True, extra_body={"x_sim": {"error_event": frames}})
        with pytest.raises(openai.APIError):
            list(raw.parse())
        line = watched.line(raw.headers["x-request-id"])
        assert line["outcome"] == "failed" and line["code"] == "upstream_error"
        assert attributes(collector.span(line["call"]))["error.type"] == "upstream_error"


def test_a_fallback_names_who_answered(watched, collector):
    raw = gpt(watched).chat.completions.with_raw_response.create(model="fallback", messages=HELLO, max_tokens=4)
    line = watched.line(raw.headers["x-request-id"])
    assert line["attempts"] == 2 and line["provider"] == "sim" and line["outcome"] == "ok"


def test_nothing_that_is_secret_is_said(watched, collector):
    chat(watched, {"cookie": "session=collector-secret"})
    time.sleep(0.5)
    said = watched.text() + "".join(str(request) for request in collector.requests) + httpx.get(f"{watched.url}/metrics").text
    assert [secret for secret in SECRETS if secret in said] == []


def figures(text):
    """Series by name and labels; the text must be Prometheus' own format."""
    found, series = {}, re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$')
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, number = series.match(line).groups()
            found[name, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")))] = float(number)
    return found


LABELS = {
    "tollgate_calls_total": {"endpoint", "outcome"}, "tollgate_attempts_total": {"provider", "result"}, "tollgate_tokens_total": {"class"}, "tollgate_refusals_total": {"code"},
    "tollgate_faults_total": {"code"}, "tollgate_breaker_open": {"provider"}, "tollgate_build_info": {"version"}, "tollgate_spans_total": {"result"},
    "tollgate_alerts_open": {"kind"}, "tollgate_alerts_raised_total": {"kind"}, "tollgate_webhook_deliveries_total": {"webhook", "outcome"}, "tollgate_webhook_lag_events": {"webhook"},
    "tollgate_projection_lag_events": {"projection"}, "tollgate_projection_up": {"projection"},
    "tollgate_request_log_records_total": {"result"},
}
HISTOGRAMS = [
    "tollgate_call_duration_seconds", "tollgate_overhead_seconds", "tollgate_time_to_first_byte_seconds", "tollgate_time_to_first_token_seconds", "tollgate_journal_append_seconds",
    "tollgate_journal_entry_transactions",
]


def test_metrics_parse_and_their_labels_are_closed(watched):
    list(gpt(watched).chat.completions.create(model="fallback", messages=HELLO, max_tokens=4, stream=True))
    list(refusals(watched))
    found = watched.figures()
    for (name, labels), number in found.items():
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        allowed = {"le"} if base in HISTOGRAMS else LABELS.get(name, set())
        assert name.startswith(("tollgate_", "process_")) and number >= 0 and {label for label, _ in labels} <= allowed, (name, labels)
        assert name.endswith("_total") or not any(label in ("code", "class") for label, _ in labels)
    values = {label: {dict(labels)[label] for (_, labels) in found if label in dict(labels)} for label in ("endpoint", "outcome", "class", "result", "provider", "code")}
    assert values["endpoint"] == {"chat_completions", "completions", "responses", "embeddings", "messages", "count_tokens"}
    assert values["outcome"] == {"ok", "failed", "aborted", "released", "refused"} and values["provider"] <= {"sim", "claude-sim", "dead"}
    for name in HISTOGRAMS:
        assert found[f"{name}_count", ()] > 0 and (f"{name}_bucket", (("le", "+Inf"),)) in found, name
    assert found["tollgate_refusals_total", (("code", "budget_exceeded"),)] > 0
    assert found["tollgate_attempts_total", (("provider", "dead"), ("result", "not_sent"))] > 0
    assert found["tollgate_places", ()] > found["tollgate_places_in_use", ()] >= 0


def test_figures_say_what_the_records_say(watched):
    before = watched.figures()
    raw = chat(watched)
    usage = raw.parse().usage
    watched.line(raw.headers["x-request-id"])
    after = watched.figures()

    def grown(name, **labels):
        place = (name, tuple(sorted(labels.items())))
        return after.get(place, 0) - before.get(place, 0)

    assert grown("tollgate_calls_total", endpoint="chat_completions", outcome="ok") == 1 and grown("tollgate_call_duration_seconds_count") == 1
    assert grown("tollgate_tokens_total", **{"class": "input"}) == usage.prompt_tokens and grown("tollgate_tokens_total", **{"class": "output"}) == usage.completion_tokens
    assert grown("tollgate_attempts_total", provider="sim", result="ok") == 1
    assert grown("tollgate_cost_nano_usd_total") == round(float(raw.headers["x-tollgate-cost-usd"]) * 1e9)
    assert after["tollgate_calls_open", ()] == 0


def test_an_open_breaker_is_shown(sim, tmp_path):
    node = Watched(tmp_path, base_config(sim), "--reactors", "1")
    try:
        for _ in range(8):
            with pytest.raises(openai.APIStatusError):
                gpt(node).chat.completions.create(model="fast", messages=HELLO, max_tokens=4, extra_body={"x_sim": {"status": 500}})
        assert node.figures()["tollgate_breaker_open", (("provider", "sim"),)] == 1
        assert node.text().count("tollgate::call") == 0, "filtered by RUST_LOG=warn"
    finally:
        node.stop()


def test_calls_go_on_when_the_collector_is_dead(sim, tmp_path):
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_BSP_MAX_QUEUE_SIZE": "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    node = Watched(tmp_path, base_config(sim), env=env)
    try:
        slowest = 0
        for _ in range(60):
            start = time.monotonic()
            assert chat(node).http_response.status_code == 200
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 1
        assert until(lambda: node.figures().get(("tollgate_spans_total", (("result", "failed"),)), 0) > 0)
        assert node.figures()["tollgate_spans_total", (("result", "made"),)] == 60
        assert node.text().count("the collector does not take spans") == 1
        start = time.monotonic()
        node.process.terminate()
        assert node.process.wait(timeout=10) == 0 and time.monotonic() - start < 8
    finally:
        node.stop()


def test_calls_go_on_when_nobody_reads_the_lines(sim, tmp_path):
    class Unread(Node):
        stderr = subprocess.PIPE

    node = Unread(tmp_path, base_config(sim), env={"RUST_LOG": "info"})
    try:
        for _ in range(250):  # a pipe holds the lines of a hundred
            start = time.monotonic()
            assert chat(node).http_response.status_code == 200 and time.monotonic() - start < 1
        assert figures(httpx.get(f"{node.url}/metrics").text)["tollgate_lines_dropped_total", ()] == 0
        node.process.terminate()
        assert node.process.wait(timeout=10) == 0
    finally:
        node.stop()


def test_what_is_left_is_sent_at_the_end(sim, collector, tmp_path):
    node = Watched(tmp_path, base_config(sim), env={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/own/path", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_BSP_SCHEDULE_DELAY": "60000", "RUST_LOG": "info"})
    try:
        call = chat(node).headers["x-request-id"]
        node.process.terminate()
        assert node.process.wait(timeout=10) == 0
        collector.span(call)
        assert collector.headers[-1][":path"] == "/own/path" and collector.headers[-1]["content-encoding"] == "gzip" and len(node.lines(call=call)) == 1
    finally:
        node.stop()


def test_a_sampler_is_named_by_the_environment(sim, collector, tmp_path):
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    node = Watched(tmp_path, base_config(sim), env=env)
    try:
        unsampled = chat(node).headers["x-request-id"]
        assert upstream_headers(sim)["traceparent"][-2:] in ("00", "02")
        collector.span(chat(node, {"traceparent": f"00-{TRACE}-{PARENT}-01"}).headers["x-request-id"])
        assert unsampled not in [attributes(span)["tollgate.call.id"] for span in collector.spans()]
    finally:
        node.stop()


def test_without_a_collector_the_callers_context_passes(node, sim):
    given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    chat(node, given)
    sent = upstream_headers(sim)
    assert {name: sent.get(name) for name in given} == given


def test_a_bad_endpoint_ends_the_start_with_a_clear_word(sim, tmp_path):
    with pytest.raises(AssertionError):
        Watched(tmp_path, base_config(sim), env={"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"})
    assert "collector" in (tmp_path / "stderr").read_text()
