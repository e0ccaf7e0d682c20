"""A day of a million generated calls: what the projections say of it is what an independent fold of the replayed history says.

python tests/bench/day.py [--calls N] [--days N] [--keep FOLDER]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/sdk"))
from books import Books, assert_call_row, assert_changes, assert_health, assert_windows  # noqa: E402
from conftest import free_port, wait_for  # noqa: E402
from test_usage import DIMENSIONS, seen  # noqa: E402

TOKEN, MASTER = "day-admin-token", "5a" * 32


def run(*command, **more):
    return subprocess.run(command, cwd=ROOT, check=True, **more)


def replayed(binary, folder):
    """The events, one by one, as strangers read them."""
    process = subprocess.Popen([binary, "replay", "--data", folder, "--events"], stdout=subprocess.PIPE)
    for line in process.stdout:
        yield json.loads(line)
    assert process.wait() == 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--calls", type=int, default=1_000_000)
    arguments.add_argument("--days", type=int, default=1)
    arguments.add_argument("--keep", type=Path)
    arguments.add_argument("--made", action="store_true", help="the folder holds a day already")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        if not asked.made:
            run("cargo", "run", "--release", "--quiet", "-p", "tollgate-projections", "--example", "day", "--", folder, str(asked.calls), str(asked.days))
        run("cargo", "build", "--quiet", "--bin", "tollgate")
        compare(ROOT / "target/debug/tollgate", folder)


def compare(binary, folder):
    start = time.monotonic()
    books = Books(replayed(binary, folder))
    print(f"folded {books.position} events and {len(books.calls)} calls in Python in {time.monotonic() - start:.0f} s")
    port = free_port()
    environment = {**os.environ, "TOLLGATE_ADMIN_TOKEN": TOKEN, "TOLLGATE_MASTER_KEY": MASTER, "RUST_LOG": "warn"}
    node = subprocess.Popen([binary, "serve", "--data", folder, "--listen", f"127.0.0.1:{port}"], env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/readyz", node)
        with httpx.Client(base_url=f"{url}/api/v1/", headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            hold(books, lambda path, **query: every(client, path, query))
    finally:
        node.kill()
        node.wait()


def every(client, path, query):
    """All rows of a list, page by page."""
    cursor = {}
    while cursor is not None:
        answer = client.get(path, params={"limit": 10_000, **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield from page["data"]
        cursor = {"cursor": page["next_cursor"]} if page["has_more"] else None


def hold(books, every):
    """Each projection against the fold."""
    upto = {"at_least": f"0:{books.position}"}
    for name, by in DIMENSIONS.items():
        rows = list(every("usage", group_by=name.removesuffix("_id"), **{"from": "2026-01-01"}, **upto))
        assert seen(rows, name) == books.usage(by), f"by {name} the projection says something else"
        print(f"usage by {name.removesuffix('_id')}: {len(rows)} rows are those of the fold")
    start, count = time.monotonic(), 0
    for row, id in zip(every("calls", order="time", **{"from": "2026-01-01"}, **upto), sorted(books.calls), strict=True):
        assert row["id"] == id
        assert_call_row(row, books.calls[id])
        count += 1
    print(f"calls: {count} rows are those of the fold, read in {time.monotonic() - start:.0f} s")
    windows = [window for budget in books.budgets for window in every(f"budgets/{budget}/windows", **upto)]
    books.expire(datetime.now(UTC))  # the node's own start is an event of now
    assert_windows(books, windows)
    print(f"budgets: {len(windows)} windows of {len(books.budgets)} budgets are those of the fold")
    # the node's own start is behind what was replayed
    changes = list(every("audit", order="time", **{"from": "2026-01-01"}, **upto))[: len(books.changes)]
    assert_changes(books, changes)
    print(f"audit: {len(changes)} rows are those of the fold")
    health = list(every("providers/health", **{"from": "2026-01-01"}, **upto))
    assert_health(books, health)
    assert_quantiles(books, health)
    print(f"providers: {len(health)} rows are those of the fold, quantiles within 1/16")


def assert_quantiles(books, rows):
    """The median and its like are near those of all values in order: a bucket is as wide as a sixteenth of what it holds."""
    times = {}
    for call in books.calls.values():
        for one in call.attempts:
            if one["end"] == "ok":
                times.setdefault(one["provider"], []).append(one["first_byte_ms"])
    for row in rows:
        values, told = sorted(times[row["provider"]]), row["first_byte_ms"]
        assert told["count"] == len(values)
        for name, share in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}.items():
            exact = values[int(share * (len(values) - 1))]
            assert abs(told[name] - exact) <= exact / 16 + 1, (row["provider"], name, told[name], exact)


if __name__ == "__main__":
    main()
