"""What stands in deploy/: dashboards and rules name only figures that the binary shows, and the files start what they say they start."""

import configparser
import copy
import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import httpx
import pytest
import yaml
from conftest import APP, BINARY, HELLO, ROOT, Node, base_config, free_port, wait_for, wait_until

DEPLOY = ROOT / "deploy"
BOARDS = {path.name: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))}
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
# where `make test` unpacks Debian's package, beside what is installed
UNPACKED = f"{os.environ['PATH']}:{ROOT / 'target/prometheus/usr/bin'}"
PROMTOOL, PROMETHEUS, SYSTEMD_ANALYZE = (shutil.which(name, path=UNPACKED) for name in ("promtool", "prometheus", "systemd-analyze"))
WITHOUT_PROMTOOL = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus has it)")


# What an expression uses.

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[a-zA-Z_:][\w:]*|\d[\w.]*|[=!]~|[!=<>]=|\S')
NAME = re.compile(r"[a-zA-Z_:][\w:]*")
GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
AGGREGATIONS = {"sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile", "stddev", "group"}
SCRAPED = {"job": None, "instance": None}  # Prometheus adds them; any value


class Expression:
    """The metrics of a PromQL expression with their matchers, and the labels it groups by."""

    def __init__(self, text):
        self.text, self.tokens = text, TOKEN.findall(text)
        self.metrics, groupings, at = [], [], 0
        while at < len(self.tokens):
            token, after = self.tokens[at], self.peek(at + 1)
            if token in GROUPINGS:
                end = self.close(at + 1)
                groupings.append((token, set(self.tokens[at + 2 : end]) - {","}, at, end))
                at = end
            elif NAME.fullmatch(token) and token not in WORDS and after != "(" and not (token in AGGREGATIONS and after in GROUPINGS):
                end = self.close(at + 1) if after == "{" else at
                self.metrics.append((token, self.matchers(at + 2, end), self.peek(end + 1).startswith("["), at))
                at = end
            at += 1
        self.grouped = [(labels, self.under(word, start, end)) for word, labels, start, end in groupings]
        by = [labels for word, labels, _, _ in groupings if word == "by"]
        self.aggregates = bool(AGGREGATIONS & set(self.tokens))
        self.by = set().union(*by) - ({"le"} if "histogram_quantile" in self.tokens else set())

    def peek(self, at):
        return self.tokens[at] if at < len(self.tokens) else ""

    def close(self, at):
        """Where the bracket that opens at `at` is closed."""
        assert self.peek(at) in ("(", "{"), f"no bracket after {self.tokens[at - 1]}: {self.text}"
        depth = 0
        for place in range(at, len(self.tokens)):
            depth += (self.tokens[place] in "({") - (self.tokens[place] in ")}")
            if depth == 0:
                return place
        raise AssertionError(f"a bracket stays open: {self.text}")

    def matchers(self, start, end):
        found = " ".join(self.tokens[start:end])
        return [(label, json.loads(value)) for label, value in re.findall(r'(\w+) (?:=~|!~|!=|=) ("(?:[^"\\]|\\.)*")', found)]

    def under(self, word, start, end):
        """The metrics to which a grouping applies: of the brackets after or before it; of all, if it matches two sides."""
        if word not in ("by", "without"):
            first, last = 0, len(self.tokens)
        elif self.peek(end + 1) == "(":
            first, last = end + 1, self.close(end + 1)
        else:
            last = start - 1
            first = max(place for place in range(last) if self.tokens[place] == "(" and self.close(place) == last)
        return [name for name, _, _, place in self.metrics if first < place < last]


