"""kill -9: what a caller saw end is there after the restart, and every call that the provider saw is exactly one record."""

import asyncio
import subprocess
from decimal import Decimal

import httpx
from conftest import BINARY, Node
from test_budgets import CALLERS, KEY, books_close, callers, config, start  # noqa: F401 (a fixture)

KILLS = 50
LOAD = 24


def verify(node):
    return subprocess.run([BINARY, "verify", "--data", node.folder / "data"], capture_output=True, text=True, timeout=60)


async def call(client, node, output=4, stream=False):
    """The call's id if its caller saw the end; None if it did not."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 50, "stream": stream, "x_sim": {"output": output}}
    try:
        answer = await client.post(f"{node.url}/v1/chat/completions", json=body)
    except httpx.HTTPError:
        return None
    whole = answer.status_code == 200 and (not stream or answer.text.rstrip().endswith("data: [DONE]"))
    return answer.headers["x-request-id"] if whole else None


async def killed_in_the_middle(node, calls):
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(limits=limits, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        tasks = [asyncio.create_task(call(client, node)) for _ in range(calls)]
        while sum(task.done() for task in tasks) < 20:
            await asyncio.sleep(0.001)
        node.kill()
        return [seen for seen in await asyncio.gather(*tasks) if seen]


def test_a_hundred_requests_and_a_kill(sim, start):
    node = start("100 requests")
    seen = asyncio.run(killed_in_the_middle(node, CALLERS))
    node.start()
    records = books_close(node, sim)
    assert len(records) <= 100 and set(seen) <= {name for name, (kind, _) in records.items() if kind == "finished"}
    asyncio.run(callers(node, CALLERS, 10))
    assert len(books_close(node, sim)) == 100
    node.kill()
    answer = verify(node)
    assert answer.returncode == 0, answer.stdout + answer.stderr


async def load(node, seen, stop):
    limits = httpx.Limits(max_connections=LOAD)
    async with httpx.AsyncClient(limits=limits, headers={"authorization": f"Bearer {KEY}"}, timeout=30) as client:

        async def one(number):
            while not stop.is_set():
                found = await call(client, node, stream=number % 2 == 0)
                if found:
                    seen.add(found)
                else:
                    await asyncio.sleep(0.01)

        await asyncio.gather(*(one(number) for number in range(LOAD)))


def test_fifty_kills_under_load(sim, start):
    node = start("1000000 requests")
    seen = set()

    async def kills():
        stop = asyncio.Event()
        running = asyncio.create_task(load(node, seen, stop))
        for number in range(KILLS):
            # from the middle of a first group to more than a sync of the stores
            await asyncio.sleep(0.02 + 0.03 * (number % 10) + (1.1 if number % 10 == 9 else 0))
            await asyncio.to_thread(node.kill)
            if number % 10 == 4:
                answer = await asyncio.to_thread(verify, node)
                assert answer.returncode == 0, answer.stdout + answer.stderr
            await asyncio.to_thread(node.start)
        stop.set()
        await running

    asyncio.run(kills())
    records = books_close(node, sim)
    finished = {name for name, (kind, _) in records.items() if kind == "finished"}
    assert len(seen) > KILLS and seen <= finished, f"{len(seen - finished)} of {len(seen)} calls whose end was seen are not there"
    assert Decimal(node.budgets(KEY)[0]["settled"]) == sum(kind != "released" for kind, _ in records.values())
    node.kill()
    answer = verify(node)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_nearly_full_disk_admits_nothing_and_serves_the_rest(sim, tmp_path):
    sim.clear()
    node = Node(tmp_path, config(sim, "100 requests"), "--disk-low-mib", str(1 << 40), ready="/livez")
    try:
        answer = httpx.post(f"{node.url}/v1/chat/completions", headers={"authorization": f"Bearer {KEY}"}, json={"model": "m", "messages": [{"role": "user", "content": "x"}]})
        assert answer.status_code == 503 and "disk" in answer.json()["error"]["message"] and "retry-after" in answer.headers
        assert httpx.get(f"{node.url}/readyz").status_code == 503
        assert node.budgets(KEY)[0]["free"] == "100" and sim.stats()["calls"] == {}
    finally:
        node.stop()
