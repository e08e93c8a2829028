"""A handler that means harm, or is badly broken: its caller gets Lambda's error, and the next call works."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.runtime.agent_client import INVOKE_TOKEN, REQUEST_ID, Agent, Connection, handler_pid, wait_until

EXIT = """
import ctypes, os, signal, sys, threading
def die():
    raise ValueError('in a thread')
def deep(n):
    return deep(n + 1)
def lambda_handler(event, context):
    if event == 'thread':
        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
    elif event == 'deep':
        deep(0)
    elif event == 'segfault':
        ctypes.string_at(0)
    elif event == 'interrupt':
        raise KeyboardInterrupt
    elif isinstance(event, str) and event.startswith('sys.exit'):
        eval(event)
    elif isinstance(event, str):
        os.kill(os.getpid(), signal.Signals[event])
    elif event is not None:
        os._exit(event)
    return os.getpid()
"""


def exit_error(reason: str) -> dict[str, str]:
    return {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}"}


def exit_status(number: int) -> dict[str, str]:
    return exit_error(f"Runtime exited with error: exit status {number}")


def killed_by(name: str) -> dict[str, str]:
    return exit_error(f"Runtime exited with error: signal: {name}")


WITHOUT_REASON = exit_error("Runtime exited without providing a reason")
TIMED_OUT = {
    "errorType": "Sandbox.Timedout",
    "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds",
}


@pytest.mark.parametrize("concurrency", [1, 2])
def test_every_way_to_exit(agent: Agent, concurrency: int) -> None:
    agent.specialise(EXIT, concurrency=concurrency)
    ways = {
        0: WITHOUT_REASON,
        1: exit_status(1),
        255: exit_status(255),
        "sys.exit()": WITHOUT_REASON,
        "sys.exit(300)": exit_status(300 - 256),
        "sys.exit('a word')": exit_status(1),
        "interrupt": exit_status(1),
        "segfault": killed_by("segmentation fault"),
        "SIGTERM": killed_by("terminated"),
        "SIGKILL": killed_by("killed"),
        "SIGABRT": killed_by("aborted"),
        "SIGUSR1": killed_by("user defined signal 1"),
        "SIGALRM": killed_by("alarm clock"),
    }
    for event, error in ways.items():
        answer = agent.invoke(event)
        assert (answer.json, answer.headers["x-amz-function-error"]) == (error, "Unhandled"), event
        assert isinstance(agent.invoke(None).json, int)


def test_what_is_no_exit(agent: Agent) -> None:
    agent.specialise(EXIT)
    pid = agent.invoke(None).json
    assert agent.invoke("thread").json == pid
    assert agent.invoke("deep").json["errorType"] == "RecursionError"
    assert agent.invoke("SIGWINCH").json == pid
    assert agent.invoke("SIGCONT").json == pid
    assert "in a thread" in agent.log


def test_a_handler_that_stops_itself_runs_out_of_time(agent: Agent) -> None:
    agent.specialise(EXIT, timeout_seconds=1)
    assert agent.invoke("SIGSTOP").json == TIMED_OUT
    assert isinstance(agent.invoke(None).json, int)


def test_a_handler_that_ignores_sigterm_is_ended_all_the_same(agent: Agent) -> None:
    agent.specialise(
        "import signal, time\n"
        "def lambda_handler(event, context):\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    print('on')\n    time.sleep(60)\n",
        timeout_seconds=60,
    )
    agent.send()
    wait_until(lambda: "on\n" in agent.log)
    pid = handler_pid(agent)
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(60) == 0
    assert not Path(f"/proc/{pid}").exists()


CLOSING = """
import os, sys
def lambda_handler(event, context):
    if event == 'all':
        os.closerange(0, 1000)
    elif event == 'output':
        sys.stdout.close()
        sys.stderr.close()
        os.closerange(0, 3)
    elif event == 'replace':
        for descriptor in range(3, 64):
            try:
                os.dup2(0, descriptor)
            except OSError:
                pass
    elif event == 'leak':
        kept = []
        while True:
            kept.append(os.open('/dev/null', os.O_RDONLY))
    elif event == 'keep':
        try:
            while True:
                os.open('/dev/null', os.O_RDONLY)
        except OSError as error:
            return error.errno
    return os.getpid()
"""


@pytest.mark.parametrize("event", ["all", "replace"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_handler_that_closes_what_is_not_its_own(agent: Agent, event: str, concurrency: int) -> None:
    agent.specialise(CLOSING, concurrency=concurrency)
    for _ in range(3):
        answer = agent.invoke(event)
        assert answer.json in (exit_status(1), killed_by("killed"))
        assert isinstance(agent.invoke(None).json, int)


def test_a_handler_that_closes_its_output_goes_on_without(agent: Agent) -> None:
    agent.specialise(CLOSING)
    pid = agent.invoke("output").json
    assert agent.invoke(None).json == pid
    assert agent.invoke("leak").json["errorType"] == "OSError"


def test_a_handler_that_has_used_up_its_descriptors_is_replaced(agent: Agent) -> None:
    agent.specialise(CLOSING)
    pid = agent.invoke(None).json
    assert agent.invoke("keep").json == 24
    assert agent.invoke(None).json == pid
    another = Connection(agent.slots[0])
    another.send("POST", "/invoke", b"null", {"x-funclet-token": INVOKE_TOKEN})
    assert another.receive().json != pid
    another.close()
    assert "cannot accept connections any more: Too many open files" in agent.log


WRITING = """
import gc, mmap, os, socket, time
def lambda_handler(event, context):
    if event == 'channel':
        for descriptor in range(3, 64):
            try:
                if socket.socket(fileno=os.dup(descriptor)).family == socket.AF_UNIX:
                    os.write(descriptor, b'rubbish' * 1001)
            except OSError:
                pass
        time.sleep(60)
    elif event == 'state':
        for page in gc.get_objects():
            if isinstance(page, mmap.mmap):
                page[:] = b'\\xab' * len(page)
        time.sleep(60)
    elif event == 'deadline':
        for page in gc.get_objects():
            if isinstance(page, mmap.mmap):
                page[24:32] = b'\\x7f' * 8
        time.sleep(60)
    return os.getpid()
