"""One byte flipped in each kind of stored file: `tollgate verify` names the file. Flips in what holds nothing change nothing that it tells."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BINARY, Node
from views import config, get, traffic

# of each file; what is preallocated is of zeros, and looked at less often
OFFSETS = 10


@pytest.fixture(scope="module")
def data(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("tampered"), config(sim))
    traffic(node, 60)
    for name in ("usage", "calls", "budgets", "audit", "providers"):
        get(node, f"projections/{name}", digest="true")
    node.process.terminate()
    node.process.wait()
    return node.folder / "data"


def verify(folder, *flags):
    done = subprocess.run([BINARY, "verify", "--data", folder, *flags], capture_output=True, text=True, timeout=120)
    assert "panicked" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def offsets(bytes):
    """Over what is written; the last byte that is not zero is its end."""
    end = len(bytes.rstrip(b"\0")) or len(bytes)
    return sorted({end * number // OFFSETS for number in range(OFFSETS)} | {end - 1})


def flipped(data, folder, file, at):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data, folder)
    with open(folder / file, "r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ 0x40]))


def figures(told):
    return re.search(r"whole: .*", told)


def test_it_is_whole(data):
    code, told = verify(data, "--deep")
    assert code == 0 and "note" not in told, told


def test_every_kind_of_file(data, tmp_path):
    whole = figures(verify(data)[1])[0]
    files = sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file() and path.stat().st_size and not path.name.startswith("spare"))  # a spare file of the log holds nothing
    kinds = {"VERSION", "master.key"} | {file.split("/")[0] + "/" for file in files if "/" in file}
    assert kinds == {"VERSION", "master.key", "log/", "state/", "history/", "projections/"}, files
    named = {}

    def one(file, at, number):
        folder = tmp_path / f"{number}"
        flipped(data, folder, file, at)
        code, told = verify(folder)
        shutil.rmtree(folder)
        name = file if "/" not in file else file.split("/")[0] + "/"
        is_named = code != 0 and (file in told or name in told) or re.search(rf"note: .*{name}", told) is not None
        if file.startswith("projections/"):
            assert code == 0, told  # it is built anew: no reason to restore
            is_named = file in told
        elif code == 0 and not re.search(rf"note: .*{name}", told):
            # it held nothing: all that is told is as it was
            assert figures(told)[0] == whole, (file, at, told)
            is_named = False
        return file, is_named

    places = [(file, at) for file in files for at in offsets((data / file).read_bytes())]
    with ThreadPoolExecutor(2) as pool:
        for file, is_named in pool.map(lambda item: one(*item[1], item[0]), enumerate(places)):
            named.setdefault(file, []).append(is_named)
    print({file: f"{sum(seen)} of {len(seen)}" for file, seen in named.items()})
    for file, seen in named.items():
        assert any(seen), f"{file}: no flip of {len(seen)} is named"
    assert all(named["VERSION"]) and all(named["master.key"])
    for file in files:
        if file.startswith("history/") and file.endswith(".seg"):
            assert sum(named[file]) >= len(named[file]) - 1, named[file]


def test_rows_of_another_history_are_named(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    shutil.copy(data / "projections/budgets.redb", tmp_path / "data/projections/usage.redb")
    code, told = verify(tmp_path / "data", "--deep")
    assert code == 0 and "projections/usage.redb" in told, told