class Shown:
    """What can be asked for: series of a scrape and recorded ones, each with its labels and their values."""

    def __init__(self, text):
        self.kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        self.series = {"up": {}}
        for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", text, re.M):
            place = self.series.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels):
                place.setdefault(label, set()).add(value)

    def kind(self, name):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return "counter" if self.kinds.get(base) == "histogram" else self.kinds.get(name, "gauge")

    def labels(self, name):
        return {**self.series.get(name, {}), **SCRAPED}

    def given(self, expression):
        """Labels of what an expression gives."""
        return expression.by if expression.aggregates else set().union(*(self.labels(name) for name, *_ in expression.metrics))

    def record(self, rule):
        self.series[rule["record"]] = {label: None for label in self.given(Expression(rule["expr"]))}

    def problems(self, text):
        """What is wrong with an expression; empty if nothing is."""
        expression, found = Expression(text), []
        for name, matchers, ranged, _ in expression.metrics:
            if name not in self.series:
                found.append(f"{name} is not shown")
                continue
            known = self.labels(name)
            if (self.kind(name) == "counter") != ranged:
                found.append(f"{name} is a {self.kind(name)}, {'not for a range' if ranged else 'so it needs one'}")
            for label, value in matchers:
                if label not in known:
                    found.append(f"{name} has no label {label}")
                elif known[label] is not None and not value.startswith("$"):
                    known_values = CODES if label == "code" else known[label]
                    found += [f'{name} has no {label}="{each}"' for each in value.split("|") if each not in known_values]
        for labels, metrics in expression.grouped:
            found += [f"{name} has no label {label}" for name in metrics for label in labels if name in self.series and label not in self.labels(name)]
        return found + ([] if expression.metrics else ["no metric"])


def panels(board):
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions(boards, rules):
    """Each with the place where it stands."""
    for file, board in boards.items():
        for panel in panels(board):
            for target in panel.get("targets", []):
                yield f"{file}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
                yield f"{file}: ${variable['name']}", f"group by ({label}) ({metric}{{}}{'[1m]' if metric.endswith('_total') else ''})"
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield f"rules.yml: {rule.get('record') or rule['alert']}", rule["expr"]


def source_strings():
    """What stands in quotes in the sources of the crates that refuse calls."""
    files = [path for crate in ("actors", "node/ingress", "events/src") for path in (ROOT / crate).rglob("*.rs")]
    return {word for path in files for word in re.findall(r'"([a-z_]+)"', path.read_text())}


CODES = source_strings()


@pytest.fixture(scope="module")
def busy(sim, tmp_path_factory):
    """A node on which everything has happened that makes a figure appear; its collector does not answer."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "20"}
    config = {**base_config(sim), "webhooks": [{"name": "pager", "url": "http://127.0.0.1:9/", "secret": "whsec_Zm9vYmFyYmF6"}]}
    node = Node(tmp_path_factory.mktemp("deploy"), config, env=env)
    try:
        use(node)
        wait_until(lambda: 'tollgate_spans_total{result="failed"}' in scrape(node) and "tollgate_webhook_lag_events" in scrape(node))
        yield node
    finally:
        node.stop()


def ask(node, key=APP, model="fast", **more):
    body = {"model": model, "max_tokens": 8, "messages": HELLO, **more}
    return httpx.post(f"{node.url}/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, json=body, timeout=20)


def use(node):
    """Calls that go well, stream, fall back, fail, and are refused by a budget, by a key and by a model's name."""
    assert ask(node).status_code == 200 and "[DONE]" in ask(node, stream=True).text
    assert ask(node, model="fallback").status_code == 200
    assert ask(node, x_sim={"status": 500}).status_code == 500 and ask(node, x_sim={"status": 401}).status_code == 502
    assert ask(node, key="sk-poor-00000001").json()["error"]["code"] == "budget_exceeded"
    assert ask(node, key="sk-wrong-00000000").status_code == 401 and ask(node, model="fsat").status_code == 404


def scrape(node):
    return httpx.get(f"{node.url}/metrics").text


