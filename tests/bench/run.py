"""CPU, latency and memory a call, against a bare hyper proxy and one that buffers and parses once, in the same run.

The gateway is pinned to the first core, upstream and load to the second. CPU is read from schedstat. Rounds are interleaved; medians are
printed. Trust ratios, not absolute figures: machines are noisy."""

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "target/release"
OUT = ROOT / "target/bench"
KEY = "sk-bench-0000"
MODELS = ["mock-0ms", "mock-60ms", "mock-fast", "mock-paced"]
STAGES = {
    "c64": (["--conc", "64"], 5),
    "c256": (["--conc", "256"], 5),
    "big": (["--conc", "16", "--prompt-bytes", "100000"], 5),
    "paced": (["--stream", "--model", "mock-paced", "--rate", "25", "--conc", "64", "--drain", "10"], 8),
    "third": (["--drain", "5"], 5),  # an open loop at a third of what c64 came to: for latency
}
# Calls that are translated: each stage, and the stage of the pass-through lane that it is held against.
ACROSS = {
    "chat-messages": (["--conc", "64", "--model", "mock-across"], 5, "c64"),
    "messages-chat": (["--conc", "64", "--path", "/v1/messages"], 5, "c64"),
    "chat-messages-paced": (["--stream", "--model", "mock-across-paced", "--rate", "25", "--conc", "64", "--drain", "10"], 8, "paced"),
    "messages-chat-paced": (["--stream", "--path", "/v1/messages", "--model", "mock-paced", "--rate", "25", "--conc", "64", "--drain", "10"], 8, "paced"),
}
GATEWAYS = ["bare", "buffered", "tollgate-memory", "tollgate-raft"]


def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(core, command, **more):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], **more)


def config(mock):
    price = {"input_per_mtok": "0.15", "output_per_mtok": "0.60"}
    budget = {"limit": "1000000 USD", "every": "month"}
    bounds = {"price": price, "max_output_tokens": 4096, "context_tokens": 128000}
    across = {"mock-across": "mock-claude", "mock-across-paced": "mock-claude-paced"}
    return {
        "providers": [
            {"name": "mock", "dialect": "openai", "base_url": f"http://127.0.0.1:{mock}/v1", "api_key": "sk-provider"},
            {"name": "claude", "dialect": "anthropic", "base_url": f"http://127.0.0.1:{mock}", "api_key": "sk-provider"},
        ],
        "models": [{"name": name, "targets": [{"provider": "mock", "model": name}], **bounds} for name in MODELS]
        + [{"name": name, "targets": [{"provider": "claude", "model": model}], **bounds} for name, model in across.items()],
        "tenants": [{"name": "bench", "budgets": [budget], "rpm_limit": 100000000}],
        "scopes": [{"name": "team", "kind": "team", "parent": "bench", "budgets": [budget]}],
        "keys": [{"name": "bench", "scope": "team", "secret": KEY, "rpm_limit": 100000000}],
    }


def start(name, listen, mock, folder):
    if name in ("bare", "buffered"):
        return pinned(0, [BIN / "refproxy", "--mode", name, "--port", listen, "--upstream", f"127.0.0.1:{mock}"])
    file = Path(folder) / "tollgate.yaml"
    file.write_text(json.dumps(config(mock)))
    environment = dict(os.environ, RUST_LOG="error", TOLLGATE_ADMIN_TOKEN="bench-admin-token")
    command = [BIN / "tollgate", "serve", "-f", file, "--listen", f"127.0.0.1:{listen}", "--journal", name.split("-")[1], "--data", Path(folder) / "data"]
    return pinned(0, command, env=environment, stdout=subprocess.DEVNULL)


def cpu_ns(pid):
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def load(to, key, arguments, seconds):
    command = ["taskset", "-c", "1", BIN / "load", "--addr", f"127.0.0.1:{to}", "--secs", seconds, "--header", f"authorization: Bearer {key}", "--header", "accept-encoding: gzip", *arguments]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


def answers(to, key):
    for _ in range(100):
        try:
            result = load(to, key, ["--conc", "1", "--count", "1", "--drain", "1"], 1)
            if result.get("ok"):
                return
        except subprocess.CalledProcessError:
            pass
        time.sleep(0.1)
    raise SystemExit("the gateway does not answer")


def fdatasync_us(folder):
    """Median and p99 of the disk's own fdatasync behind a write of 4 KiB into a file that has its room already."""
    with open(Path(folder) / "probe", "wb", buffering=0) as file:
        file.write(bytes(16 << 20))
        os.fsync(file.fileno())
        took = []
        for turn in range(400):
            file.seek(turn * 4096)
            start = time.perf_counter_ns()
            file.write(os.urandom(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter_ns() - start) / 1000)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def one_stage(stage, gateway, to, key, mock, scale, rate):
    arguments, seconds = STAGES[stage] if stage in STAGES else ACROSS[stage][:2]
    if stage == "third":
        arguments = [*arguments, "--rate", f"{rate:.0f}"]
    seconds = max(1, seconds * scale)
    before = cpu_ns(gateway.pid)
    result = load(to, key, arguments, seconds)
    used = cpu_ns(gateway.pid) - before
    count = result.get("ok", 0) * (100 if "--stream" in arguments else 1)
    direct = load(mock, key, arguments, seconds) if stage == "third" else {}
    added = {f"added_{part}_us": result[f"{part}_us"] - direct[f"{part}_us"] for part in ("p50", "p99") if direct}
    return {"stage": stage, "cpu_us": used / 1000 / max(1, count), "rss_mib": rss_mib(gateway.pid), "load": result, **added}


