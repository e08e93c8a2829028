"""What only real cgroups, kubelets and volumes do to a handler that means harm, while a neighbour notices nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import World, eventually

HOSTILE = """
    import os, time
    def handler(event, context):
        match event.get("do"):
            case "memory":
                kept = []
                while True:
                    kept.append(bytearray(os.urandom(1 << 20)))
            case "fork":
                while True:
                    try:
                        if os.fork() == 0:
                            os.setsid()
                    except OSError:
                        time.sleep(0.01)
            case "disk":
                with open("/tmp/large", "wb") as file:
                    while True:
                        file.write(bytes(1 << 20))
        return os.getuid()
"""
NEIGHBOUR = "    def handler(event, context): return 'here'"


@contextmanager
def calling(world: World, function: str) -> Iterator[list[object]]:
    """Call this function one time after another meanwhile; what was not as it should be."""
    wrong: list[object] = []
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            answer = world.invoke(function)
            if answer.payload != "here":
                wrong.append(answer)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield wrong
    finally:
        over.set()
        caller.join()


@pytest.mark.parametrize(
    ("harm", "kinds"),
    [
        ("memory", {"Runtime.ExitError"}),
        ("fork", {"Sandbox.Timedout", "Runtime.ExitError"}),
        ("disk", {"OSError"}),
    ],
)
def test_its_caller_gets_an_error_and_the_neighbour_keeps_answering(
    world: World, deploy: Deployer, harm: str, kinds: set[str]
) -> None:
    hostile, neighbour = deploy.function(HOSTILE, timeout=20), deploy.function(NEIGHBOUR)
    world.invoke(hostile)
    world.invoke(neighbour)
    with calling(world, neighbour) as wrong:
        answer = world.invoke(hostile, {"do": harm})
        assert answer.function_error == "Unhandled"
        assert answer.payload["errorType"] in kinds, answer.payload
        eventually(lambda: isinstance(world.invoke(hostile).payload, int), 60)
    assert not wrong


def test_each_instance_has_a_user_of_its_own(world: World, deploy: Deployer) -> None:
    users = {world.invoke(deploy.function(HOSTILE)).payload for _ in range(2)}
    assert len(users) == 2
    assert min(users) >= 1 << 30
