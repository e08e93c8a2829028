"""What the agent says in the place of a handler process that died in the middle of an invocation."""

import json
import time
from binascii import b2a_base64

from funclet_agent.failures import exit_failure, timeout_failure, timeout_message
from funclet_agent.lines import Report
from funclet_agent.process import Plan
from funclet_agent.state import STREAMING, TAIL_BYTES, State
from funclet_agent.streaming import ending
from funclet_agent.wire import answer


class Death:
    """How it ended. `exit_code` is negative for a signal; `init_us`: the init phase that this invocation pays for."""

    def __init__(self, exit_code: int, timed_out: bool, max_memory_mib: int) -> None:
        self.exit_code = exit_code
        self.timed_out = timed_out
        self.max_memory_mib = max_memory_mib
        self.init_us = 0
        self.at_ns = time.monotonic_ns()


def closing_lines(plan: Plan, state: State, death: Death) -> tuple[bytes, bytes]:
    """The log lines that the invocation still lacks, and the body of its answer."""
    invocation = state.invocation
    request_id = invocation.request_id
    timeout_seconds = plan.spec.timeout_seconds
    began_at = time.time() - (death.at_ns - invocation.started_ns) / 1e9
    lines = b"" if state.started_line else plan.lines.start(request_id, began_at)
    if death.timed_out:
        failure = timeout_failure(request_id, timeout_seconds)
        lines += plan.lines.timeout(request_id, timeout_message(timeout_seconds))
        status = "timeout"
    else:
        failure = exit_failure(request_id, death.exit_code)
        status = "error\tError Type: Runtime.ExitError"
    lines += plan.lines.end(request_id, _report(state, death, status))
    if state.tail_wanted:
        state.write_tail((state.tail + lines)[-TAIL_BYTES:])
    return lines, json.dumps(failure).encode()


def final_answer(state: State, death: Death, body: bytes) -> bytes:
    """The whole answer to the waiting caller, or the end of one that has begun; call `closing_lines` first."""
    report = _report(state, death, "")
    headers = (
        "connection: close\r\nx-amz-function-error: Unhandled\r\n"
        f"x-funclet-duration-us: {report.duration_us}\r\nx-funclet-max-memory-mib: {report.max_memory_mib}\r\n"
    )
    if report.init_us:
        headers += f"x-funclet-init-us: {report.init_us}\r\n"
    if state.tail_wanted:
        headers += f"x-amz-log-result: {b2a_base64(state.tail, newline=False).decode()}\r\n"
    if state.phase == STREAMING:
        return ending(headers.encode(), body)
    return answer(200, body, headers.encode())


def _report(state: State, death: Death, status: str) -> Report:
    """Time that the function had is billed: up to its deadline, and the init phase with the first invocation."""
    invocation = state.invocation
    ended_ns = min(invocation.deadline_ns, death.at_ns) if death.timed_out else death.at_ns
    return Report((ended_ns - invocation.started_ns) // 1000, death.init_us, death.max_memory_mib, status)
