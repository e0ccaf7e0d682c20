"""What README.md and deploy/docs say: every example runs, links lead somewhere, and the tables are those of the product.

A page is one shell session, from its first block to its last, beside a node and a simulator. The tags of blocks:

* `bash`, `sh`: run; exit code 0. `python`, `js`: run as a file of their own, with the same environment.
* `yaml`: taken by `tollgate apply --dry-run`. `yaml fragment`: only parsed.
* `json`: parsed. `json answer`: has the members of what the block before it printed, all of them and no others, and the same words.
* `text`: whatever cannot be run.

The session has BASE, KEY and MODEL (a call), TOLLGATE_URL and TOLLGATE_TOKEN (administration), FILE (the node's configuration), DATA (a copy
of the node's data from before it was started again), and `target/quickstart.json` as `make run` writes it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import config_reference
import httpx
import pytest
import yaml
from conftest import ADMIN, APP, BINARY, HELLO, PRICE, ROOT, Node, free_port, wait_until
from npm import install

DOCS = ROOT / "deploy/docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
WRITTEN = ["sdks", "budgets", "configuration", "administration", "audit", "operations", "upgrade"]

# Lines of examples that are not run, and why.
NOT_RUN = {
    "make run": "it serves until it is stopped; `make check` makes its first call (deploy/quickstart.py --once)",
    "make test": "it runs this test",
    "make bench": "it takes minutes and the whole machine; tests/bench has its own checks",
}
TAGS = {"bash", "sh", "python", "js", "yaml", "yaml fragment", "json", "json answer", "text"}
SPENT = "sk-spent-00000001"


# The blocks of a page.


class Block:
    def __init__(self, page, line, tag, text):
        self.page, self.line, self.tag, self.text = page, line, tag, text

    def __repr__(self):
        return f"{self.page.name}:{self.line}"


def blocks(page):
    found, begun, tag, text = [], 0, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("```"):
            text.append(line)
        elif begun:
            found.append(Block(page, begun, tag, "\n".join(text) + "\n"))
            begun = 0
        else:
            begun, tag, text = number, line[3:].strip(), []
    assert not begun, f"{page.name}:{begun}: the block has no end"
    return found


def left_out(line):
    """A line that stands in NOT_RUN; what stands before it are variables."""
    command = re.sub(r"^(\w+=\S+\s+)+", "", line.strip())
    return any(re.match(rf"{re.escape(known)}\b", command) for known in NOT_RUN)


def to_run(block):
    lines = [line for line in block.text.splitlines() if not left_out(line)]
    assert not [line for line in lines if line.strip().startswith("make ")], f"{block}: not in NOT_RUN"
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        if block.tag == "":
            assert all(left_out(line) for line in block.text.splitlines() if line.strip()), f"{block}: no tag"
        else:
            assert block.tag in TAGS, f"{block}: {block.tag}"
        if block.tag.startswith("json"):
            json.loads(block.text)
        if block.tag.startswith("yaml"):
            assert isinstance(yaml.safe_load(block.text), dict), block
        if block.tag == "json answer":
            ran = [before for before in blocks(page) if before.line < block.line and before.tag != "text"]
            assert ran and ran[-1].tag in ("bash", "sh"), f"{block}: no command before it"


# What they run beside.


def config(sim):
    return {
        "providers": [
            {"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "api_key": "sk-upstream-secret", "headers": {"x-call": "{call_id}"}},
            {"name": "claude-sim", "dialect": "anthropic", "base_url": sim.url, "api_key": "sk-ant-upstream"},
            {"name": "dead", "dialect": "openai", "base_url": "http://127.0.0.1:9/v1"},
        ],
        "models": [
            {"name": "fast", "targets": [{"provider": "sim", "model": "sim-fast"}], "price": PRICE, "max_output_tokens": 4096, "context_tokens": 128000},
            {"name": "claude", "targets": [{"provider": "claude-sim", "model": "sim-claude"}], "price": PRICE, "max_output_tokens": 4096, "context_tokens": 200000},
            {"name": "spare", "targets": [{"provider": "dead", "model": "x"}, {"provider": "sim", "model": "sim-fast"}], "price": PRICE, "max_output_tokens": 4096},
        ],
        "tenants": [{"name": "acme", "budgets": [{"limit": "500 USD", "every": "month"}]}],
        "scopes": [{"name": "search", "kind": "team", "parent": "acme", "budgets": [{"limit": "50 USD", "every": "day", "alert_at": ["0.8"]}]}],
        "keys": [
            {"name": "search-prod", "scope": "search", "secret": APP, "rpm_limit": 600},
            {"name": "spent", "scope": "search", "secret": SPENT, "budgets": [{"limit": "0.000001 USD", "every": "day"}]},
        ],
        "webhooks": [{"name": "pager", "url": "http://127.0.0.1:9/alerts", "secret": "whsec_Zm9vYmFyYmF6"}],
    }


def ask(node, key=APP, model="fast", **more):
    body = {"model": model, "max_tokens": 8, "messages": HELLO, **more}
    headers = {"authorization": f"Bearer {key}", "x-tollgate-tags": "app=search"}
    return httpx.post(f"{node.url}/v1/chat/completions", headers=headers, json=body, timeout=20)


def use(node):
    """Calls that go well, stream, fall back, fail, and are refused: every figure appears."""
    for model in ("fast", "claude", "spare"):
        assert ask(node, model=model).status_code == 200
    assert "[DONE]" in ask(node, stream=True).text and ask(node, x_sim={"status": 400}).status_code == 400
    assert ask(node, x_sim={"status": 401}).json()["error"]["code"] == "upstream_auth"
    assert ask(node, key=SPENT).json()["error"]["code"] == "budget_exceeded"


def scrape(node):
    return httpx.get(f"{node.url}/metrics").text


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "20"}
    node = Node(folder, config(sim), env=env)
    try:
        use(node)
        node.kill()
        shutil.copytree(folder / "data", folder / "copy")
        node.start()
        use(node)
        yield node
    finally:
        node.stop()


@pytest.fixture
def session(node, sim, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tollgate").symlink_to(BINARY.resolve())
    facts = {"base_url": node.url, "openai_base_url": f"{node.url}/v1", "api_key": APP, "model": "fast", "admin_url": node.url, "admin_token": ADMIN, "provider_sim_url": sim.url}
    (tmp_path / "target").mkdir()
    (tmp_path / "target/quickstart.json").write_text(json.dumps(facts))
    own = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TOLLGATE_URL": node.url, "TOLLGATE_TOKEN": ADMIN, "BASE": node.url, "KEY": APP, "MODEL": "fast",
        "FILE": str(node.file), "DATA": str(node.folder / "copy"), "OPENAI_API_KEY": "sk-an-example", "ANTHROPIC_API_KEY": "sk-ant-an-example",
    }
    return tmp_path, {**os.environ, **own}


def script(page, folder):
    """All blocks of a page in one session; what each prints goes to a file of its own."""
    lines, scripts = ["set -euo pipefail"], []
    for block in blocks(page):
        name, output = f"block-{block.line}", f"{folder}/out-{block.line}"
        command = None
        if block.tag in ("bash", "sh"):
            command = to_run(block)
        elif block.tag == "python":
            (folder / f"{name}.py").write_text(block.text)
            command = f"{sys.executable} {folder}/{name}.py\n"
        elif block.tag == "js":
            # a script finds its packages from where it lies
            scripts.append(install() / f"docs-{os.getpid()}-{page.stem}-{block.line}.mjs")
            scripts[-1].write_text(block.text)
            command = f"node {scripts[-1]}\n"
        elif block.tag == "yaml":
            (folder / f"{name}.yaml").write_text(block.text)
            command = f"tollgate apply --dry-run -f {folder}/{name}.yaml\n"
        if command and command.strip():
            lines += [f"echo {block.line} >{folder}/at", "{", command.rstrip("\n"), f"}} >{output}"]
    return "\n".join(lines) + "\n", scripts


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_example_runs(page, session):
    folder, env = session
    text, scripts = script(page, folder)
    (folder / "session.sh").write_text(text)
    try:
        done = subprocess.run(["bash", folder / "session.sh"], cwd=folder, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    finally:
        for file in scripts:
            file.unlink()
    if done.returncode:
        line = (folder / "at").read_text().strip()
        pytest.fail(f"{page.name}:{line}: exit code {done.returncode}\n{(folder / f'out-{line}').read_text()}\n{done.stderr}")
    last = None
    for block in blocks(page):
        if block.tag == "json answer":
            printed = (folder / f"out-{last.line}").read_text()
            assert differences(json.loads(block.text), answer(printed), "") == [], f"{block} and what {last} printed"
        elif block.tag in ("bash", "sh"):
            last = block


def answer(printed):
    """The JSON that was printed, behind lines of other commands."""
    return json.loads(printed[printed.index("{") :])


# Members whose value is as much a part of the form as their name.
WORDS = {"object", "code", "type", "failed", "unit", "every", "level", "kind", "op", "status"}


def sort(value):
    return float if type(value) is int else type(value)


def differences(said, real, path):
    """Members that one has and the other has not, values of other kinds, and other words."""
    if isinstance(said, dict) and isinstance(real, dict):
        found = [f"{path}/{name} is only {'said' if name in said else 'real'}" for name in sorted(set(said) ^ set(real))]
        return found + [each for name in sorted(set(said) & set(real)) for each in differences(said[name], real[name], f"{path}/{name}")]
    if isinstance(said, list) and isinstance(real, list):
        if said and not real:
            return [f"{path} is empty"]
        return differences(said[0], real[0], f"{path}/0") if said else []
    alike = said is None or real is None or sort(said) is sort(real)
    alike = alike and not (isinstance(said, str) and real not in (None, said) and path.rpartition("/")[2] in WORDS)
    return [] if alike else [f"{path} is {json.dumps(real)}"]


def test_differences_are_found():
    assert differences({"a": 1, "b": [{"c": "x"}]}, {"a": 2, "b": [{"c": "y"}, {}]}, "") == []
    assert differences({"a": None, "b": []}, {"a": {"x": 1}, "b": [1]}, "") == []
    assert differences({"a": 1, "b": [{"c": "x"}]}, {"b": [{"c": 1, "d": 1}], "e": 1}, "") == ["/a is only said", "/e is only real", "/b/0/d is only real", "/b/0/c is 1"]
    assert differences([1], [], "/a") == ["/a is empty"] and differences({"code": "a"}, {"code": "b"}, "") == ['/code is "b"']


# Links.


def anchors(page):
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere():
    count = 0
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}"
            count += 1
    assert count > 20


def test_pages_are_there_and_lead_to_each_other():
    said = "".join(page.read_text() for page in PAGES)
    for name in WRITTEN:
        assert (DOCS / f"{name}.md").exists() and f"{name}.md" in said


def test_pages_name_no_machine():
    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", text), page.name
        assert max(map(len, text.splitlines())) < 1000, page.name


# The generated page.


def test_the_reference_is_what_the_schema_says():
    if os.environ.get("UPDATE_PAGES"):
        config_reference.PAGE.write_text(config_reference.page())
    assert config_reference.PAGE.read_text() == config_reference.page(), "UPDATE_PAGES=1 writes it anew"


def test_the_reference_has_every_field_and_form():
    page = config_reference.page()
    for noun in config_reference.SCHEMA["$defs"].values():
        assert all(f"| `{name}` |" in page for name in noun.get("properties", {}))
    assert config_reference.patterns(config_reference.SCHEMA) <= set(config_reference.FORMS), "a new form has no word yet"
    for pattern, (word, examples) in config_reference.FORMS.items():
        for example in re.findall(r"`([^`]+)`", examples):
            assert re.fullmatch(pattern, example.strip('"')), f"{example} is no {word}"


# The tables of operations.md.

OPERATIONS = (DOCS / "operations.md").read_text()


def rows(heading):
    """Cells of the table below a heading."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", OPERATIONS, re.M | re.S)[1]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]
    assert cells and all(len(row) == len(cells[0]) and all(row) for row in cells), heading
    return cells


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_metrics_are_those_of_the_binary(node):
    wait_until(lambda: 'tollgate_spans_total{result="failed"}' in scrape(node))
    wait_until(lambda: "tollgate_webhook_lag_events" in scrape(node))
    text = scrape(node)
    told = {name: kind for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)}
    assert set(told) == set(re.findall(r"^# HELP (\S+) ", text, re.M))
    labels = {name: set() for name in told}
    for series, inside in re.findall(r"^([\w:]+)\{([^}]*)\} ", text, re.M):
        name = series if series in told else re.sub(r"_(bucket|sum|count)$", "", series)
        labels[name] |= set(re.findall(r'(\w+)="', inside)) - {"le"}
    said = {quoted(name)[0]: (kind, set(quoted(own))) for name, kind, own, _ in rows("Metrics")}
    assert said == {name: (kind, labels[name]) for name, kind in told.items()}


