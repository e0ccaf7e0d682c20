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
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/sdk"))
from books import Books  # noqa: E402
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
        for name, by in DIMENSIONS.items():
            told, rows = books.usage(by), []
            cursor = {}
            while cursor is not None:
                query = {"group_by": name.removesuffix("_id"), "from": "2026-01-01", "limit": 10_000, "at_least": f"0:{books.position}", **cursor}
                answer = httpx.get(f"{url}/api/v1/usage", params=query, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60)
                assert answer.status_code == 200, answer.text
                page = answer.json()
                rows += page["data"]
                cursor = {"cursor": page["next_cursor"]} if page["has_more"] else None
            assert seen(rows, name) == told, f"by {name} the projection says something else"
            print(f"usage by {name.removesuffix('_id')}: {len(rows)} rows are those of the fold")
    finally:
        node.kill()
        node.wait()


if __name__ == "__main__":
    main()
