"""The Telemetry API and the Logs API before it: extensions hear of all that happens in their execution environment."""

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.ports import free_port
from tests.runtime import builds
from tests.runtime.agent_client import REQUEST_ID, Agent, wait_until
from tests.runtime.bootstraps import ECHO, runtime
from tests.runtime.extension_programs import install

SUBSCRIBER = """
register('INVOKE', 'SHUTDOWN')
subscribe(json.loads(os.environ['SUBSCRIPTION']), os.environ.get('SUBSCRIBE_AT', '/2022-07-01/telemetry'))
while next_event()['eventType'] != 'SHUTDOWN':
    say('has an event')
"""
WAIT_SECONDS = 60

Event = dict[str, Any]


class Events:
    """What has come, and whoever waits for more."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._changed = threading.Condition()

    def add(self, events: list[Event]) -> None:
        with self._changed:
            self._events += events
            self._changed.notify_all()

    def until(self, is_enough: Callable[[list[Event]], object]) -> list[Event]:
        """All of them, once they are enough."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_enough(self._events), WAIT_SECONDS), self._events
            return list(self._events)

    def until_type(self, kind: str, count: int = 1) -> list[Event]:
        """All of them, once so many of this type have come."""
        return self.until(lambda events: kinds(events).count(kind) >= count)


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def records(events: list[Event], kind: str) -> list[Any]:
    return [event["record"] for event in events if event["type"] == kind]


class Listener:
    """An HTTP server as an extension has it. It is the test's: an environment of local mode shares our localhost."""

    def __init__(self, port: int = 0) -> None:
        self.events = Events()
        self.statuses: list[int] = []
        """What it answers to the next deliveries; then 200."""
        self.paths: list[str] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.paths.append(self.path)
                status = listener.statuses.pop(0) if listener.statuses else 200
                if status == 200:
                    listener.events.add(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def subscription(port: int, *types: str, **changes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": "2022-12-13",
        "types": types or ("platform", "function", "extension"),
        "buffering": {"timeoutMs": 25, "maxBytes": 262_144, "maxItems": 1_000},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}/events?of=it"},
        **changes,
    }


def start(agent: Agent, request: dict[str, Any], body: str = ECHO, path: str = "", **changes: Any) -> None:
    """An instance with an extension that subscribes."""
    install(agent, subscriber=SUBSCRIBER)
    variables = {"SUBSCRIPTION": json.dumps(request), **({"SUBSCRIBE_AT": path} if path else {})}
    specialise(agent, body, environment=variables, **changes)


def specialise(agent: Agent, body: str, **changes: Any) -> None:
    settings = {"runtime": "provided.al2023", "handler": "any", "timeout_seconds": WAIT_SECONDS, **changes}
    assert agent.specialise(runtime(body), **settings).status == 200


