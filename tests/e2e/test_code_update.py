"""New code takes over while calls go on, and no call fails."""

import threading

from tests.e2e.conftest import Deployer
from tests.e2e.worlds import Answer, World, eventually

CALLERS = 3


def source(version: int) -> str:
    return f"""
        import time
        def handler(event, context):
            time.sleep(0.02)
            return {version}
    """


class Caller(threading.Thread):
    """Calls without a pause, and keeps all answers."""

    def __init__(self, world: World, function: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._world, self._function, self._stop_event = world, function, stop
        self.answers: list[Answer] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stop_event.is_set():
                self.answers.append(self._world.invoke(self._function))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error


def test_no_call_fails(world: World, deploy: Deployer) -> None:
    function = deploy.function(source(1))
    world.invoke(function)
    stop = threading.Event()
    callers = [Caller(world, function, stop) for _ in range(CALLERS)]
    try:
        for caller in callers:
            caller.start()
        eventually(lambda: all(len(caller.answers) >= 10 for caller in callers))
        deploy.function(source(2), name=function)
        eventually(lambda: all(newest(caller) == [2] * 20 for caller in callers))
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    for caller in callers:
        assert caller.error is None
        assert all(answer.function_error is None for answer in caller.answers)
        versions = [answer.payload for answer in caller.answers]
        assert versions == sorted(versions)


def newest(caller: Caller) -> list[int]:
    return [answer.payload for answer in caller.answers[-20:]]
