"""The command line against a running node, and offline against its data directory."""

import csv
import io
import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import yaml
from books import Books
from conftest import ADMIN, APP, BINARY, HELLO, ROOT, Node, free_port, wait_until
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


def rows_of(table):
    """A table's cells, by the names of its columns."""
    head, *lines = table.splitlines()
    starts = [match.start() for match in re.finditer(r"(?<!\S)\S(?:\S| (?! ))*", head)]
    names = [head[start:end].strip() for start, end in zip(starts, [*starts[1:], None])]
    return names, lines


@pytest.mark.parametrize("kind", ["tenants", "scopes", "keys", "providers", "models", "tokens", "budgets"])
def test_every_kind_is_got_in_every_form(node, kind, tmp_path):
    if kind == "tokens":
        run("token", "create", "reader", "--role", "auditor", node=node)
    rows = every(node, kind)
    assert rows
    names, lines = rows_of(run("get", kind, node=node).stdout)
    assert len(lines) == len(rows) and all(row["name"] in " ".join(lines) for row in rows)
    assert {"ID" if kind == "budgets" else "NAME", "TOKEN" if kind == "tokens" else "ID"} - set(names) <= {"NAME"}
    listed = json.loads(run("get", kind, "-o", "json", node=node).stdout)
    assert listed["object"] == "list" and [row["id"] for row in listed["data"]] == [row["id"] for row in rows] and listed["has_more"] is False
    short = {"tenants": "ten", "scopes": "sc", "keys": "k", "providers": "prov", "models": "mod", "tokens": "tok", "budgets": "bud"}[kind]
    assert run("get", short, node=node).stdout == run("get", kind[:-1], node=node).stdout
    text = run("get", kind, "-o", "yaml", node=node).stdout
    assert len(yaml.safe_load(text)[kind]) == len(rows)
    if kind not in ("tokens", "budgets"):
        (tmp_path / "got.yaml").write_text(text)
        assert run("apply", "-f", tmp_path / "got.yaml", "--dry-run", node=node).stdout == "nothing to change\n"
        one = json.loads(run("get", kind, rows[0]["id"], "-o", "json", node=node).stdout)
        assert one["id"] == rows[0]["id"] and one["spec"] == rows[0]["spec"]


def test_keys_show_what_they_spent_this_month(node):
    spent = {row["key_id"]: Decimal(row["cost"]["USD"]) for row in get(node, "usage", group_by="key")["data"]}
    names, lines = rows_of(run("get", "keys", node=node).stdout)
    assert names[-1] == "THIS MONTH USD"
    shown = {line.split()[1]: Decimal(line.split()[-1]) for line in lines}
    assert {key: figure for key, figure in shown.items() if figure} == {key: figure for key, figure in spent.items() if figure} != {}


def test_what_is_not_there_has_near_names(node):
    assert "there is no key `serch`; did you mean search?" in run("get", "keys", "serch", node=node, code=1).stderr
    assert "did you mean claude?" in run("describe", "model", "claud", node=node, code=1).stderr
    assert "`tollgate get budgets` lists all" in run("get", "budget", "zzzz", node=node, code=1).stderr
    assert "did you mean" in run("key", "rotate", "serch", node=node, code=1).stderr
    assert "say which" in run("get", "key", "app", node=node, code=1).stderr  # two tenants have one
    assert json.loads(run("get", "key", "umbrella/app", "-o", "json", node=node).stdout)["tenant"] == "umbrella"


def test_long_lists_are_got_whole(sim, tmp_path):
    config = {"tenants": [{"name": "acme"}], "keys": [{"name": f"k{n}", "scope": "acme", "secret": f"sk-long-{n:08}"} for n in range(2300)]}
    node = Node(tmp_path, config)
    try:
        assert len(run("get", "keys", node=node).stdout.splitlines()) == 2301
        assert len(yaml.safe_load(run("get", "keys", "-o", "yaml", node=node).stdout)["keys"]) == 2300
    finally:
        node.stop()


def test_one_thing_is_described(node):
    text = run("describe", "key", "search", node=node).stdout
    assert text.startswith("key search (key_") and "hangs on:   scope search < scope team < tenant acme" in text
    for part in ("status:", "spec\n  name: search", "budgets on its path", "used in the last 7 days", "last changes", "tollgate.key.created"):
        assert part in text, part
    known = json.loads(run("describe", "key", "search", "-o", "json", node=node).stdout)
    assert known["of"] == get(node, f"keys/{known['of']['id']}") and known["not_seen"] == []
    assert [budget["name"] for budget in known["budgets"]] == ["team", "acme"]
    assert sum(Decimal(row["cost"]["USD"]) for row in known["usage_7d"]) == Decimal(known["of"]["spend"]["USD"]) > 0
    for kind, part in (("tenant", "budgets on its path"), ("scope", "hangs on:"), ("provider", "tries of the last day"), ("model", "used in the last 7 days"), ("budget", "windows")):
        row = every(node, f"{kind}s")[0]
        assert part in run("describe", kind, row["id"] if kind == "budget" else row["name"], node=node).stdout, kind