# How the sources write a code: in what makes an error, beside its status or its kind, as a member, or beside its words.
CODE = [
    r'(?:Fault::(?:new|policy|upstream)|Problem::new|because|bad_request)\(\s*(?:(?:\w+::)*StatusCode::([A-Z_]+))?[^;]*?"([a-z]+(?:_[a-z]+)*)"',
    r'\b(?:code|Code): ()"([a-z_]+)"',
    r'\(()"([a-z_]+)", ErrorKind::',
    r'\(StatusCode::([A-Z_]+), "([a-z_]+)"\)',
    r'=> \(()"([a-z_]+)", "',
]
STATUS = {"PAYLOAD_TOO_LARGE": 413}


def sources():
    """Of the crates that answer callers, without their tests."""
    for crate in ("actors", "node/ingress"):
        for path in sorted((ROOT / crate).rglob("*.rs")):
            if "tests" not in path.parts and not path.stem.endswith("tests"):
                yield re.split(r"#\[cfg\(test\)\]\s*mod tests \{", path.read_text())[0]


def codes():
    """Each code with the statuses that stand beside it."""
    found = {}
    for text in sources():
        for pattern in CODE:
            for status, code in re.findall(pattern, text):
                place = found.setdefault(code, set())
                if status:
                    place.add(STATUS.get(status) or HTTPStatus[status].value)
    return found