@pytest.fixture(scope="module")
def shown(busy):
    shown = Shown(scrape(busy))
    for group in RULES["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                shown.record(rule)
    return shown


# Dashboards and rules.


def wrong(shown, boards=BOARDS, rules=RULES):
    return [f"{place}: {problem}" for place, text in expressions(boards, rules) for problem in shown.problems(text)]


def test_dashboards_and_rules_name_only_what_the_binary_shows(shown):
    assert set(BOARDS) == {"calls.json", "money.json", "node.json"} and len(list(expressions(BOARDS, RULES))) > 80
    assert wrong(shown) == []


def test_every_figure_of_the_binary_is_on_a_dashboard_or_in_a_rule(shown):
    used = {name for _, text in expressions(BOARDS, RULES) for name, *_ in Expression(text).metrics}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert set(shown.kinds) - used - bases == set()


@pytest.mark.parametrize(
    "change, problem",
    [
        (("tollgate_calls_total", "tollgate_call_total"), "tollgate_call_total is not shown"),
        (("tollgate_call_duration_seconds_bucket", "tollgate_call_duration_seconds"), "tollgate_call_duration_seconds is not shown"),
        (("by (outcome)", "by (tenant)"), "tollgate_calls_total has no label tenant"),
        (("{instance=~", '{tenant="acme", instance=~'), "tollgate_calls_total has no label tenant"),
        (('outcome=~"ok|failed|aborted"', 'outcome=~"ok|fialed"'), 'tollgate_calls_total has no outcome="fialed"'),
        (('code="record_pending"', 'code="record_late"'), 'tollgate_faults_total has no code="record_late"'),
        (("[$__rate_interval]", ""), "tollgate_calls_total is a counter, so it needs one"),
    ],
)
def test_the_check_finds_what_is_wrong(shown, change, problem):
    boards = copy.deepcopy(BOARDS)
    for board in boards.values():
        for panel in panels(board):
            for target in panel.get("targets", []):
                target["expr"] = target["expr"].replace(*change)
    assert any(line.endswith(f": {problem}") for line in wrong(shown, boards)), wrong(shown, boards)


def test_the_check_finds_what_is_wrong_in_rules(shown):
    rules = copy.deepcopy(RULES)
    rules["groups"][0]["rules"][0]["record"] = "instance_outcome:tollgate_calls:rate1m"  # an alert reads it by its old name
    rules["groups"][1]["rules"][0]["expr"] = 'tollgate_disk_size_bytes{job="tollgate"} < 1 or sum(tollgate_places) by (rack) > 1'
    fresh = copy.deepcopy(shown)
    fresh.series.pop("instance_outcome:tollgate_calls:rate5m")
    expected = {"tollgate_disk_size_bytes is not shown", "tollgate_places has no label rack", "instance_outcome:tollgate_calls:rate5m is not shown"}
    assert {line.split(": ")[-1] for line in wrong(fresh, {}, rules)} == expected


@pytest.mark.parametrize("file", BOARDS)
def test_a_dashboard_is_whole(file, shown):
    board = BOARDS[file]
    assert board["schemaVersion"] >= 41 and board["title"] and board["description"] and "id" not in board
    assert board["templating"]["list"][0] == {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__range"}
    taken = set()
    every = list(panels(board))
    assert len({panel["id"] for panel in every}) == len(every)
    for panel in every:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"] and panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= shown.given(Expression(target["expr"])), (panel["title"], legend)
            assert "[5m]" not in target["expr"] and 'instance=~"$instance"' in target["expr"]


def test_dashboards_have_ids_of_their_own():
    assert len({board["uid"] for board in BOARDS.values()}) == len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


def alerts():
    return [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]


def test_alerts_say_what_and_how_bad(shown):
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "description"} and all(rule["annotations"].values()), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info") and len(rule["labels"]) == 1, rule["alert"]
        told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        assert told <= shown.given(Expression(rule["expr"])), (rule["alert"], told)


# Prometheus' own tools.


def promtool(*arguments, **more):
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, **more)


@WITHOUT_PROMTOOL
def test_promtool_takes_rules_and_configuration():
    for arguments in (("check", "rules", DEPLOY / "prometheus/rules.yml"), ("check", "config", DEPLOY / "prometheus/prometheus.yml")):
        told = promtool(*arguments)
        assert told.returncode == 0 and "FAILED" not in told.stdout, told.stdout + told.stderr


@WITHOUT_PROMTOOL
def test_promtool_takes_our_figures(busy):
    told = promtool("check", "metrics", input=scrape(busy))
    assert told.returncode == 0 and not told.stdout + told.stderr, told.stdout + told.stderr


def node_series(name, values, **labels):
    inside = "".join(f',{label}="{value}"' for label, value in labels.items())
    return {"series": f'{name}{{job="tollgate",instance="a:4001"{inside}}}', "values": values}


