"""The bootstrap of a function that is packaged as an image, in local mode: runs one container, and ends with it.

    python3 -I container_guard.py SETTINGS.json        (containers.write_bootstrap)

A container is no child of whoever asks an engine for it, and outlives it. So a watchman with a session of its own waits
for the end of this process, whatever that is, and removes the container. What ends the container ends this process the
same way. A program of its own, of the standard library alone.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

LOOK_SECONDS = 0.05
SIGNAL_BASE = 128
"""An engine's exit status for a container that a signal ended is this and the signal."""


def main(settings_file: str) -> int:
    """Run the container; its exit status."""
    with open(settings_file, encoding="utf-8") as file:
        settings: dict[str, Any] = json.load(file)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(settings["pid_file"])
    name = f"funclet-{settings['name']}-{os.getpid()}"
    _post_watchman(settings, name)
    engine = subprocess.Popen(  # noqa: S603 - the engine that was found, with arguments of ours
        run_command(settings, name, os.environ),
        env={**{name: os.environ[name] for name in passed(settings)}, **settings["engine_environment"]},
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: engine.send_signal(received))
    _tell_pid(settings, name, engine)
    return _end_alike(engine.wait())


def passed(settings: dict[str, Any]) -> list[str]:
    """The variables that are set here and that the engine takes from its own environment: it has none of that name."""
    return [name for name in settings["variables"] if name in os.environ and name not in settings["engine_environment"]]


def run_command(settings: dict[str, Any], name: str, environment: Any) -> list[str]:
    """`podman run …`. Values are in no argument, where others of this machine could read them, if that can be."""
    by_name = passed(settings)
    variables = []
    for variable in settings["variables"]:
        if variable in environment:
            variables += ["--env", variable if variable in by_name else f"{variable}={environment[variable]}"]
    options = ["--rm", "--name", name, "--log-driver", "none", *settings["options"], *variables]
    return [settings["engine"], "run", *options, settings["image"], *settings["command"]]


def _post_watchman(settings: dict[str, Any], name: str) -> None:
    """Nobody but this process has the other end of its pipe."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)
        return
    os.setsid()
    os.close(writing)
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    os.chdir("/")
    os.read(reading, 1)
    for verb in (["kill"], ["rm", "--force"]):
        # The first is quick, the second takes also what has not begun.
        subprocess.run([settings["engine"], *verb, name], env=settings["engine_environment"], check=False)  # noqa: S603
    os._exit(0)


def _tell_pid(settings: dict[str, Any], name: str, engine: "subprocess.Popen[bytes]") -> None:
    """Whose memory counts: the container's first process."""
    asked = [settings["engine"], "inspect", "--format", "{{.State.Pid}}", name]
    while engine.poll() is None:
        told = subprocess.run(  # noqa: S603
            asked, env=settings["engine_environment"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if told.isdigit() and int(told):
            with open(settings["pid_file"], "w", encoding="ascii") as file:
                file.write(told)
            return
        time.sleep(LOOK_SECONDS)


def _end_alike(status: int) -> int:
    if status <= SIGNAL_BASE:
        return status
    signal.signal(status - SIGNAL_BASE, signal.SIG_DFL)
    os.kill(os.getpid(), status - SIGNAL_BASE)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
