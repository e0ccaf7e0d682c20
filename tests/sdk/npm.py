"""The clients from npm: what tests/sdk/clients/package.json pins, installed once into target/npm."""

import hashlib
import os
import shutil
import subprocess

from conftest import ROOT

SOURCE = ROOT / "tests/sdk/clients"
FOLDER = ROOT / "target/npm"
# Packages that put their binary in place by a script, which newer npm does not run unasked.
SCRIPTS = {"@anthropic-ai/claude-code": "install.cjs", "opencode-ai": "postinstall.mjs"}


def run(*command, cwd=FOLDER):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install():
    """Installs if the pins are others than those of the last time."""
    assert shutil.which("node") and shutil.which("npm"), "these tests need Node and npm"
    pins = (SOURCE / "package.json").read_bytes()
    stamp, wanted = FOLDER / "done", hashlib.sha256(pins).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        FOLDER.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        (FOLDER / "package.json").write_bytes(pins)
        run("npm", "install", "--prefix", FOLDER, "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
        for package, script in SCRIPTS.items():
            run("node", script, cwd=FOLDER / "node_modules" / package)
        stamp.write_text(wanted)
    # a script finds its packages from where it lies
    for script in SOURCE.glob("*.mjs"):
        shutil.copy(script, FOLDER / script.name)
    return FOLDER


def binary(name):
    return FOLDER / "node_modules/.bin" / name


def bare(home, **more):
    """An environment without the settings and keys of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SHELL") if name in os.environ}
    return kept | {"HOME": str(home)} | more
