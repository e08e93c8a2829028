"""A function writes in /tmp and nowhere else: neither where its code is nor where its layers are, whatever runs it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.agent_client import Agent, package
from tests.runtime.bootstraps import runtime

TRIES = """
import os, shutil, subprocess, sys

def refusals(task, opt, tmp):
    '''What each attempt comes to: None, or the number of its error.'''
    mine, more = f"{tmp}/{os.getpid()}", f"{tmp}/{os.getpid()}-more"
    attempts = {
        "change the code": lambda: open(f"{task}/data.txt", "a"),
        "cut the code off": lambda: os.truncate(f"{task}/data.txt", 0),
        "remove the code": lambda: os.remove(f"{task}/data.txt"),
        "move the code": lambda: os.rename(f"{task}/data.txt", f"{task}/other"),
        "take the code away": lambda: os.rename(f"{task}/data.txt", f"{tmp}/data.txt"),
        "add to the code": lambda: open(f"{task}/new", "w"),
        "make a folder": lambda: os.mkdir(f"{task}/folder"),
        "make a link": lambda: os.symlink("/etc", f"{task}/link"),
        "change a layer": lambda: open(f"{opt}/layer.txt", "w"),
        "add to the layers": lambda: open(f"{opt}/new", "w"),
        "through a child": lambda: subprocess.run([sys.executable, "-c", f"open('{task}/new', 'w')"], check=True,
                                                  stderr=subprocess.DEVNULL),
        "write in /tmp": lambda: open(f"{mine}", "w").write("x"),
        "truncate in /tmp": lambda: os.truncate(mine, 0),
        "make a folder in /tmp": lambda: os.mkdir(more),
        "move from one folder of /tmp to another": lambda: os.rename(mine, f"{more}/moved"),
        "remove from /tmp": lambda: shutil.rmtree(more),
        "write to a device": lambda: open("/dev/null", "w").write("x"),
        "share memory": lambda: os.close(os.open(f"/dev/shm/{os.getpid()}", os.O_CREAT | os.O_RDWR)),
        "unshare memory": lambda: os.remove(f"/dev/shm/{os.getpid()}"),
        "name a thread": lambda: open("/proc/self/comm", "w").write("worker"),
    }
    return {name: outcome(attempt) for name, attempt in attempts.items()}

def outcome(attempt):
    try:
        attempt()
    except OSError as error:
        return error.errno
    except subprocess.CalledProcessError:
        return 13
    return None
"""
REFUSED = {
    *("change the code", "cut the code off", "remove the code", "move the code", "take the code away"),
    *("add to the code", "make a folder", "make a link", "change a layer", "add to the layers", "through a child"),
}
EACCES = 13

PYTHON = """
from tries import refusals

def lambda_handler(event, context):
    return refusals(**event)
"""
BOOTSTRAP = """
from tries import refusals
while True:
    request_id, headers, event = next_invocation()
    respond(request_id, refusals(**event))
"""
EXTENSION = f"""#!{sys.executable} -u
import http.client, json, os, sys
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/python")
from tries import refusals
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body, headers):
    api.request(method, "/2020-01-01/extension" + path, body, headers)
    answer = api.getresponse()
    return answer.read() and answer.headers
known = call("POST", "/register", '{{"events": []}}', {{"Lambda-Extension-Name": "writer"}})
print("extension:", json.dumps(refusals(*sys.argv[1:] or json.loads(os.environ["PLACES"]))))
call("GET", "/event/next", None, {{"Lambda-Extension-Identifier": known["Lambda-Extension-Identifier"]}})
"""
DATA: dict[str, str | bytes] = {"data.txt": "data"}
LAYER: dict[str, str | bytes] = {"layer.txt": "layer", "python/tries.py": TRIES}


class Place:
    """An agent whose function may write into `tmp`, and what it writes."""

    def __init__(self, agent: Agent, tmp: Path) -> None:
        self.agent = agent
        self.tmp = tmp

    @property
    def is_protected(self) -> bool:
        """What the agent has said when it started; it depends on the kernel."""
        [line] = [json.loads(line) for line in self.agent.log.splitlines() if '"listening"' in line]
        return bool(line["code"] == "read-only")

    @property
    def folders(self) -> dict[str, str]:
        return {"task": str(self.agent.task_root), "opt": str(self.agent.opt_root), "tmp": str(self.tmp)}

    def start(self, code: dict[str, str | bytes], layer: dict[str, str | bytes] = LAYER, **changes: Any) -> None:
        answer = self.agent.specialise({**DATA, **code}, [package(layer)], timeout_seconds=60, **changes)
        assert answer.status == 200, answer.body

    def expect(self, seen: dict[str, int | None]) -> None:
        """The agent keeps its word."""
        refused = {name for name, errno in seen.items() if errno == EACCES}
        assert refused == (REFUSED if self.is_protected else set())
        assert [name for name, errno in seen.items() if errno and name not in REFUSED] == []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    with Agent(tmp_path, FUNCLET_WRITABLE=f"{tmp}:/dev:/proc:/no/such/folder") as agent:
        yield Place(agent, tmp)


def test_a_function_in_a_process_of_the_agent(place: Place) -> None:
    place.start({"index.py": PYTHON})
    place.expect(place.agent.invoke(place.folders).json)


def test_functions_forked_from_a_template(place: Place) -> None:
    place.start({"index.py": PYTHON}, concurrency=2)
    for slot in (0, 1):
        place.expect(place.agent.invoke(place.folders, slot=slot).json)


def test_a_runtime_of_its_own(place: Place) -> None:
    place.start({**runtime(BOOTSTRAP), "tries.py": TRIES}, runtime="provided.al2023")
    place.expect(place.agent.invoke(place.folders).json)


def test_an_extension_and_the_runtime_beside_it(place: Place) -> None:
    places = json.dumps(list(place.folders.values()))
    layer = {**LAYER, "extensions/writer": EXTENSION}
    place.start({"index.py": PYTHON}, layer, environment={"PLACES": places})
    answer = place.agent.invoke(place.folders).json
    [said] = [line for line in place.agent.log.splitlines() if line.startswith("extension: ")]
    place.expect(json.loads(said.removeprefix("extension: ")))
    place.expect(answer)


def test_the_process_after_one_that_died(place: Place) -> None:
    dying = "import os\n" + PYTHON.replace("return", "if event is None: os._exit(1)\n    return")
    place.start({"index.py": dying})
    assert place.agent.invoke().json["errorType"] == "Runtime.ExitError"
    place.expect(place.agent.invoke(place.folders).json)


def test_where_everything_is_writable_by_choice(tmp_path: Path) -> None:
    with Agent(tmp_path, FUNCLET_WRITABLE="/") as agent:
        place = Place(agent, tmp_path)
        place.start({"index.py": PYTHON})
        assert EACCES not in agent.invoke(place.folders).json.values()
