"""An instance with several slots: the handler is imported once, and its process is forked for each of them."""

import os
import signal
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.runtime.agent_client import REQUEST_ID, Agent, Answer, children, is_over, resident_mib, wait_until

SHARED = """
import os, time
ballast = ['%d' % n for n in range(300_000)]
imported = os.urandom(8).hex()
print('importing')
def lambda_handler(event, context):
    if event == 'exit':
        os._exit(3)
    if event == 'sleep':
        time.sleep(60)
    return [imported, os.getpid()]
"""


def imports(answers: Iterable[Answer]) -> set[str]:
    return {answer.json[0] for answer in answers}


def pids(answers: Iterable[Answer]) -> set[int]:
    return {answer.json[1] for answer in answers}


def invoke_all(agent: Agent, event: Any = None) -> list[Answer]:
    return [agent.invoke(event, slot=slot) for slot in range(len(agent.slots))]


def pss_mib(pid: int) -> float:
    """A process's memory, with each page divided by the number of processes that share it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def test_slots_share_what_one_import_made(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=16)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda slot: agent.invoke(slot=slot), range(16)))
    assert len(imports(answers)) == 1
    assert len(pids(answers)) == 16
    assert agent.log.count("importing") == 1
    one = resident_mib(answers[0].json[1])
    assert one > 25
    assert sum(map(pss_mib, children(agent.process.pid))) < 4 * one


def test_the_init_phase_is_billed_once(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=4)
    billed = [answer.headers.get("x-funclet-init-us") for answer in invoke_all(agent) + invoke_all(agent)]
    assert [init_us for init_us in billed if init_us] == billed[:1]
    assert agent.log.count("Init Duration") == 1
    assert agent.status()["init"]["state"] == "succeeded"


def test_the_init_phase_is_billed_with_a_first_invocation_that_dies(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=2)
    assert int(agent.invoke("exit", slot=1).headers["x-funclet-init-us"]) > 0
    assert "x-funclet-init-us" not in agent.invoke(slot=0).headers


def test_a_slot_that_dies_is_forked_again(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=2, timeout_seconds=1)
    before = invoke_all(agent)
    for event, kind in (("exit", "Runtime.ExitError"), ("sleep", "Sandbox.Timedout")):
        assert agent.invoke(event).json["errorType"] == kind
        after = invoke_all(agent)
        assert imports(after) == imports(before)
        assert before[1].json == after[1].json
    assert len(pids(before) | pids(after)) == 3
    assert agent.log.count("importing") == 1


def test_connections_outlive_the_process_of_their_slot(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=2)
    first = agent.invoke().json[1]
    wait_until(lambda: "REPORT" in agent.log)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "handler process ended" in agent.log)
    assert agent.invoke().json[1] != first


def test_without_the_template_slots_import_for_themselves(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=2)
    before = invoke_all(agent)
    wait_until(lambda: pids(before) < set(children(agent.process.pid)))
    [template] = set(children(agent.process.pid)) - pids(before)
    os.kill(template, signal.SIGKILL)
    wait_until(lambda: "template ended" in agent.log)
    assert invoke_all(agent)[1].json == before[1].json
    assert agent.invoke("exit").json["errorType"] == "Runtime.ExitError"
    after = agent.invoke().json
    assert after[0] not in imports(before)


THREAD = """
import threading
alive = threading.Event()
threading.Thread(target=alive.wait, daemon=True).start()
"""


def test_a_handler_that_starts_threads_is_imported_for_each_slot(agent: Agent) -> None:
    agent.specialise(THREAD + SHARED + "    return threading.active_count()\n", concurrency=3)
    answers = invoke_all(agent)
    assert len(imports(answers)) == len(pids(answers)) == 3
    assert agent.log.count("importing") == 3
    assert "starts threads" in agent.log
    assert set(children(agent.process.pid)) == pids(answers)


def test_an_agent_that_is_not_given_orphans_imports_for_each_slot(tmp_path: Path) -> None:
    with Agent(tmp_path, adopts=False) as agent:
        agent.specialise(SHARED, concurrency=2)
        answers = invoke_all(agent)
        assert len(imports(answers)) == 2
        assert set(children(agent.process.pid)) == pids(answers)


def test_fork_hooks_of_the_function_run_in_each_slot(agent: Agent) -> None:
    code = """
import os
connection = 'opened by %d' % os.getpid()
def reconnect():
    global connection
    connection = 'opened by %d' % os.getpid()
os.register_at_fork(after_in_child=reconnect)
def lambda_handler(event, context):
    return connection == 'opened by %d' % os.getpid()
"""
    agent.specialise(code, concurrency=2)
    assert [answer.json for answer in invoke_all(agent)] == [True, True]


def test_a_handler_that_cannot_be_imported_says_so_in_every_slot(agent: Agent) -> None:
    agent.specialise("import nowhere\n", concurrency=2)
    for answer in invoke_all(agent) + invoke_all(agent):
        assert answer.json["errorType"] == "Runtime.ImportModuleError"
    assert agent.status()["init"]["state"] == "failed"


def test_a_handler_whose_import_exits_says_so_in_every_slot(agent: Agent) -> None:
    agent.specialise("import os\nos._exit(7)\n", concurrency=2)
    for answer in invoke_all(agent):
        reason = "Runtime exited with error: exit status 7"
        assert answer.json == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}",
        }


def test_the_end_of_the_agent_is_the_end_of_all(agent: Agent) -> None:
    agent.specialise(SHARED, concurrency=4)
    invoke_all(agent)
    wait_until(lambda: len(children(agent.process.pid)) == 5)
    processes = children(agent.process.pid)
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(60) == 0
    wait_until(lambda: all(map(is_over, processes)))
