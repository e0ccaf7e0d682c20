"""Starts the simulated provider and a node, and shows a first call. `make run` calls it; `--once` makes that call itself and ends."""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/debug/tollgate"
FACTS = ROOT / "target/quickstart.json"
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
CONFIG = """\
providers:
  - {{name: {provider}, dialect: {dialect}, base_url: "{base_url}"{secret}, headers: {{x-call: "{{call_id}}"}}}}
models:
  - {{name: {model}, targets: [{{provider: {provider}, model: {target}}}], price: {{input_per_mtok: "0.15", output_per_mtok: "0.60"}}, max_output_tokens: 16384, context_tokens: 128000}}
tenants:
  - {{name: quickstart, budgets: [{{limit: "5 USD", every: day}}]}}
keys:
  - {{name: first, scope: quickstart, secret: "${{QUICKSTART_KEY}}", rpm_limit: 600}}
"""


def free_port(port=0):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"port {port} is taken ({error}); choose another: PORT=4100 make run")
        return probe.getsockname()[1]


def ready(url, process, what):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{what} ended with code {process.returncode} while it started")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not answer at {url}")


def first_call(facts):
    body = {"model": facts["model"], "max_tokens": 16, "messages": [{"role": "user", "content": "Hello!"}]}
    headers = {"authorization": f"Bearer {facts['api_key']}", "content-type": "application/json"}
    request = urllib.request.Request(f"{facts['openai_base_url']}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def main():
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--once", action="store_true", help="make the first call, then end")
    once = flags.parse_args().once
    if not BINARY.exists():
        sys.exit("target/debug/tollgate is not there: run `make run`")
    real = os.environ.get("PROVIDER")
    if real and real not in MODELS:
        sys.exit(f"PROVIDER is one of {', '.join(MODELS)}")
    port = free_port(0 if once else int(os.environ.get("PORT", "4000")))
    sim_port = free_port()
    sim_url = f"http://127.0.0.1:{sim_port}"
    dialect = real or "openai"
    target = MODELS.get(real, "sim")
    base_url = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}.get(real, f"{sim_url}/v1")
    secret = f', api_key: "${{{real.upper()}_API_KEY}}"' if real else ""
    key, token = "sk-tg-" + secrets.token_urlsafe(24), "tg-admin-" + secrets.token_urlsafe(24)
    config = ROOT / "target/quickstart.yaml"
    config.write_text(CONFIG.format(provider=real or "sim", dialect=dialect, base_url=base_url, secret=secret, model=target, target=target))
    environment = dict(os.environ, QUICKSTART_KEY=key, TOLLGATE_ADMIN_TOKEN=token, RUST_LOG=os.environ.get("RUST_LOG", "warn"))
    sim = subprocess.Popen([BINARY, "provider-sim", "--listen", f"127.0.0.1:{sim_port}"], stdout=subprocess.DEVNULL)
    scratch = tempfile.TemporaryDirectory() if once else None
    data = scratch.name if scratch else ROOT / f"target/quickstart-data-{port}"
    node = subprocess.Popen([BINARY, "serve", "-f", config, "--listen", f"127.0.0.1:{port}", "--data", data], env=environment, stdout=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        ready(f"{sim_url}/healthz", sim, "the simulated provider")
        ready(f"http://127.0.0.1:{port}/readyz", node, "the node")
        url = f"http://127.0.0.1:{port}"
        facts = {"base_url": url, "openai_base_url": f"{url}/v1", "api_key": key, "model": target, "admin_url": url, "admin_token": token, "provider_sim_url": sim_url}
        FACTS.unlink(missing_ok=True)
        with os.fdopen(os.open(FACTS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(facts, file, indent=2)
        if once:
            print("quick start:", first_call(facts))
            return
        print(f"Tollgate serves {url} (facts in target/quickstart.json). A first call:\n")
        body = '{"model":"%s","max_tokens":16,"messages":[{"role":"user","content":"Hello!"}]}' % target
        print(f"  curl {url}/v1/chat/completions -H 'authorization: Bearer {key}' \\\n    -H 'content-type: application/json' -d '{body}'\n")
        print("Ctrl-C stops both.", flush=True)
        node.wait()
        sys.exit(f"the node ended with code {node.returncode}")
    except KeyboardInterrupt:
        pass
    finally:
        for process in (node, sim):
            process.terminate()
        for process in (node, sim):
            process.wait(timeout=40)
        if scratch:
            scratch.cleanup()


if __name__ == "__main__":
    main()