FLAT, GROWS = "1x60", "0+60x60"  # one value a minute
OK = node_series("tollgate_calls_total", GROWS, endpoint="chat_completions", outcome="ok")
WELL = node_series("tollgate_attempts_total", GROWS, provider="p", result="ok")
SLOW = {bucket: "0x60" if bucket != "+Inf" else GROWS for bucket in ("0.05", "0.25", "1.0", "+Inf")}
# What makes each alert fire.
FIRES = {
    "TollgateDown": [node_series("up", "0x60")],
    "TollgateAdmitsNothing": [node_series("tollgate_refusals_total", GROWS, code="unavailable"), node_series("tollgate_calls_total", "5x60", endpoint="messages", outcome="ok")],
    "TollgateTurnsCallsAway": [OK, node_series("tollgate_refusals_total", GROWS, code="unavailable")],
    "TollgateJournalFaults": [node_series("tollgate_journal_append_faults_total", GROWS)],
    "TollgateJournalSlow": [node_series("tollgate_journal_append_seconds_bucket", values, le=le) for le, values in SLOW.items()],
    "TollgateRecordsPending": [node_series("tollgate_faults_total", GROWS, code="record_pending")],
    "TollgateInternalErrors": [node_series("tollgate_refusals_total", GROWS, code="internal_error")],
    "TollgatePlacesRunOut": [node_series("tollgate_places_in_use", "9000x60"), node_series("tollgate_places", "10000x60")],
    "TollgateOverheadHigh": [node_series("tollgate_overhead_seconds_bucket", values, le=le) for le, values in SLOW.items()],
    "TollgateRestarts": [node_series("tollgate_journal_append_seconds_count", "9 1 9 1 9 1 9 1 9x60")],
    "TollgateProjectionFailed": [node_series("tollgate_projection_up", "0x60", projection="usage")],
    "TollgateBooksDoNotClose": [node_series("tollgate_ledger_residual", "5x60")],
    "TollgateProjectionLags": [node_series("tollgate_projection_lag_events", "900000x60", projection="usage")],
    "TollgateDiskLow": [node_series("tollgate_disk_low", FLAT)],
    "TollgateFilesRunOut": [node_series("process_open_fds", "900x60"), node_series("process_max_fds", "1000x60")],
    "TollgateWebhookFails": [node_series("tollgate_webhook_deliveries_total", GROWS, webhook="pager", outcome="failed"), node_series("tollgate_webhook_lag_events", "9x60", webhook="pager")],
    "TollgateOrphans": [node_series("tollgate_calls_orphaned_total", GROWS)],
    "TollgateLinesDropped": [node_series("tollgate_lines_dropped_total", GROWS)],
    "TollgateSpansLost": [node_series("tollgate_spans_total", GROWS, result="failed")],
    "TollgateCallsFail": [OK, node_series("tollgate_calls_total", GROWS, endpoint="messages", outcome="failed")],
    "TollgateProviderFails": [WELL, node_series("tollgate_attempts_total", GROWS, provider="p", result="timed_out")],
    "TollgateProviderLimits": [WELL, node_series("tollgate_attempts_total", GROWS, provider="p", result="rate_limited")],
    "TollgateProviderRefusesUs": [node_series("tollgate_faults_total", GROWS, code="upstream_auth")],
    "TollgateBreakerOpen": [node_series("tollgate_breaker_open", FLAT, provider="p")],
    "TollgateHoldsWithoutCalls": [node_series("tollgate_calls_open", "3x60"), node_series("tollgate_calls_in_flight", FLAT)],
    "TollgateOverruns": [node_series("tollgate_calls_overrun_total", GROWS)],
    "TollgateUsageEstimated": [OK, node_series("tollgate_calls_estimated_total", GROWS)],
    "TollgateBudgetSpent": [node_series("tollgate_refusals_total", GROWS, code="budget_exceeded")],
    "TollgateModelUnpriced": [node_series("tollgate_refusals_total", GROWS, code="model_unpriced")],
    "TollgateUnknownKeys": [node_series("tollgate_refusals_total", "0+600x60", code="invalid_api_key")],
}
FAST = {bucket: GROWS for bucket in ("0.001", "0.05", "0.25", "+Inf")}
QUIET = [
    OK,
    WELL,
    node_series("up", FLAT),
    node_series("tollgate_calls_total", "0+1x60", endpoint="chat_completions", outcome="failed"),
    node_series("tollgate_attempts_total", "0+1x60", provider="p", result="server_error"),
    node_series("tollgate_breaker_open", "0x60", provider="p"),
    node_series("tollgate_disk_low", "0x60"),
    node_series("process_open_fds", "30x60"),
    node_series("process_max_fds", "1000x60"),
    node_series("tollgate_webhook_deliveries_total", GROWS, webhook="pager", outcome="delivered"),
    node_series("tollgate_webhook_deliveries_total", "1x60", webhook="pager", outcome="failed"),
    node_series("tollgate_webhook_lag_events", "0x60", webhook="pager"),
    node_series("tollgate_calls_orphaned_total", "3x60"),
    node_series("tollgate_calls_open", "3x60"),
    node_series("tollgate_calls_in_flight", "4x60"),
    node_series("tollgate_places_in_use", "4x60"),
    node_series("tollgate_places", "10000x60"),
    node_series("tollgate_projection_up", FLAT, projection="usage"),
    node_series("tollgate_projection_lag_events", "3x60", projection="usage"),
    node_series("tollgate_journal_append_seconds_count", GROWS),
    *(node_series(f"tollgate_{name}_total", "0x60") for name in ("calls_overrun", "calls_estimated", "lines_dropped", "journal_append_faults")),
    *(node_series(f"tollgate_{name}_seconds_bucket", values, le=le) for name in ("overhead", "journal_append") for le, values in FAST.items()),
]