def measure(name, mock, stages, scale):
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        to, disk = port(), fdatasync_us(folder)
        gateway = start(name, to, mock, folder)
        key = KEY if name.startswith("tollgate") else "sk-bench"
        try:
            answers(to, key)
            load(to, key, ["--conc", "32"], 2 * scale)
            rows, rate = [], 0
            for stage in (stage for stage in stages if stage in STAGES or name.startswith("tollgate")):
                row = one_stage(stage, gateway, to, key, mock, scale, rate)
                rate = row["load"]["rps"] / 3 if stage == "c64" else rate
                rows.append({"gateway": name, "fdatasync_us": disk, **row})
            return rows
        finally:
            gateway.kill()
            gateway.wait()


def soak(mock, calls):
    """Resident memory over many calls: it must not grow."""
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        to = port()
        gateway = start("tollgate-raft", to, mock, folder)
        try:
            answers(to, KEY)
            step = max(1, calls // 10)
            for done in range(step, calls + 1, step):
                result = load(to, KEY, ["--conc", "64", "--count", str(step)], 3600)
                print(f"{done} calls: {rss_mib(gateway.pid):.1f} MiB resident, {result['rps']:.0f} calls/s, {result['errors']} errors", flush=True)
        finally:
            gateway.kill()
            gateway.wait()


def table(rows, stages, gateways):
    print("\nCPU in µs a call (paced: a chunk), median; in brackets against bare / buffered\n")
    plain, across = [stage for stage in stages if stage in STAGES], [stage for stage in stages if stage in ACROSS]
    print("| gateway | " + " | ".join(plain) + " | RSS MiB |")
    print("|---|" + "---|" * (len(plain) + 1))

    def median(gateway, stage, what="cpu_us"):
        return statistics.median(row[what] for row in rows if row["gateway"] == gateway and row["stage"] == stage)

    for gateway in gateways:
        cells = []
        for stage in plain:
            figure = median(gateway, stage)
            ratios = " / ".join(f"{figure / median(other, stage):.2f}" for other in ("bare", "buffered") if other in gateways)
            cells.append(f"{figure:.1f} ({ratios})")
        rss = max(row["rss_mib"] for row in rows if row["gateway"] == gateway)
        print(f"| {gateway} | " + " | ".join(cells) + f" | {rss:.0f} |")
    if across:
        print("\nTranslated calls: CPU in µs a call (paced: a chunk), in brackets against the pass-through lane of the same gateway\n")
        print("| gateway | " + " | ".join(across) + " |\n|---|" + "---|" * len(across))
        for gateway in (gateway for gateway in gateways if gateway.startswith("tollgate")):
            cells = [f"{median(gateway, stage):.1f} ({median(gateway, stage) / median(gateway, ACROSS[stage][2]):.2f})" for stage in across]
            print(f"| {gateway} | " + " | ".join(cells) + " |")
    if "third" in stages:
        print("\n| gateway | added p50 µs | added p99 µs | at calls/s | the disk's fdatasync p50 / p99 µs |\n|---|---|---|---|---|")
        for gateway in gateways:
            disk = [statistics.median(row["fdatasync_us"][part] for row in rows if row["gateway"] == gateway) for part in (0, 1)]
            rate = statistics.median(row["load"]["rps"] for row in rows if row["gateway"] == gateway and row["stage"] == "third")
            added = [median(gateway, "third", f"added_{part}_us") for part in ("p50", "p99")]
            print(f"| {gateway} | {added[0]:.0f} | {added[1]:.0f} | {rate:.0f} | {disk[0]:.0f} / {disk[1]:.0f} |")
    failed = [row for row in rows if row["load"].get("errors")]
    print(f"\n{sum(row['load'].get('ok', 0) for row in rows)} calls checked, {len(failed)} stages with errors")
    for row in failed:
        print(row["gateway"], row["stage"], row["load"].get("errors"), row["load"].get("first_error"))


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--quick", action="store_true", help="one short round")
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--stages", default=",".join([*STAGES, *ACROSS]))
    flags.add_argument("--gateways", default=",".join(GATEWAYS))
    flags.add_argument("--soak", type=int, metavar="CALLS", help="only look at the memory over so many calls")
    asked = flags.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "tollgate-node", "-p", "tollgate-bench"], cwd=ROOT, check=True)
    OUT.mkdir(parents=True, exist_ok=True)
    stages, gateways = asked.stages.split(","), asked.gateways.split(",")
    mock = port()
    upstream = pinned(1, [BIN / "mock", "--port", mock])
    rows = []
    try:
        if asked.soak:
            return soak(mock, asked.soak)
        for _ in range(1 if asked.quick else asked.rounds):
            for name in gateways:
                rows += measure(name, mock, stages, 0.3 if asked.quick else 1)
    finally:
        upstream.kill()
        upstream.wait()
    (OUT / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table(rows, stages, gateways)


if __name__ == "__main__":
    main()
