"""`tollgate doctor`: each thing that can be wrong is made wrong, and is named with what to do."""

import json
import os
import pwd
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from conftest import ADMIN, BINARY, Node, base_config, free_port


@pytest.fixture
def node(sim, tmp_path):
    node = Node(tmp_path, {**base_config(sim), "providers": base_config(sim)["providers"][:2], "models": base_config(sim)["models"][:2]})
    yield node
    node.stop()


@pytest.fixture
def place(tmp_path):
    """Flags that let nothing be wrong but what a test makes so."""
    return ["--data", tmp_path / "nothing", "--listen", f"127.0.0.1:{free_port()}", "--offline"]


def doctor(*arguments, code, **more):
    """Lines by status: `what  — what to do`."""
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment = {**variables, **more.pop("env", {})}
    done = subprocess.run([BINARY, "doctor", *arguments], env=environment, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == code, done.stdout + done.stderr
    found = {"ok": [], "warn": [], "fail": []}
    for line in done.stdout.splitlines():
        status, what = re.fullmatch(r"(ok|warn|fail) +(.+)", line).groups()
        found[status].append(what)
        assert status == "ok" or "  — " in what, line
    return found


def has(lines, *parts):
    return any(all(part in line for part in parts) for line in lines)


def test_a_first_start_that_failed_on_its_master_key_is_no_start(sim, place, tmp_path):
    data, missing = tmp_path / "data", tmp_path / "missing.key"
    place = ["--data", data, *place[2:]]
    named = {"TOLLGATE_MASTER_KEY_FILE": str(missing)}
    assert has(doctor(*place, code=1, env=named)["fail"], "the master key", "missing.key")
    for wrong in (named, {"TOLLGATE_MASTER_KEY": "short"}):
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data", data]
        done = subprocess.run(command, env={**os.environ, **wrong}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and re.search(r"missing\.key|the master key in TOLLGATE_MASTER_KEY", done.stderr), done
    assert has(doctor(*place, code=0)["ok"], "a master key is made at the first start")
    node = Node(tmp_path, base_config(sim))
    node.stop()
    assert (data / "master.key").exists()


def test_all_is_well_where_nothing_is_wrong(place, node):
    new = doctor(*place, code=0)
    assert has(new["ok"], "is free") and has(new["ok"], "the first start makes it") and new["fail"] == []
    assert has(new["ok"] + new["warn"], "a sync takes") and has(new["ok"], "MiB of disk are free")
    running = doctor("--data", node.folder / "data", "--listen", f"127.0.0.1:{node.port}", "-f", node.file, code=0)
    assert has(running["ok"], "a node answers, version", "ready") and has(running["ok"], "is held by process", "(tollgate)")
    assert has(running["ok"], "provider sim answers") and has(running["ok"], "the clock agrees with") and has(running["ok"], "tollgate.yaml is right")
    assert has(running["ok"] + running["warn"], "a sync takes") and has(running["ok"] + running["warn"], "lies")
    asked = doctor("--data", node.folder / "data", "--listen", f"127.0.0.1:{node.port}", "--url", node.url, "--token", ADMIN, code=0)
    assert has(asked["ok"], "provider claude-sim answers"), "the node's own, without a file"
    node.kill()
    dead = doctor("--data", node.folder / "data", *place[2:], code=0)
    assert has(dead["ok"], "nobody holds it") and has(dead["ok"], "the master key opens all 2 secrets")
    before = {path: path.read_bytes() for path in sorted((node.folder / "data").rglob("*")) if path.is_file()}
    doctor("--data", node.folder / "data", *place[2:], code=0)
    assert before == {path: path.read_bytes() for path in sorted((node.folder / "data").rglob("*")) if path.is_file()}, "nothing was changed"


def test_as_json(place):
    done = subprocess.run([BINARY, "doctor", *place, "-o", "json"], capture_output=True, text=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["object"] == "list" and {tuple(sorted(check)) for check in answer["data"]} == {("object", "status", "todo", "what")}


def test_an_address_that_is_taken_or_not_ours(place):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: [listener.accept()[0].close() for _ in range(2)], daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert has(doctor(*place[:2], "--listen", address, "--offline", code=1)["fail"], address, "no node", "choose another address")
    assert has(doctor(*place[:2], "--listen", "192.0.2.7:4000", "--offline", code=1)["fail"], "192.0.2.7:4000", "an address of this machine")


def test_a_data_directory_of_another_kind_or_owner(place, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert has(doctor("--data", file, *place[2:], code=1)["fail"], "is no folder")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "VERSION").write_text("tollgate-data 999\ncluster 0\n")
    assert has(doctor("--data", strange, *place[2:], code=1)["fail"], "newer build")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert has(doctor("--data", open_to_all, *place[2:], code=0)["warn"], "others may write", "chmod go-w")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may be somebody else")
def test_a_data_directory_of_somebody_else(place):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        os.chmod(folder, 0o755)
        theirs, binary, nobody = Path(folder, "theirs"), Path(folder, "tollgate"), pwd.getpwnam("nobody")
        theirs.mkdir(mode=0o755)
        os.chown(theirs, 12345, 12345)
        assert has(doctor("--data", theirs, *place[2:], code=0)["warn"], "belongs to user 12345", "this is root")
        shutil.copy(BINARY, binary)
        done = subprocess.run([binary, "doctor", "--data", theirs, *place[2:]], user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True)
        assert done.returncode == 1 and re.search(r"fail +.* belongs to user 12345, this is user \d+  — run the node as user 12345", done.stdout), done
        assert re.search(r"fail +.* cannot be written", done.stdout)


def test_a_lock_that_no_node_here_holds(place, node):
    found = doctor("--data", node.folder / "data", *place[2:], code=0)
    assert has(found["warn"], f"is held by process {node.process.pid}", "two cannot hold one directory")


def test_a_disk_that_is_almost_full(place, tmp_path):
    (tmp_path / "data").mkdir()
    found = doctor("--data", tmp_path / "data", *place[2:], "--disk-low-mib", str(1 << 40), code=1)
    assert has(found["fail"], "a node admits nothing", "free some")


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no tmpfs")
def test_a_folder_in_memory(place):
    folder = f"/dev/shm/tollgate-doctor-{os.getpid()}"
    os.mkdir(folder)
    try:
        assert has(doctor("--data", folder, *place[2:], code=0)["warn"], "lies in memory (tmpfs)")
    finally:
        shutil.rmtree(folder)


def test_too_few_files(place):
    limit = lambda soft: lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))  # noqa: E731
    assert has(doctor(*place, code=1, preexec_fn=limit(100))["fail"], "100 files may be open", "LimitNOFILE=")
    assert has(doctor(*place, code=0, preexec_fn=limit(1024))["warn"], "1024 files may be open", "ulimit -n")


def test_a_master_key_that_is_open_wrong_or_lost(place, node):
    node.kill()
    data, key = node.folder / "data", node.folder / "data/master.key"
    flags = ("--data", data, *place[2:])
    right = key.read_text()
    key.chmod(0o644)
    assert has(doctor(*flags, code=1)["fail"], "others may read the master key", "chmod 600")
    key.chmod(0o600)
    key.write_text("0" * 64)
    assert has(doctor(*flags, code=1)["fail"], "the master key does not open the secret of provider", "put the right one back")
    assert has(doctor(*flags, code=0, env={"TOLLGATE_MASTER_KEY": right})["ok"], "opens all 2 secrets")
    key.write_text("short")
    assert has(doctor(*flags, code=1)["fail"], "is not 64 hexadecimal digits")
    key.unlink()
    assert has(doctor(*flags, code=1)["fail"], "the master key", "is not there")


def test_damaged_data(place, node):
    node.stop()
    for file in (node.folder / "data/state").iterdir():
        file.write_bytes(b"x" * 100)
    assert has(doctor("--data", node.folder / "data", *place[2:], code=1)["fail"], "the data cannot be opened", "tollgate verify")


def test_a_configuration_with_mistakes_and_missing_variables(place, tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("providers: [{name: p, dialect: openai, base_url: 'http://127.0.0.1:9/v1', api_key: '${DOCTOR_KEY}'}]\ntenants: [{name: t, colour: red}]")
    found = doctor(*place, "-f", file, code=1)
    assert has(found["fail"], "names the variable DOCTOR_KEY", "export DOCTOR_KEY=") and has(found["fail"], "tenants[0].colour")
    file.write_text("providers: [{name: p, dialect: openai, base_url: 'http://127.0.0.1:9/v1', api_key: '${DOCTOR_KEY}'}]")
    assert has(doctor(*place, "-f", file, code=0, env={"DOCTOR_KEY": "sk-doctor-key"})["ok"], "t.yaml is right")
    assert has(doctor(*place, "-f", tmp_path / "none.yaml", code=1)["fail"], "cannot be read")


def serve(answer, port):
    """Answers everybody with the same bytes."""
    listener = socket.create_server(("127.0.0.1", port))

    def loop():
        while True:
            try:
                with listener.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(answer)
            except OSError:
                return

    threading.Thread(target=loop, daemon=True).start()
    return listener


def providers(tmp_path, *urls):
    file = tmp_path / "providers.yaml"
    file.write_text(json.dumps({"providers": [{"name": f"p{at}", "dialect": "openai", "base_url": url} for at, url in enumerate(urls)]}))
    return file


def test_providers_that_cannot_be_reached(place, tmp_path):
    port = free_port()
    answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with serve(answer, port):
        file = providers(tmp_path, "http://127.0.0.1:9/v1", f"https://127.0.0.1:{port}/v1", f"http://127.0.0.1:{port}/v1", "http://nowhere.invalid/v1")
        found = doctor(*place[:-1], "-f", file, code=1)
    assert has(found["fail"], "provider p0 cannot be reached", "check base_url") and has(found["fail"], "provider p1", "SSL_CERT_FILE")
    assert has(found["warn"], "provider p2 answers", "503") and has(found["fail"], "provider p3", "DNS")


def test_a_key_is_not_shown_to_providers(place, tmp_path, sim):
    sim.clear()
    file = providers(tmp_path, f"{sim.url}/v1")
    file.write_text(file.read_text().replace('"dialect"', '"api_key": "sk-not-to-be-shown", "dialect"'))
    doctor(*place[:-1], "-f", file, code=0)
    assert sim.stats()["asked"] == 1 and "sk-not-to-be-shown" not in json.dumps(sim.requests(10))


def test_a_clock_that_is_wrong(place, tmp_path):
    for seconds, status, code in ((0, "ok", 0), (20, "warn", 0), (3600, "fail", 1)):
        port = free_port()
        date = formatdate(time() + seconds, usegmt=True)
        with serve(f"HTTP/1.1 401 Unauthorized\r\ndate: {date}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode(), port):
            found = doctor(*place[:-1], "-f", providers(tmp_path, f"http://127.0.0.1:{port}/v1"), code=code)
            assert has(found[status], "the clock"), (seconds, found)


def test_variables_of_proxies_and_trust(place):
    assert has(doctor(*place, code=1, env={"SSL_CERT_FILE": "/nowhere.pem"})["fail"], "/nowhere.pem", "correct the variable")
    assert has(doctor(*place, code=1, env={"HTTPS_PROXY": "ftp://x"})["fail"], "https_proxy".upper(), "correct the variable")