def test_a_plan_says_what_changes_and_diff_ends_like_diff(node, sim, tmp_path):
    file = tmp_path / "same.yaml"
    file.write_text(json.dumps(config(sim)))
    assert run("diff", "-f", file, node=node).stdout == ""
    changed = config(sim)
    changed["keys"][0]["rpm_limit"] = 77
    changed["tenants"][0]["budgets"][0]["limit"] = "999 USD"
    changed["providers"][0]["api_key"] = "sk-quite-another"
    changed["keys"].append({"name": "fresh", "scope": "team", "models": ["fast"]})
    file.write_text(json.dumps(changed))
    told = run("diff", "-f", file, node=node, code=1).stdout
    assert "~ update key acme/app\n    rpm_limit: none → 77\n" in told
    assert "~ update budget tenant acme: USD a month\n    limit: 1000 USD → 999 USD\n" in told
    assert "api_key: (secret) → (another secret)" in told and "sk-quite-another" not in told
    assert "+ create key fresh\n    models: [\"fast\"]\n    scope: team\n    secret: (secret)\n" in told
    planned = run("apply", "-f", file, "--dry-run", node=node).stdout
    assert planned == told + "Plan: 1 to create, 3 to change, 0 to remove.\n"
    [budget] = [change for change in json.loads(run("diff", "-f", file, "-o", "json", node=node, code=1).stdout)["changes"] if change["kind"] == "budget"]
    assert budget["fields"] == [{"path": "limit", "before": "1000 USD", "after": "999 USD"}]
    assert run("diff", "-f", file, node=node, code=1).stdout == told, "nothing was done"
    (tmp_path / "wrong.yaml").write_text("keys: [{name: x}]")
    assert "keys[0]" in run("diff", "-f", tmp_path / "wrong.yaml", node=node, code=2).stderr
    run("diff", "-f", tmp_path / "nothing.yaml", node=node, code=2)
    run("diff", "--colour", node=node, code=2)


def test_what_goes_is_asked_for_on_a_terminal_only(sim, tmp_path):
    node = Node(tmp_path, config(sim))
    small = config(sim)
    small["keys"] = small["keys"][:1]
    (tmp_path / "small.yaml").write_text(json.dumps(small))
    try:
        command = ("apply", "-f", str(tmp_path / "small.yaml"), "--prune")
        said, code = at_a_terminal(*command, node=node, answer="no\n")
        assert "- revoke key narrow" in said and "Type yes to go on" in said and "nothing was changed" in said and code == 1
        assert "\x1b[31m- revoke" in said, "it is a terminal: in colour"
        assert "\x1b[31m" not in at_a_terminal(*command, node=node, answer="no\n", NO_COLOR="1")[0]
        assert len(every(node, "keys")) > 1
        assert at_a_terminal(*command, node=node, answer="yes\n")[1] == 0 and len(every(node, "keys")) == 1
        (tmp_path / "small.yaml").write_text(json.dumps({**small, "keys": []}))
        assert "- revoke key app" in run(*command, node=node).stdout and every(node, "keys") == []
    finally:
        node.stop()