def test_codes_are_those_of_the_sources():
    real = codes()
    assert len(real) > 40
    said = {}
    for code, status, what, todo in rows("Error codes"):
        said[quoted(code)[0]] = {int(number) for number in re.findall(r"\d{3}", status)}
    assert set(said) == set(real)
    wrong = {code: (said[code], statuses) for code, statuses in real.items() if not statuses <= said[code]}
    assert wrong == {}


# Bounds between our own parts, which nobody meets from outside.
INTERNAL = {
    "GROUP_TRANSACTIONS_MAX", "GROUP_BYTES_MAX", "TRANSACTION_EVENTS_MAX", "TRANSACTION_BYTES_MAX", "ENTRY_BYTES_MAX", "FRAME_DECODE_MAX", "SCRIBE_QUEUE_MAX",
    "SESSIONS_REMEMBERED", "ORPHANS_A_CHUNK", "CLAIM_KEPT", "CLAIMS_MAX", "TRANSLATE_INLINE_BYTES_MAX", "HEAD_BYTES_READ_MAX", "HEADERS_READ_MAX", "HELD_BACK_BYTES_MAX",
    "ANSWER_QUEUE_MAX", "LAST_BYTES_WAIT", "LINGER", "SPANS_STOP_WAIT", "LINES_FLUSH_WAIT", "COLLECTOR_ANSWER_BYTES_MAX", "COLLECTOR_WARN_EVERY",
    "UPSTREAM_ID_BYTES_MAX", "LOSSES_RECORDED_MAX", "LANES_MAX", "CODE_LABELS_MAX", "WEBHOOK_ANSWER_BYTES_MAX",
    "BACKUP_RECORD_BYTES_MAX", "BACKUP_STEP_BYTES",
}


