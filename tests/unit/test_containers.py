"""How an image is run with an engine of this machine."""

from itertools import pairwise
from typing import Any

from tests.unit.instance_requests import instance_request

from funclet.adapters.instances import container_guard
from funclet.adapters.instances.containers import engine_options
from funclet.api.function import Environment
from funclet.core.images import FunctionImage, ImageFunction

IMAGE = FunctionImage("shop/prices:1", ("/run", "-v"), ("app.handler",), "/srv")
FUNCTION = ImageFunction(IMAGE, "prices", 256, Environment(), "Text", None)
REQUEST = instance_request("image-1", runtime="image", timeout_seconds=3, image=FUNCTION)
SETTINGS: dict[str, Any] = {
    "engine": "/usr/bin/podman",
    "options": ["--read-only"],
    "image": "shop/prices:1",
    "command": ["-v", "app.handler"],
    "variables": ["AWS_REGION", "HOME", "KEY", "_HANDLER"],
    "engine_environment": {"HOME": "/root", "PATH": "/usr/bin"},
}


def pairs(options: list[str]) -> set[tuple[str, str]]:
    return set(pairwise(options))


def test_a_container_may_do_what_the_pod_may() -> None:
    options = engine_options(REQUEST, FUNCTION, 4096)
    assert "--read-only" in options
    assert pairs(options) >= {
        ("--network", "host"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--user", "993:990"),
        ("--memory", "256m"),
        ("--memory-swap", "256m"),
        ("--tmpfs", "/tmp:rw,mode=1777,size=1024m"),
        ("--workdir", "/srv"),
        ("--entrypoint", "/run"),
        ("--ulimit", "nproc=4096:4096"),
    }


def test_no_value_is_in_an_argument_but_those_that_the_engine_needs_otherwise(monkeypatch: Any) -> None:
    environment = {"AWS_REGION": "eu-west-1", "HOME": "/the/functions", "KEY": "secret", "LANG": "C"}
    monkeypatch.setattr("os.environ", environment)
    command = container_guard.run_command(SETTINGS, "funclet-image-1-7", environment)
    assert command[:5] == ["/usr/bin/podman", "run", "--rm", "--name", "funclet-image-1-7"]
    assert command[-3:] == ["shop/prices:1", "-v", "app.handler"]
    assert pairs(command) >= {("--env", "AWS_REGION"), ("--env", "KEY"), ("--env", "HOME=/the/functions")}
    assert "secret" not in " ".join(command)
    assert not [word for word in command if word.startswith(("LANG", "_HANDLER"))]