def at_a_terminal(*arguments, node, answer="", **more):
    """What is shown on a terminal, and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url, "TERM": "xterm", **more})
        os.execv(BINARY, [str(BINARY), *map(str, arguments)])
    said, answered = "", not answer
    while select.select([terminal], [], [], 30)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side has ended
            break
        if not piece:
            break
        said += piece.decode()
        if not answered and "go on" in said:
            os.write(terminal, answer.encode())
            answered = True
    os.close(terminal)
    return said.replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_keys_are_made_turned_and_taken(node):
    done = run("key", "create", "cli", "--scope", "team", "--models", "fast,claude", "--budget", "50 USD/day", "--budget", "1000 requests", "--rpm", "60", "--tpm", "5000", node=node)
    secret = done.stdout.strip()
    assert secret.startswith("sk-tg-") and "\n" not in secret and secret not in done.stderr
    spec = get(node, "keys/cli")["spec"]
    assert spec["models"] == ["claude", "fast"] and (spec["rpm_limit"], spec["tpm_limit"]) == (60, 5000)
    assert spec["budgets"] == [{"limit": "50 USD", "every": "day"}, {"limit": "1000 requests", "every": "total"}]
    ask = lambda secret: httpx.get(f"{node.url}/v1/budget", headers={"authorization": f"Bearer {secret}"}).status_code  # noqa: E731
    assert ask(secret) == 200
    assert "there is a key `cli`" in run("key", "create", "cli", "--scope", "team", node=node, code=1).stderr
    fresh = run("--quiet", "key", "rotate", "cli", node=node)
    assert fresh.stderr == "" and ask(fresh.stdout.strip()) == 200 and ask(secret) == 401
    assert run("key", "block", "cli", node=node).stdout == "key cli is blocked\n" and ask(fresh.stdout.strip()) == 401
    assert run("key", "unblock", "cli", node=node).stdout == "key cli is let in again\n" and ask(fresh.stdout.strip()) == 200
    assert " cli " in run("key", "list", node=node).stdout.replace("\n", " ") and run("key", "list", node=node).stdout == run("get", "keys", node=node).stdout
    assert json.loads(run("key", "revoke", "cli", "-o", "json", node=node).stdout)["deleted"] is True
    assert "there is no key `cli`" in run("key", "revoke", "cli", node=node, code=1).stderr
    made = json.loads(run("key", "create", "cli", "--tenant", "umbrella", "-o", "json", node=node).stdout)
    assert (made["tenant"], made["spec"]["scope"]) == ("umbrella", "umbrella") and ask(made["secret"]) == 200
    run("key", "revoke", made["id"], node=node)
    assert "is no budget such as" in run("key", "create", "x", "--scope", "team", "--budget", "lots", node=node, code=1).stderr
    run("key", "create", "x", node=node, code=2)


def test_writes_bear_a_key_of_their_own_and_wait_for_a_node():
    """A listener that is there late, and tells what came."""
    port, came = free_port(), []

    def serve():
        time.sleep(0.4)
        with socket.create_server(("127.0.0.1", port)) as listener:
            for _ in range(2):
                with listener.accept()[0] as connection:
                    came.append(connection.recv(65536).decode())
                    body = json.dumps({"object": "key", "id": "key_1", "name": "k", "secret": "sk-x"})
                    connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    for arguments in (("rotate", "k", "--overlap", "24h"), ("rotate", "k")):
        assert run("key", *arguments, "--url", f"http://127.0.0.1:{port}").stdout == "sk-x\n"
    thread.join()
    keys = [re.search(r"idempotency-key: ([0-9a-f]{32})\r", text, re.I).group(1) for text in came]
    assert len(set(keys)) == 2
    assert came[0].endswith('{"overlap":"24h"}') and came[1].endswith("\r\n\r\n")


def test_one_line_says_what_is_wrong_and_what_to_do(node):
    def said(*arguments, **environment):
        done = subprocess.run([BINARY, *arguments], env={"PATH": os.environ["PATH"], "TOLLGATE_URL": node.url, **environment}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stdout == "", done
        return done.stderr

    assert "set TOLLGATE_TOKEN or give --token" in said("get", "keys")
    assert "401" in (refused := said("get", "keys", TOLLGATE_TOKEN="wrong")) and "a token that this node knows" in refused
    reader = json.loads(run("token", "create", "only-reads", "--role", "auditor", "-o", "json", node=node).stdout)["secret"]
    assert "`tollgate token create NAME --role ROLE`" in said("key", "create", "x", "--scope", "team", TOLLGATE_TOKEN=reader)
    own = json.loads(run("token", "create", "of-acme", "--role", "admin", "--tenant", "acme", "-o", "json", node=node).stdout)["secret"]
    assert "made without --tenant" in said("export", TOLLGATE_TOKEN=own)
    away = said("get", "keys", TOLLGATE_TOKEN="x", TOLLGATE_URL="http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in away and "`tollgate serve` starts one" in away


@pytest.mark.parametrize("verb", [("get", "models"), ("calls",), ("usage", "--by", "key"), ("proof",), ("export",), ("completion", "bash"), ("get", "keys", "-o", "json")])
def test_a_reader_that_goes_is_no_fault(node, verb):
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([BINARY, *verb], env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")  # as SIGPIPE would end it


def test_a_change_is_made_whether_or_not_anybody_reads_the_plan(node, tmp_path):
    file = tmp_path / "scope.yaml"
    file.write_text(yaml.safe_dump({"scopes": [{"name": "unread", "kind": "team", "parent": "acme"}]}))
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([BINARY, "apply", "-f", file], env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "") and get(node, "scopes/unread")["tenant"] == "acme"
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "get", "keys"], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "panicked" not in done.stderr, done.stderr


def test_json_for_scripts(node):
    for verb in (("get", "keys"), ("usage",), ("calls",), ("proof",), ("token", "list"), ("rebuild", "audit"), ("describe", "tenant", "acme")):
        assert json.loads(run(*verb, "-o", "json", node=node).stdout), verb
    call = every(node, "calls", status="ok")[0]["id"]
    assert json.loads(run("explain", call, "-o", "json", node=node).stdout) == json.loads(run("explain", call, "--json", node=node).stdout)


def test_what_takes_long_shows_how_far_it_is():
    """A node that builds a projection for two seconds."""

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            is_done = time.monotonic() > self.server.done
            self.answer({"status": "following" if is_done else "rebuilding", "rebuilds": int(is_done), "digest": {"at": "0:1", "sha256": "00"}})

        def do_POST(self):
            self.server.done = time.monotonic() + 2
            self.answer({})

        def answer(self, body):
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.done, server.url = float("inf"), f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            said, code = at_a_terminal("rebuild", "usage", node=server)
            assert code == 0 and "\r\x1b[Krebuild  1 s" in said and said.endswith("\r\x1b[Kusage is built anew; rows at 0:1: sha256 00\n")
            server.done = float("inf")
            assert at_a_terminal("--quiet", "rebuild", "usage", node=server) == ("usage is built anew; rows at 0:1: sha256 00\n", 0)
            server.done = float("inf")
            assert run("rebuild", "usage", node=server).stderr == "", "no terminal"
        finally:
            server.shutdown()


COMPLETED = {
    "bash": """source <(tollgate completion bash); COMP_WORDS=(tollgate de); COMP_CWORD=1; _tollgate tollgate de tollgate; echo "${COMPREPLY[@]}"