def constants():
    text = (ROOT / "events/src/limits.rs").read_text()
    return dict(re.findall(r"^pub const (\w+): [^=]+ = (.+);$", text, re.M))


def forms(name, value):
    """How people write a value."""
    number = re.sub(r"Duration::from_(secs|millis)\((.*)\)", r"\2", value).replace("_", "")
    number = eval(number, {"__builtins__": {}}, {})  # a product or a shift of our own sources
    if "from_millis" in value:
        return {f"{number} ms"}
    if "from_secs" in value:
        units = [(1, "s"), (60, "min"), (3600, "h"), (86400, "days")]
        return {f"{number // each} {unit}" for each, unit in units if number % each == 0}
    if "BYTES" in name or "DISK" in name:
        units = [(1, "bytes"), (1 << 10, "KiB"), (1 << 20, "MiB")]
        return {f"{number // each:,} {unit}" for each, unit in units if number % each == 0}
    if name == "MONEY_PICO_MAX":
        return {f"{number // 10**12:,} USD"}
    return {f"{number:,}"}


def test_limits_are_those_of_the_sources():
    real, said = constants(), {}
    for what, value, constant in rows("Limits"):
        name, text = quoted(constant)[0].split(" = ")
        assert real.get(name) == text, name
        assert value in forms(name, text), f"{name}: {forms(name, text)}"
        said[name] = what
    assert set(said) | INTERNAL == set(real) and not set(said) & INTERNAL
    assert all(said.values())


def test_alerts_are_those_of_the_rules():
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    real = {(rule["alert"], rule["labels"]["severity"]) for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    said = {(alert, severity) for severity, alerts in rows("Alerts") for alert in quoted(alerts)}
    assert said == real