@WITHOUT_PROMTOOL
def test_each_alert_fires_when_it_should_and_none_on_a_good_day(tmp_path):
    assert set(FIRES) == {rule["alert"] for rule in alerts()}
    shutil.copy(DEPLOY / "prometheus/rules.yml", tmp_path)

    def firing(series, selector, samples):
        # 45 minutes in, so that every `for` is over
        return {"interval": "1m", "input_series": series, "promql_expr_test": [{"expr": f'count(ALERTS{{alertstate="firing"{selector}}})', "eval_time": "45m", "exp_samples": samples}]}

    fires = [firing(series, f',alertname="{name}"', [{"labels": "{}", "value": 1}]) for name, series in FIRES.items()]
    cases = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [*fires, firing(QUIET, "", [])]}
    (tmp_path / "cases.yml").write_text(json.dumps(cases))
    told = promtool("test", "rules", "cases.yml", cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr


# Panels of what does not happen to the busy node: limits, and a journal that is not ready.
UNSEEN = {"money.json: By limits, models and prices", "money.json: Records", "node.json: Faults and calls turned away"}


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_a_real_prometheus_answers_every_expression(busy, tmp_path):
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{busy.port}"]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(DEPLOY / "prometheus/rules.yml", tmp_path)
    port = free_port()
    command = [PROMETHEUS, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def query(text):
        filled = text.replace("$__rate_interval", "1m").replace("$__range", "1m").replace('"$instance"', '".*"').replace('"$provider"', '".*"')
        answer = httpx.get(f"{url}/api/v1/query", params={"query": filled}).json()
        assert answer["status"] == "success", (text, answer)
        return answer["data"]["result"]

    try:
        wait_for(f"{url}/-/ready", process)
        assert wait_until(lambda: query("count_over_time(up[1m]) >= 2"))
        use(busy)
        wait_until(lambda: query('increase(tollgate_calls_total{outcome="ok"}[1m]) > 0'))
        wait_until(lambda: query("instance:tollgate_overhead_seconds:p95_5m > 0"))
        silent = [place for place, text in expressions(BOARDS, {"groups": []}) if "$" not in place.split(": ")[1] and not query(text)]
        assert set(silent) <= UNSEEN, silent
        groups = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
        told = [(rule["name"], rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]]
        assert len(told) == sum(len(group["rules"]) for group in RULES["groups"]) and {health for _, health, _ in told} == {"ok"}, told
        assert all(query(rule["record"]) for group in RULES["groups"] for rule in group["rules"] if "record" in rule)
    finally:
        process.kill()
        process.wait()


# What starts it.


def help_of(verb):
    return subprocess.run([BINARY, verb, "--help"], capture_output=True, text=True, check=True, timeout=20).stdout


def takes(command):
    """The flags of a command line, each known to its verb."""
    verb, *rest = command
    known = set(re.findall(r"(?:^|[ ,])(--?[a-z][a-z-]*)", help_of(verb), re.M))
    flags = [word.split("=")[0] for word in rest if word.startswith("-")]
    assert set(flags) <= known, set(flags) - known
    return flags


def longest_end():
    """Seconds from SIGTERM to the end, at worst."""
    limits = (ROOT / "events/src/limits.rs").read_text()
    named = (re.search(rf"const {name}: Duration = Duration::from_secs\((\d+)\)", limits) for name in ("DRAIN_WAIT", "RECORD_WAIT", "LAST_BYTES_WAIT"))
    return sum(int(found[1]) for found in named) + 1


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", str(text))[1])


def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string((DEPLOY / "tollgate.service").read_text())
    return parser


def test_the_unit_says_what_it_must():
    service = unit()["Service"]
    expected = {
        "DynamicUser": "yes", "StateDirectory": "tollgate", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "Restart": "on-failure", "CapabilityBoundingSet": "",
        "EnvironmentFile": "-/etc/tollgate/environment", "ExecStart": "/usr/local/bin/tollgate serve -f /etc/tollgate/tollgate.yaml --data /var/lib/tollgate",
    }
    assert {name: service.get(name) for name in expected} == expected
    assert takes(shlex.split(service["ExecStart"])[1:]) == ["-f", "--data"]
    calls = int(re.search(r"const CALLS_MAX: usize = ([\d_]+)", (ROOT / "events/src/limits.rs").read_text())[1].replace("_", ""))
    assert int(service["LimitNOFILE"]) > 2 * calls, "a call has two connections"
    assert seconds(service["TimeoutStopSec"]) > longest_end()
    assert unit()["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path):
    file = tmp_path / "tollgate.service"
    file.write_text((DEPLOY / "tollgate.service").read_text().replace("/usr/local/bin/tollgate", str(BINARY)))
    told = subprocess.run([SYSTEMD_ANALYZE, "verify", "--man=no", file], capture_output=True, text=True, timeout=60)
    assert told.returncode == 0 and "tollgate" not in told.stderr, told.stderr


def container_lines():
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Containerfile").read_text())
    return [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_built_from_what_there_is():
    lines = container_lines()
    stages = [re.fullmatch(r"(\S+)(?: AS (\S+))?", rest).groups() for word, rest in lines if word == "FROM"]
    assert len(stages) == 2 and stages[0][0].startswith("rust:") and "slim" in stages[0][0] and stages[1][0].startswith("debian:") and "slim" in stages[1][0]
    assert all("/" not in image for image, _ in stages), "short names only"
    copied, names = [], {name for _, name in stages}
    for word, rest in lines:
        if word == "COPY":
            *sources, _ = [part for part in rest.split() if not part.startswith("--")]
            if origin := re.search(r"--from=(\S+)", rest):
                assert origin[1] in names
            else:
                assert all((ROOT / source).exists() for source in sources), rest
                copied += sources
    manifest = (ROOT / "Cargo.toml").read_text()
    members = re.findall(r'"([^"]+)"', re.search(r"members = \[(.*?)\n\]", manifest, re.S)[1])
    for member in members:
        assert any(f"{member}/Cargo.toml" == source or f"{member}/".startswith(f"{source}/") for source in copied), f"{member} is not copied"
    targets = re.findall(r'path = "([^"]+)"', (ROOT / "tests/Cargo.toml").read_text())
    assert all(any(f"tests/{target}".startswith(f"{source}/") for source in copied) for target in targets)
    rust = tuple(int(part) for part in re.search(r"rust:(\d+)\.(\d+)", stages[0][0]).groups())
    assert rust >= tuple(int(part) for part in re.search(r'rust-version = "(\d+)\.(\d+)"', manifest).groups())


def test_the_image_runs_as_nobody_special():
    lines = container_lines()
    last = {word: rest for word, rest in lines}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"]) and last["VOLUME"] == "/data" and last["EXPOSE"] == "4000" and last["STOPSIGNAL"] == "SIGTERM"
    runs = " ".join(rest for word, rest in lines if word == "RUN")
    assert "cargo build --release --locked --bin tollgate" in runs and "ca-certificates" in runs and f"--owner {last['USER'].split(':')[0]}" in runs
    command = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    assert command[0] == "/usr/local/bin/tollgate" and takes(command[1:]) == ["--listen"]
    assert dict([last["ENV"].split("=")]) == {"TOLLGATE_DATA_DIR": "/data"} and "TOLLGATE_DATA_DIR" in help_of("serve")


def filled(text, variables):
    """A string of compose.yaml as compose hands it on."""

    def value(found):
        if found[0] == "$$":
            return "$"
        return variables.get(found[1]) or (found[3] if found[2] == ":-" else pytest.fail(f"{found[1]} is not given"))

    return re.sub(r"\$\$|\$\{(\w+)(:-|:\?)?([^}]*)\}", value, text)


ENV = {"TOLLGATE_ADMIN_TOKEN": "an-admin-token", "TOLLGATE_MASTER_KEY": "0f" * 32, "TOLLGATE_APP_KEY": "sk-compose-00000001", "GRAFANA_ADMIN_PASSWORD": "a-password"}


def test_compose_names_what_there_is():
    services = COMPOSE["services"]
    assert set(services) == {"tollgate", "provider-sim", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD" and service["restart"] == "unless-stopped", name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and other in services
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else None
            if source and source.startswith("."):
                assert (DEPLOY / source).exists() and volume.endswith(":ro"), volume
            else:
                assert source is None or source in COMPOSE["volumes"], volume
        for variable, text in service.get("environment", {}).items():
            assert filled(text, ENV), variable
        if "build" in service:
            assert (DEPLOY / service["build"]["context"]).resolve() == ROOT and (ROOT / service["build"]["dockerfile"]).exists()
            takes(service["command"])
        else:
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"]), "short names with a version"
    secrets = {name for service in services.values() for name, text in service.get("environment", {}).items() if ":?" in text}
    assert secrets == {"TOLLGATE_ADMIN_TOKEN", "TOLLGATE_MASTER_KEY", "TOLLGATE_APP_KEY", "GF_SECURITY_ADMIN_PASSWORD"}
    assert seconds(services["tollgate"]["stop_grace_period"]) > longest_end()


def test_compose_gives_variables_that_the_node_reads():
    said, content = help_of("serve").replace("TOLLGATE_MASTER_KEY[_FILE]", "TOLLGATE_MASTER_KEY"), COMPOSE["configs"]["tollgate"]["content"]
    for name in COMPOSE["services"]["tollgate"]["environment"]:
        assert re.search(rf"\b{name}\b", said) or f"$${{{name}}}" in content, name
    assert [place["source"] for place in COMPOSE["services"]["tollgate"]["configs"]] == list(COMPOSE["configs"])


def test_compose_and_prometheus_and_grafana_find_each_other():
    services = COMPOSE["services"]
    [target] = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in services and f"0.0.0.0:{port}" == services[host]["command"][services[host]["command"].index("--admin-listen") + 1]
    rule_files = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["rule_files"]
    assert all((DEPLOY / "prometheus" / file).exists() for file in rule_files)
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus" and source["url"].split("//")[1].split(":")[0] in services
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/tollgate.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert {f"./grafana/{name}": f"{folder}/{name}" for name in BOARDS}.items() <= mounted.items()
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in mounted.values()


def healthy(service, ports):
    """What a service's own check says, its ports being ours."""
    _, *command = [filled(word, {}) for word in COMPOSE["services"][service]["healthcheck"]["test"]]
    for inside, outside in ports.items():
        command[-1] = command[-1].replace(f"/{inside} ", f"/{outside} ")
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=10).returncode == 0


def test_what_compose_starts_starts(sim, tmp_path):
    """The node of compose.yaml with its own command, configuration and checks; only addresses and paths are this machine's."""
    service = COMPOSE["services"]["tollgate"]
    calls, admin = free_port(), free_port()
    (tmp_path / "config.yaml").write_text(filled(COMPOSE["configs"]["tollgate"]["content"], {}).replace("http://provider-sim:4010", sim.url))
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to("private")  # systemd's StateDirectory of a dynamic user is such a link, and there before the node
    ours = {"0.0.0.0:4000": f"127.0.0.1:{calls}", "0.0.0.0:4001": f"127.0.0.1:{admin}", "/etc/tollgate/tollgate.yaml": tmp_path / "config.yaml", "/data": tmp_path / "data"}
    env = {**os.environ, **{name: filled(text, ENV) for name, text in service["environment"].items()}}
    assert not healthy("tollgate", {4000: calls}) and healthy("provider-sim", {4010: sim.port})
    process = subprocess.Popen([BINARY, *(ours.get(word, word) for word in service["command"])], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{calls}/readyz", process)
        assert healthy("tollgate", {4000: calls})
        body = {"model": "sim", "messages": HELLO}
        answer = httpx.post(f"http://127.0.0.1:{calls}/v1/chat/completions", headers={"authorization": f"Bearer {ENV['TOLLGATE_APP_KEY']}"}, json=body)
        assert answer.status_code == 200 and answer.json()["choices"]
        assert httpx.get(f"http://127.0.0.1:{calls}/metrics").status_code == 404, "callers do not see it"
        assert "tollgate_build_info" in httpx.get(f"http://127.0.0.1:{admin}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0 and not healthy("tollgate", {4000: calls})
    finally:
        process.kill()
        process.wait()