COMP_WORDS=(tollgate get key); COMP_CWORD=2; _tollgate tollgate key get; echo "${COMPREPLY[@]}" """,
    "zsh": "autoload -U compinit && compinit -u && source <(tollgate completion zsh) && whence -w _tollgate",
    "fish": "tollgate completion fish | source; complete -C 'tollgate des'",
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "elvish"])
def test_shells_complete_our_words(shell, tmp_path):
    script = run("completion", shell).stdout
    assert "describe" in script and "completion" in script
    if shell not in COMPLETED:
        return
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "tollgate").symlink_to(BINARY.resolve())
    done = subprocess.run([shell, "-c", COMPLETED[shell]], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stderr == "", done
    assert {"bash": "describe\nkeys", "zsh": "_tollgate: function", "fish": "describe"}[shell] in done.stdout, done.stdout


def test_help_tells_the_exit_codes():
    assert "Exit codes:" in run("--help").stdout and "--quiet" in run("get", "--help").stdout


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
        process.terminate()  # not SIGINT: who runs the tests in the background may have it ignored
        process.wait()
        reader.join()
    seen = [json.loads(line) for line in lines]
    assert {row["id"] for row in seen} == wanted and len(seen) == len(wanted)
    assert all(row["status"] != "open" for row in seen)


def test_a_call_that_is_long_on_its_way_is_followed_too(node):
    """It bears the time of its head, and is seen once its body is there: behind calls that came later."""
    body = json.dumps({"model": "fast", "max_tokens": 4, "messages": HELLO}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {APP}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}
    process = subprocess.Popen([BINARY, "calls", "--follow", "-o", "json"], env=environment, stdout=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    try:
        time.sleep(1.5)
        with socket.create_connection(("127.0.0.1", node.port)) as slow:
            slow.sendall(head.encode() + body[:10])
            time.sleep(0.5)
            before = {row["id"] for row in every(node, "calls")}
            traffic(node, 3)
            position = f"0:{node.last()}"
            others = {row["id"] for row in every(node, "calls", at_least=position)} - before
            time.sleep(2)
            slow.sendall(body[10:])
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
        [late] = {row["id"] for row in every(node, "calls", at_least=f"0:{node.last()}")} - before - others
        assert late < min(others)
        wait_until(lambda: any(late in line for line in lines), 30)
    finally:
        process.terminate()
        process.wait()
        reader.join()
    assert sum(late in line for line in lines) == 1


def test_a_rebuild_that_cannot_be_done_says_why(sim, tmp_path):
    node = Node(tmp_path, config(sim), "--disk-low-mib", str(1 << 40), ready="/livez")
    try:
        assert "usage: there is too little free disk" in run("rebuild", "usage", node=node, code=1).stderr
        told = get(node, "projections/usage")
        assert told["status"] == "following" and told["why"] == "there is too little free disk"
    finally:
        node.stop()


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
    made = config(sim)
    made["keys"].append({"name": "limited", "scope": "umbrella", "secret": "sk-limited-0001", "budgets": [{"limit": "1 USD", "every": "day"}]})
    node = Node(tmp_path_factory.mktemp("dead"), made)
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
    whole = json.loads(run("verify", "--data", dead.folder / "data", "-o", "json").stdout)
    assert (whole["whole"], str(whole["events"]), whole["books"]) == (True, events, books)
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
    # also that of a key: it is opened before the key is made
    assert sorted(event["data"]["owner"]["name"] for event in own if event["type"] == "tollgate.budget.opened.v1") == ["limited", "umbrella"]
    assert "events, up to" in replay(dead)
    assert replay(dead, "--json", "--until", "0:0")
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
