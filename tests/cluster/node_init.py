"""The node's first process: sets up its namespaces, starts the components by stages, and starts again what ends.

Run by node.py as PID 1 of a PID namespace, with the plan's file as its argument. When it is killed, the kernel ends
every process below it and takes away the mounts, interfaces and iptables rules of its namespaces. It imports nothing of
the project.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

RESTART_SECONDS = 1.0
STAGE_SECONDS = 180.0


def main() -> None:
    plan: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    enter_cgroups(plan["cgroups"])
    wait_for_interface(plan["interface"])
    for command in plan["setup"]:
        subprocess.run(command, check=True)
    running: dict[int, dict[str, Any]] = {}
    components: list[dict[str, Any]] = plan["components"]
    for stage in sorted({component["stage"] for component in components}):
        started = [component for component in components if component["stage"] == stage]
        for component in started:
            running[start(component, plan["logs"])] = component
        for component in started:
            wait_until_ready(component["ready"])
    while True:
        ended, status = os.wait()  # also whatever was orphaned in this PID namespace: containers' shims
        component = running.pop(ended, {})
        if component:
            print(f"{component['name']} ended with {os.waitstatus_to_exitcode(status)}, starting it again", flush=True)
            time.sleep(RESTART_SECONDS)
            running[start(component, plan["logs"])] = component


def enter_cgroups(folders: list[str]) -> None:
    """Before any other process exists, so that all of them are counted there."""
    for folder in folders:
        (Path(folder) / "cgroup.procs").write_text("0")


def wait_for_interface(name: str) -> None:
    end = time.monotonic() + STAGE_SECONDS
    while name not in {interface for _, interface in socket.if_nameindex()}:
        if time.monotonic() > end:
            sys.exit(f"no interface {name} appeared")
        time.sleep(0.005)


def start(component: dict[str, Any], logs: str) -> int:
    with (Path(logs) / f"{component['name']}.log").open("ab") as log:
        # Its own session: a signal to one component's group is not for the others.
        return subprocess.Popen(
            component["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        ).pid


def wait_until_ready(url: str | None) -> None:
    """Polls an address of the node itself, with a certificate of its own authority, until it answers 200."""
    if url is None:
        return
    trusting = ssl._create_unverified_context()
    end = time.monotonic() + STAGE_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5, context=trusting):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    print(f"{url} is not ready; going on", flush=True)


if __name__ == "__main__":
    main()