"""


@pytest.mark.parametrize("concurrency", [1, 2])
def test_rubbish_on_the_control_channel_ends_its_writer(agent: Agent, concurrency: int) -> None:
    agent.specialise(WRITING, concurrency=concurrency)
    assert agent.invoke("channel").json == killed_by("killed")
    assert isinstance(agent.invoke(None).json, int)


@pytest.mark.parametrize("event", ["state", "deadline"])
def test_a_handler_that_writes_into_the_shared_state_ends_at_its_timeout(agent: Agent, event: str) -> None:
    agent.specialise(WRITING, timeout_seconds=1)
    agent.invoke(None)
    connection = agent.send(event)
    if event == "state":
        assert connection.is_closed_by_peer()
    else:
        assert connection.receive().json == TIMED_OUT
    agent.close_connections()
    assert isinstance(agent.invoke(None).json, int)


def test_a_hundred_megabytes_of_output_are_written_and_the_invocation_ends(agent: Agent) -> None:
    agent.specialise(
        "def lambda_handler(event, context):\n    for _ in range(100):\n        print('x' * (1 << 20))\n    return 1\n",
        timeout_seconds=60,
    )
    answer = agent.invoke(x_amz_log_type="Tail")
    assert answer.json == 1
    assert agent.log_path.stat().st_size > 100 << 20


def test_output_that_nobody_reads_is_a_timeout_and_no_more(tmp_path: Path) -> None:
    """The log is a pipe that is full: the handler waits in print(), the agent must not."""
    reader, writer = os.pipe()
    with Agent(tmp_path, output=writer) as agent:
        os.close(writer)
        agent.specialise(
            "def lambda_handler(event, context):\n    print('x' * event)\n    return 1\n", timeout_seconds=1
        )
        assert agent.invoke(1 << 20).json == TIMED_OUT
        assert agent.status()["state"] == "specialised"
        os.close(reader)
        assert agent.invoke(1).json == 1


DAEMON = """
import os, time
def lambda_handler(event, context):
    if event == 'daemon':
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        os.wait()
        time.sleep(60)
    return os.getpid()
"""


def test_a_daemon_that_holds_the_connection_holds_up_nobody(agent: Agent) -> None:
    agent.specialise(DAEMON, timeout_seconds=1)
    agent.invoke(None)
    assert agent.invoke("daemon").json == TIMED_OUT
    agent.invoke(None)
    wait_until(lambda: len(list(descendants(agent.process.pid))) == 1)


def descendants(pid: int) -> Iterator[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from descendants(int(child))


BOMB = """
import os, time
def bomb():
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            time.sleep(0.01)
def lambda_handler(event, context):
    if event == 'bomb':
        bomb()
    return os.getpid()
"""


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[Agent]:
    """An agent with a user of its own, as in a pod: who counts processes, counts its own."""
    if os.getuid() != 0:
        pytest.fail("these tests give the agent a user of its own, and so need root")
    tmp_path.chmod(0o777)
    for folder in [*tmp_path.parents][:2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    user = 2_000_000_000 + os.getpid()
    # The tests' own interpreter may be in a home directory that is closed to others.
    python = "/usr/bin/python3"
    with Agent(tmp_path, user=user, interpreter=python, FUNCLET_MAX_PROCESSES="40", FUNCLET_TMP_MIB="2") as started:
        yield started


def test_a_fork_bomb_runs_out_of_processes_and_of_time(confined: Agent) -> None:
    confined.specialise(BOMB, timeout_seconds=1)
    confined.invoke(None)
    assert confined.invoke("bomb").json == TIMED_OUT
    pid = confined.invoke(None).json
    wait_until(lambda: list(descendants(confined.process.pid)) == [pid])


def test_a_file_that_is_larger_than_tmp_may_be(confined: Agent, tmp_path: Path) -> None:
    confined.specialise(
        "def lambda_handler(event, context):\n    with open(event, 'wb') as file:\n        file.write(bytes(3 << 20))\n"
    )
    error = confined.invoke(str(tmp_path / "large")).json
    assert (error["errorType"], error["errorMessage"]) == ("OSError", "[Errno 27] File too large")


MEMORY = """
import os, subprocess, sys, time
def lambda_handler(event, context):
    if event == 'itself':
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 20)))
            time.sleep(0.002)
    if event == 'child':
        subprocess.run([sys.executable, '-c', 'kept = bytearray(300 << 20); input()'], stdin=os.pipe()[0])
    return os.getpid()
"""


@pytest.mark.parametrize("event", ["itself", "child"])
def test_without_a_cgroup_the_agent_ends_what_takes_more_memory_than_the_function_has(
    tmp_path: Path, event: str
) -> None:
    with Agent(tmp_path, FUNCLET_COUNT_MEMORY="1") as agent:
        agent.specialise(MEMORY, timeout_seconds=60)
        pid = agent.invoke(None).json
        assert agent.invoke(event).json == killed_by("killed")
        assert agent.invoke(None).json != pid


def test_the_handler_is_the_one_that_the_kernel_kills_for_memory(agent: Agent) -> None:
    agent.specialise("def lambda_handler(event, context):\n    return open('/proc/self/oom_score_adj').read()\n")
    assert agent.invoke().json == "1000\n"
    assert Path(f"/proc/{agent.process.pid}/oom_score_adj").read_text() != "1000\n"