def test_an_extension_hears_of_the_environments_life(agent: Agent, listener: Listener) -> None:
    start(agent, subscription(listener.port))
    answer = agent.invoke({"n": 1}, lambda_runtime_trace_id="Root=1-2-3")
    events = listener.events.until(lambda events: {"platform.report", "extension"} <= set(kinds(events)))
    assert set(listener.paths) == {"/events?of=it"}
    assert [kind for kind in kinds(events) if kind.startswith("platform.")] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        *sorted(("platform.initRuntimeDone", "platform.extension"), key=kinds(events).index),
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ]
    initialised = {"initializationType": "on-demand", "phase": "init"}
    [began] = records(events, "platform.initStart")
    assert began == {**initialised, "functionName": "hello", "functionVersion": "$LATEST"}
    assert records(events, "platform.initRuntimeDone") == [{**initialised, "status": "success"}]
    [init] = records(events, "platform.initReport")
    assert init.pop("metrics")["durationMs"] > 0
    assert init == {**initialised, "status": "success"}
    told = {"name": "subscriber", "state": "Subscribed", "types": ["platform", "function", "extension"]}
    assert records(events, "platform.telemetrySubscription") == [told]
    ready = {"name": "subscriber", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    assert records(events, "platform.extension") == [ready]
    tracing = {"type": "X-Amzn-Trace-Id", "value": "Root=1-2-3"}
    known = {"requestId": REQUEST_ID, "tracing": tracing}
    assert records(events, "platform.start") == [{**known, "version": "$LATEST"}]
    [done], [report] = records(events, "platform.runtimeDone"), records(events, "platform.report")
    duration_ms = int(answer.headers["x-funclet-duration-us"]) / 1000
    metrics = {"durationMs": duration_ms, "producedBytes": len(answer.body)}
    assert done == {**known, "status": "success", "metrics": metrics}
    assert report["metrics"].keys() == {
        "durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs",
    }  # fmt: skip
    assert (report["status"], report["metrics"]["durationMs"]) == ("success", duration_ms)
    assert records(events, "function") == ["event {'n': 1}"]
    assert records(events, "extension") == ["subscriber has an event"]
    assert kinds(events).index("function") < kinds(events).index("platform.runtimeDone")


@pytest.mark.parametrize(
    ("body", "timeout_seconds", "told"),
    [
        ("next_invocation()\nsys.exit(3)\n", WAIT_SECONDS, {"status": "error", "errorType": "Runtime.ExitError"}),
        ("next_invocation()\ntime.sleep(600)\n", 1, {"status": "timeout"}),
    ],
)
def test_a_failure_is_told_with_its_type(
    agent: Agent, listener: Listener, body: str, timeout_seconds: int, told: dict[str, str]
) -> None:
    start(agent, subscription(listener.port, "platform"), body, timeout_seconds=timeout_seconds)
    agent.invoke()
    events = listener.events.until_type("platform.report")
    for kind in ("platform.runtimeDone", "platform.report"):
        [record] = records(events, kind)
        assert {name: record[name] for name in ("status", "errorType") if name in record} == told


def test_an_init_phase_within_an_invocation_says_so(agent: Agent, listener: Listener) -> None:
    start(agent, subscription(listener.port, "platform"), "sys.exit(1)\n")
    assert agent.invoke().json["errorType"] == "Runtime.ExitError"
    events = listener.events.until_type("platform.report")
    told = [(record["phase"], record["status"]) for record in records(events, "platform.initReport")]
    assert ("invoke", "error") in told


def test_an_extension_gets_what_it_has_subscribed_to_and_by_tcp_a_line_each(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        destination = {"protocol": "TCP", "port": server.getsockname()[1]}
        start(agent, subscription(0, "function", destination=destination))
        for n in range(2):
            agent.invoke(n)
        connection, _ = server.accept()
        with connection, connection.makefile() as lines:
            told = [json.loads(next(lines)) for _ in range(2)]
    assert [(event["type"], event["record"]) for event in told] == [("function", "event 0"), ("function", "event 1")]


def test_lines_of_json_are_objects_where_the_log_is_json(agent: Agent, listener: Listener) -> None:
    body = "print(json.dumps({'level': 'INFO', 'message': 'hi'}), 'page' + chr(12), sep=chr(10), flush=True)\n" + ECHO
    start(agent, subscription(listener.port, "function"), body, log_format="JSON")
    events = listener.events.until_type("function", 2)
    assert records(events, "function") == [{"level": "INFO", "message": "hi"}, "page\f"]


def test_a_delivery_is_tried_again_until_it_succeeds(agent: Agent, listener: Listener) -> None:
    listener.statuses += [500, 404, 302]
    start(agent, subscription(listener.port, "platform"))
    agent.invoke()
    events = listener.events.until_type("platform.report")
    assert kinds(events).count("platform.initStart") == 1


def test_a_listener_may_come_after_the_subscription(agent: Agent) -> None:
    port = free_port()
    start(agent, subscription(port, "platform"))
    agent.invoke()
    late = Listener(port)
    try:
        events = late.events.until_type("platform.report")
    finally:
        late.close()
    assert "platform.initStart" in kinds(events)


def test_what_a_slow_listener_has_no_room_for_is_counted(agent: Agent) -> None:
    body = ECHO.replace("print('event', event)", "print(('x' * 1000 + chr(10)) * 1000, flush=True)")
    port = free_port()
    start(agent, subscription(port, "platform", "function"), body)
    agent.invoke()
    slow = Listener(port)
    try:
        events = slow.events.until_type("platform.logsDropped")
    finally:
        slow.close()
    [dropped] = records(events, "platform.logsDropped")
    assert dropped["droppedRecords"] > 0
    assert dropped["droppedBytes"] > 1000 * dropped["droppedRecords"] / 2


def test_the_end_delivers_what_is_there(agent: Agent, listener: Listener) -> None:
    buffering = {"timeoutMs": 30_000}
    start(agent, subscription(listener.port, "platform", buffering=buffering))
    agent.invoke()
    agent.process.terminate()
    assert agent.process.wait(60) == 0
    assert "platform.report" in kinds(listener.events.until_type("platform.report"))


@pytest.mark.parametrize(("version", "more"), [(None, []), ("2021-03-18", ["platform.runtimeDone"])])
def test_the_logs_api_has_events_of_its_own(
    agent: Agent, listener: Listener, version: str | None, more: list[str]
) -> None:
    request = subscription(listener.port, "platform", "function")
    request = {name: value for name, value in request.items() if name != "schemaVersion"}
    start(agent, {**request, "schemaVersion": version} if version else request, path="/2020-08-15/logs")
    agent.invoke()
    events = listener.events.until_type("platform.report")
    assert [kind for kind in kinds(events) if kind != "platform.extension"] == [
        *("platform.logsSubscription", "platform.start", "function"),
        *more,
        *("platform.end", "platform.report"),
    ]


TOLD = "asker was told "
RULES = """
told = [subscribe({})]
register('INVOKE')
request = json.loads(os.environ['SUBSCRIPTION'])
told += [subscribe({**request, 'types': [], 'destination': {'protocol': 'HTTP', 'URI': 'http://sandbox.localdomain'}})]
told += [subscribe(request), subscribe(request), subscribe(request, '/2020-08-15/logs')]
api.request('GET', BASE + '/event/next', None, {'Lambda-Extension-Identifier': identifier})
api.getresponse().read()
told += [subscribe(request)]
say('was told', json.dumps(told))
next_event()
"""


def test_the_rules_of_subscribing(agent: Agent, listener: Listener) -> None:
    install(agent, asker=RULES, subscriber=SUBSCRIBER)
    variables = {"SUBSCRIPTION": json.dumps(subscription(listener.port, "extension"))}
    specialise(agent, ECHO, environment=variables)
    agent.invoke()
    events = listener.events.until(lambda events: any(TOLD in line for line in records(events, "extension")))
    [line] = [line for line in records(events, "extension") if TOLD in line][:1]
    statuses, bodies = zip(*json.loads(line.partition(TOLD)[2]), strict=True)
    assert statuses == (403, 400, 200, 200, 400, 403)
    nobody, bad, first, second, other, late = bodies
    assert nobody["errorType"] == "Extension.MissingExtensionIdentifier"
    wrong = "URI port is not provided; types should not be empty"
    assert bad == {"errorType": "ValidationError", "errorMessage": wrong}
    assert (first, second) == ("OK", "AlreadySubscribed")
    assert other["errorType"] == "Logs.AccessDenied"
    assert late["errorType"] == "Telemetry.SubscriptionClosed"


@pytest.mark.timeout(900)  # the first run on a machine builds it
def test_an_extension_with_awss_own_crate_understands_every_event(agent: Agent) -> None:
    """The crate `lambda-extension`, unmodified: it refuses records that are not as AWS has them."""
    port = free_port()
    program = builds.build_function(builds.RUST, builds.CLIENTS_FOLDER / "rust-extension") / "bootstrap"
    (agent.opt_root / "extensions").mkdir(parents=True)
    shutil.copy(program, agent.opt_root / "extensions" / "shipper")
    variables = {"SHIPPER_PORT": str(port)}
    specialise(agent, ECHO, environment=variables)
    agent.invoke("x", lambda_runtime_trace_id="Root=1-2-3")
    wait_until(lambda: "shipped PlatformReport" in agent.log)
    wanted = (
        "PlatformInitStart", "PlatformTelemetrySubscription", "PlatformInitRuntimeDone", "PlatformInitReport",
        "PlatformExtension", "PlatformStart", 'Function("event x")', "PlatformRuntimeDone", "PlatformReport",
    )  # fmt: skip
    assert [name for name in wanted if f"shipped {name}" not in agent.log] == []
