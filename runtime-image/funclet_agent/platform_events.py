"""The platform's events of one execution environment.

Source: AWS's page "Lambda Telemetry API Event schema reference". Optional members that nothing here knows
(runtimeVersion, spans, instanceId) are left out.
"""

from funclet_agent.extensions import Extension
from funclet_agent.invocation import Invocation
from funclet_agent.lines import Report, report_metrics, split_status
from funclet_agent.specialisation import Specialisation
from funclet_agent.telemetry import Telemetry


class PlatformEvents:
    """Tells of the environment's life, if anybody listens."""

    def __init__(self, telemetry: Telemetry, spec: Specialisation) -> None:
        self._telemetry = telemetry
        self._spec = spec
        self._phase = "init"
        self._runtime_done = False

    def init_started(self, *, eager: bool) -> None:
        """`eager`: before an invocation, not as a part of it."""
        self._phase = "init" if eager else "invoke"
        facts = {"functionName": self._spec.name, "functionVersion": self._spec.function_version}
        self._telemetry.publish("platform.initStart", {**self._init(), **facts})

    def init_runtime_done(self, status: str) -> None:
        """The runtime has asked for its first invocation, or never will; `status` as REPORT has it."""
        if not self._runtime_done:
            self._runtime_done = True
            self._telemetry.publish("platform.initRuntimeDone", {**self._init(), **split_status(status)})

    def init_ended(self, duration_us: int, status: str) -> None:
        """Of the runtime and of all extensions."""
        self.init_runtime_done(status)
        metrics = {"durationMs": duration_us / 1000}
        self._telemetry.publish("platform.initReport", {**self._init(), **split_status(status), "metrics": metrics})
        self._telemetry.end_subscriptions()

    def _init(self) -> dict[str, object]:
        return {"initializationType": self._spec.initialization_type, "phase": self._phase}

    def extension(self, extension: Extension, state: str, error_type: str = "") -> None:
        """One of them is Ready, or has failed."""
        record: dict[str, object] = {"name": extension.name, "state": state, "events": sorted(extension.events)}
        self._telemetry.publish("platform.extension", record | ({"errorType": error_type} if error_type else {}))

    def invocation_started(self, invocation: Invocation) -> None:
        """It is about to be delivered."""
        if not self._telemetry.is_silent:
            version = {"version": self._spec.function_version}
            self._telemetry.publish("platform.start", {**_request(invocation), **version, **_tracing(invocation)})

    def invocation_ended(self, invocation: Invocation, report: Report, produced_bytes: int) -> None:
        """It is answered."""
        if self._telemetry.is_silent:
            return
        record = {**_request(invocation), **split_status(report.status), **_tracing(invocation)}
        metrics = {"durationMs": report.duration_us / 1000, "producedBytes": produced_bytes}
        self._telemetry.publish("platform.runtimeDone", record | {"metrics": metrics})
        self._telemetry.publish("platform.end", _request(invocation))
        self._telemetry.publish("platform.report", record | {"metrics": report_metrics(report, self._spec.memory_mib)})


def _request(invocation: Invocation) -> dict[str, object]:
    return {"requestId": invocation.request_id}


def _tracing(invocation: Invocation) -> dict[str, object]:
    return {"tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id}} if invocation.trace_id else {}
