"""One execution environment: the runtime's and the extensions' processes, and the Runtime API that they talk to.

It knows what each of them waits for, and nothing of gateways and timers. Its owner does (runtime_slot), and hears of
what happens by the calls of `Owner`.
"""

import base64
import binascii
import json
import os
import socket
from typing import TYPE_CHECKING, Protocol

from funclet_agent import bootstrap, extensions, runtime_api
from funclet_agent.environment import log_stream_name
from funclet_agent.extensions import Extensions, RefusedError
from funclet_agent.failures import exit_failure, exit_reason
from funclet_agent.http_server import Exchange, HttpServer
from funclet_agent.invocation import Invocation, Outcome, failed, platform_failure
from funclet_agent.loop import Loop
from funclet_agent.marshalling import MAX_ANSWER_BYTES
from funclet_agent.platform_events import PlatformEvents
from funclet_agent.process import Plan
from funclet_agent.relay import Relay
from funclet_agent.runtime_doors import ApiDoor
from funclet_agent.sandbox import Sandbox
from funclet_agent.spawning import SpawnError
from funclet_agent.specialisation import IMAGE_RUNTIME
from funclet_agent.streaming import MAX_STREAM_BYTES, is_wanted
from funclet_agent.telemetry import Telemetry
from funclet_agent.telemetry_subscription import EXTENSION, FUNCTION, Api

if TYPE_CHECKING:
    from funclet_agent.neighbour import Neighbour

HOST = "127.0.0.1"


class Owner(Protocol):
    """Who runs this environment."""

    @property
    def request_id(self) -> str:
        """Of the invocation that is out or waits for the init phase; empty without one."""

    def on_output(self, data: bytes) -> None:
        """Something was printed."""

    def on_ready(self) -> None:
        """Runtime and extensions have all asked for their next event."""

    def on_outcome(self, outcome: Outcome) -> None:
        """The invocation that was delivered has its answer."""

    def on_broken(self, outcome: Outcome) -> None:
        """The environment is of no use any more; this is what a caller who waits should hear."""

    def on_ended(self) -> None:
        """The last process is gone."""


