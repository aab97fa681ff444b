#!/usr/bin/env python3
"""Writes order.ld: the functions that run while a broker starts, then those that run under load, each once.

    cargo rustc --release --bin jackfield -- -C strip=none
    broker/link/order.py target/release/jackfield

Needs valgrind. A function that is not in the list any more is linked as any other; so the list need not follow every
change, but what it brings fades. `build.rs` hands it to the linker.
"""

import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

LOADS = [
    ["rpc", "--connections", "4"],
    ["cmd", "--connections", "4"],
    ["fanout", "--connections", "4"],
    ["fanout", "--connections", "4", "--push"],
    ["churn", "--connections", "2"],
]
HEAD = """/* Written by order.py. What runs while a broker starts stands together, so that few pages of the program are mapped for it. */
SECTIONS
{
  .text :
  {
"""
TAIL = """    *(.text .text.*)
  }
}
INSERT AFTER .fini;
"""


def wait_for(path):
    while not path.exists():
        time.sleep(0.1)
    return json.loads(path.read_text())


def dump(pid):
    subprocess.run(["callgrind_control", "--dump", str(pid)], check=True, stdout=subprocess.DEVNULL)


def record(binary, directory):
    """Has a broker start and work; the parts of the profile are `profile.1`, `profile.2`."""
    out, ready = directory / "profile", directory / "ready"
    command = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={out}", binary, "run"]
    command += ["--plugin", "auth-open", "--ready-file", ready]
    command += ["--set", 'service.main.listen=["ws://127.0.0.1:0","tcp://127.0.0.1:0"]']
    log = open(directory / "log", "w")
    broker = subprocess.Popen(command, stderr=log)
    try:
        listeners = wait_for(ready)["listeners"]
        # Whoever looks whether it listens.
        for url in listeners:
            address = urllib.parse.urlsplit(url)
            socket.create_connection((address.hostname, address.port)).close()
        time.sleep(2)
        dump(broker.pid)
        for url in listeners:
            for load in LOADS:
                options = ["--url", url, "--duration", "2s", "--warmup", "1s", "--timeout", "60s"]
                subprocess.run([binary, "bench", *load, *options], check=True, stdout=subprocess.DEVNULL)
        dump(broker.pid)
    finally:
        broker.send_signal(signal.SIGTERM)
        broker.wait()
    return [directory / "profile.1", directory / "profile.2"]


def functions(profile, binary):
    """The program's own functions that ran, by name."""
    command = ["callgrind_annotate", "--threshold=100", "--auto=no", profile]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = re.compile(r"\)\s+\S*?:([A-Za-z_][\w.$]*)(?:'\d+)? \[" + re.escape(str(binary)) + r"\]$")
    return sorted({found[1] for found in map(line.search, listing.splitlines()) if found})


def pattern(name):
    """The section of a function, be it called seldom or not. What stands for a crate's hash changes with every compiler."""
    name = re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)
    # Of an instance of a generic function the last is the crate that asked for it first, which may be another next time.
    crate = re.search(r"Cs\*_(\d+)([A-Za-z_]\w*)$", name)
    if crate and len(crate[2]) == int(crate[1]):
        name = name[: crate.start()] + "Cs*_*"
    return f".text*.{name}"


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        parts = [functions(part, binary) for part in record(binary, pathlib.Path(directory))]
    patterns = dict.fromkeys(pattern(name) for part in parts for name in part)
    if len(patterns) < 500:
        sys.exit("too few functions: is the binary stripped?")
    lines = "".join(f"    *({one})\n" for one in patterns)
    pathlib.Path(__file__).with_name("order.ld").write_text(HEAD + lines + TAIL)
    print(f"{len(patterns)} functions, {len(parts[0])} of them at start")


main()