class ExecutionEnvironment:
    """Started anew for each runtime process."""

    def __init__(
        self, owner: Owner, plan: Plan, loop: Loop, listener: socket.socket, neighbour: "Neighbour | None" = None
    ) -> None:
        self._owner = owner
        self._spec = plan.spec
        places = self._places = plan.places
        self._server = HttpServer(listener, loop, ApiDoor(self))
        api = f"{HOST}:{self._server.port}"
        stream = log_stream_name(plan.spec.function_version)
        self._variables = bootstrap.runtime_environment(os.environ, plan.spec, places, stream, api)
        pid_file = f"{places.runtime}/pid" if plan.spec.runtime == IMAGE_RUNTIME else None
        self._telemetry = Telemetry(loop)
        self.events = PlatformEvents(self._telemetry, plan.spec)
        self._sandbox = neighbour or Sandbox(loop, plan.limits, self._on_output, self._on_extension_output, pid_file)
        self._extensions = Extensions(extensions.find_programs(f"{places.opt}/extensions"))
        self._next: Exchange | None = None
        self._out: Invocation | None = None
        self._ending = False

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return self._sandbox.pids

    @property
    def is_ready(self) -> bool:
        """Whether an invocation can be delivered."""
        return self._next is not None and self._extensions.all_ready

    @property
    def has_extensions(self) -> bool:
        """Whether somebody must be told before the end."""
        return any(extension.wants(extensions.SHUTDOWN) for extension in self._extensions)

    @property
    def peak_memory_mib(self) -> int:
        """Of the runtime."""
        return self._sandbox.peak_memory_mib

    def drain_output(self) -> None:
        """Pass on all that has been printed."""
        self._sandbox.drain_output()

    def _on_output(self, data: bytes) -> None:
        self._owner.on_output(data)
        self._telemetry.publish_lines(FUNCTION, data, as_json=self._spec.log_format == "JSON")

    def _on_extension_output(self, data: bytes) -> None:
        self._owner.on_output(data)
        self._telemetry.publish_lines(EXTENSION, data, as_json=False)

    def start(self, *, eager: bool) -> None:
        """The extensions first; the runtime when all of them have registered. A neighbour runs already.

        `eager`: before anybody calls.
        """
        self.events.init_started(eager=eager)
        if not isinstance(self._sandbox, Sandbox):
            # Nobody here is told how it ends: "without providing a reason" is what there is to say.
            self._sandbox.follow(lambda pid: self.child_ended(pid, 0))
            return
        folder = f"{self._places.opt}/extensions"
        variables = bootstrap.extension_environment(self._variables)
        try:
            for extension in self._extensions:
                self._sandbox.start_extension(extension.name, f"{folder}/{extension.name}", variables)
        except SpawnError as error:
            self._break("Extension.LaunchError", f"fork/exec {folder}/{extension.name}: {error}")
            return
        if self._extensions.all_registered:
            self._start_runtime()

    def _start_runtime(self) -> None:
        assert isinstance(self._sandbox, Sandbox)
        try:
            command = bootstrap.find_command(self._spec, self._places)
        except bootstrap.BootstrapError as error:
            self._break("Runtime.InvalidEntrypoint", str(error))
            return
        try:
            self._sandbox.start_runtime(command, self._variables, self._places.task)
        except SpawnError as error:
            self._break("Runtime.InvalidEntrypoint", f"fork/exec {command[0]}: {error}")

    def _break(self, kind: str, message: str) -> None:
        self._owner.on_broken(failed(platform_failure(kind, self._owner.request_id, message)))

    def deliver(self, invocation: Invocation) -> None:
        """Give everybody the invocation."""
        assert self._next is not None
        request = invocation.exchange
        arn = runtime_api.invoked_arn(self._spec, request.head.headers)
        headers = runtime_api.invocation_headers(
            arn, invocation.request_id, invocation.deadline_ms, request.head.headers
        )
        exchange, self._next, self._out = self._next, None, invocation
        event = extensions.invoke_event(arn, invocation.request_id, invocation.deadline_ms, invocation.trace_id)
        for extension in self._extensions:
            if extension.wants(extensions.INVOKE):
                extension.give(event)
        exchange.respond(200, bytes(request.body), headers)

    def end(self, reason: str, deadline_ms: int) -> None:
        """Ask those who want to be asked to end, kill the others; `kill` ends the rest when its time is up.

        Lambda's shutdown phase: SIGTERM to the runtime (when it is not being punished), SHUTDOWN to the extensions.
        """
        self._ending = True
        self._out = None
        self._telemetry.hurry()
        asked = [extension for extension in self._extensions if extension.wants(extensions.SHUTDOWN)]
        for extension in asked:
            extension.give(extensions.shutdown_event(reason, deadline_ms))
        names = {extension.name for extension in asked}
        self._sandbox.kill([pid for pid, name in self._sandbox.extension_pids.items() if name not in names])
        if reason == "spindown":
            self._sandbox.terminate_runtime()
        elif self._sandbox.runtime_pid:
            self._sandbox.kill([self._sandbox.runtime_pid])
        self._look_for_the_end()

    def kill(self) -> None:
        """All that is left."""
        self._sandbox.kill(self._sandbox.pids)

    def child_ended(self, pid: int, exit_code: int) -> None:
        """One of these processes ended and is reaped."""
        name = self._sandbox.reap(pid)
        if self._ending:
            self._look_for_the_end()
        elif name:
            self._break("Extension.Crash", exit_reason(exit_code))
        else:
            failure = exit_failure(self._owner.request_id, exit_code)
            self._owner.on_broken(failed(failure))

    def _look_for_the_end(self) -> None:
        if not self._sandbox.pids:
            self._server.close()
            self._sandbox.close()
            self._telemetry.close()
            self._owner.on_ended()

    def runtime_next(self, exchange: Exchange) -> None:
        """GET /runtime/invocation/next."""
        if self._out is not None or self._next is not None:
            exchange.respond(403, runtime_api.transition_refused("Ready", "Running" if self._out else "Ready"))
            return
        self._extensions.closed = True
        self.events.init_runtime_done("")
        self._next = exchange
        self._tell_if_ready()

    def _tell_if_ready(self) -> None:
        if self.is_ready and not self._ending:
            self._owner.on_ready()

    def runtime_stream(self, exchange: Exchange, request_id: str) -> None:
        """The head of a streamed answer: what follows goes to the caller as it comes, if that reads a stream."""
        out = self._out
        if out is not None and out.request_id == request_id and is_wanted(out.exchange.head.headers):
            Relay(exchange, out.exchange).begin()

    def runtime_response(self, exchange: Exchange, request_id: str) -> None:
        """POST /runtime/invocation/{id}/response, streamed or not; trailers tell of an error in the middle."""
        if not self._may_answer(exchange, request_id, "InvocationResponse"):
            return
        if exchange.too_long:
            limit = MAX_STREAM_BYTES if exchange.sink else MAX_ANSWER_BYTES
            message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
            self._settle(failed({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}))
            exchange.respond(413, runtime_api.too_large(limit))
            return
        error_type = exchange.trailers.get(b"lambda-runtime-function-error-type", b"").decode("latin-1")
        self._settle(_stream_failure(exchange, error_type) if error_type else Outcome(bytes(exchange.body)))
        exchange.respond(202, runtime_api.ACCEPTED)

    def runtime_error(self, exchange: Exchange, request_id: str) -> None:
        """POST /runtime/invocation/{id}/error."""
        if self._may_answer(exchange, request_id, "InvocationErrorResponse"):
            self._settle(_told_failure(exchange))
            exchange.respond(202, runtime_api.ACCEPTED)

    def _may_answer(self, exchange: Exchange, request_id: str, wanted: str) -> bool:
        if self._out is None:
            exchange.respond(403, runtime_api.transition_refused(wanted, "Ready"))
        elif request_id != self._out.request_id:
            exchange.respond(400, runtime_api.INVALID_REQUEST_ID)
        return self._out is not None and request_id == self._out.request_id

    def _settle(self, outcome: Outcome) -> None:
        self._out = None
        self._owner.on_outcome(outcome)

    def runtime_init_error(self, exchange: Exchange) -> None:
        """POST /runtime/init/error."""
        if self._extensions.closed:
            exchange.respond(403, runtime_api.transition_refused("InitError", "Ready"))
            return
        exchange.respond(202, runtime_api.ACCEPTED)
        self._owner.on_broken(_told_failure(exchange))

    def runtime_lost(self, exchange: Exchange) -> None:
        """A client is gone that waited for its next event: it may ask again."""
        if exchange is self._next:
            self._next = None
        for extension in self._extensions:
            extension.forget(exchange)

    def extension_register(self, exchange: Exchange) -> None:
        """POST /extension/register."""
        headers = exchange.head.headers
        extension = self._extensions.register(headers, bytes(exchange.body))
        body = extensions.registration(self._spec, headers.get(extensions.ACCEPT_HEADER, b""))
        exchange.respond(200, body, b"Lambda-Extension-Identifier: %s\r\n" % extension.identifier.encode())
        if not self._sandbox.runtime_pid and self._extensions.all_registered and not self._ending:
            self._start_runtime()

    def extension_next(self, exchange: Exchange) -> None:
        """GET /extension/event/next."""
        extension = self._extensions.identify(exchange.head.headers)
        if extension.is_waiting:
            raise RefusedError("Extension.InvalidExtensionState", "It waits for its next event already")
        if not extension.has_asked:
            self.events.extension(extension, "Ready")
        extension.wait(exchange)
        self._tell_if_ready()

    def extension_subscribe(self, exchange: Exchange, api: Api) -> None:
        """PUT /telemetry and /logs."""
        extension = self._extensions.identify(exchange.head.headers)
        told = self._telemetry.subscribe(extension.name, api, bytes(exchange.body))
        exchange.respond(200, json.dumps(told).encode())

    def extension_error(self, exchange: Exchange) -> None:
        """POST /extension/init/error and /extension/exit/error."""
        extension = self._extensions.identify(exchange.head.headers)
        kind = exchange.head.headers.get(extensions.ERROR_TYPE_HEADER, b"").decode("latin-1")
        if not kind:
            raise RefusedError("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
        exchange.respond(202, runtime_api.ACCEPTED)
        if not self._ending:
            phase = "InitError" if exchange.head.target.endswith(b"init/error") else "ExitError"
            self.events.extension(extension, phase, kind)
            self._break(f"Extension.{phase}", f"{extension.name}: {kind}")


def _told_failure(exchange: Exchange) -> Outcome:
    """The error object that the runtime has sent, as it is."""
    kind = exchange.head.headers.get(b"lambda-runtime-function-error-type", b"").decode("latin-1")
    return Outcome(bytes(exchange.body), error_type=kind or "Runtime.UnknownReason")


def _stream_failure(exchange: Exchange, kind: str) -> Outcome:
    """The error object of a stream's trailers: base64 in Lambda-Runtime-Function-Error-Body."""
    try:
        body = base64.b64decode(exchange.trailers.get(b"lambda-runtime-function-error-body", b""), validate=True)
    except binascii.Error:
        body = b""
    return Outcome(body or json.dumps({"errorType": kind, "errorMessage": ""}).encode(), error_type=kind)
