"""Instances as processes of this machine, for local mode: the same agent, with ports of 127.0.0.1 that are free.

An instance dies with this process (PR_SET_PDEATHSIG on Linux) and leaves no folder behind.
"""

import asyncio
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from funclet.adapters.instances.backend import InstanceEvent, Observed, Phase, ResizeResult, Synced, Vanished
from funclet.adapters.instances.containers import bring_image, find_engine, find_problem, write_bootstrap
from funclet.adapters.instances.machine_runtimes import runtime_root
from funclet.adapters.parentage import adopt_orphans, be_killed_with_parent
from funclet.core.instances import InstanceRequest
from funclet.core.runtimes import family
from funclet.errors import Unavailable

HOST = "127.0.0.1"
START_TIMEOUT_SECONDS = 60.0
PROBE_TIMEOUT_SECONDS = 60.0
LAST_LINES_SECONDS = 5.0
"""For what is still in the log's pipe when the agent has ended."""
WRITABLE = ("/tmp", "/dev", "/proc")  # noqa: S108
"""Of this machine, by every function; as in a pod."""
LINE_LIMIT_BYTES = 256 * 1024
"""Lambda cuts log lines there as well (CloudWatch Logs: 256 KB an event)."""

OnLog = Callable[[str, str], None]


@functools.cache
def find_interpreter(runtime: str) -> tuple[str, bool]:
    """The interpreter for a runtime and whether it is exactly that one; else the nearest, preferably an older one."""
    if family(runtime) != "python":
        # Such an instance's agent only: any Python does.
        return sys.executable, True
    if exact := _find_working(runtime):
        return exact, True
    if runtime == f"python3.{sys.version_info.minor}":
        return sys.executable, True
    wanted = int(match.group(1)) if (match := re.fullmatch(r"python3\.(\d+)", runtime)) else sys.version_info.minor
    for minor in [*range(wanted - 1, 8, -1), *range(wanted + 1, wanted + 5)]:
        if near := _find_working(f"python3.{minor}"):
            return near, False
    return sys.executable, False


def _find_working(name: str) -> str | None:
    """A program of this name that starts: version managers put wrappers on PATH for versions that are not in force."""
    found = shutil.which(name)
    if found is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a program named by us, found on the user's own PATH
            [found, "-I", "-c", ""], capture_output=True, timeout=PROBE_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found if answer.returncode == 0 else None


@dataclass(slots=True)
class _Running:
    process: Process
    folder: Path
    seen: Observed
    ready: "_Reader"
    watcher: asyncio.Task[None] = field(init=False)


class ProcessBackend:
    """Starts `<interpreter> <agent>` once per instance, in a folder of its own below `root`.

    A function may write into its instance's own folders for that, into /tmp, and into `writable`.
    """

    def __init__(
        self,
        agent: Path,
        on_log: OnLog = lambda name, line: None,
        root: Path | None = None,
        writable: Iterable[Path] = (),
    ) -> None:
        self._agent = agent
        self._on_log = on_log
        self._root = root
        self._writable = [*WRITABLE, *map(str, writable)]
        self._starting: dict[str, asyncio.Task[_Running]] = {}
        self._running: dict[str, _Running] = {}
        self._closed = False
        self._events: asyncio.Queue[InstanceEvent] = asyncio.Queue()

    async def create(self, request: InstanceRequest) -> None:
        """Start the agent; returns when it listens."""
        if request.name in self._running or request.name in self._starting:
            return
        engine = await _bring_image(request)
        if self._closed:
            raise Unavailable("it is the end: no instance is started any more", reason="Stopping")
        starting = self._starting[request.name] = asyncio.create_task(self._start(request, engine))
        starting.add_done_callback(lambda _: self._starting.pop(request.name))
        # One that is cut off half-way would leave a process or a folder that nobody knows.
        await self._await_port(request.name, await asyncio.shield(starting))

    async def delete(self, namespace: str, name: str, grace_seconds: int) -> None:
        """End the agent and whatever it started."""
        if starting := self._starting.get(name):
            await asyncio.wait([starting])
        running = self._running.get(name)
        if running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            running.process.terminate()
        done, _ = await asyncio.wait([running.watcher], timeout=max(grace_seconds, 0.1))
        if not done:
            _kill_group(running.process.pid)
            await asyncio.wait([running.watcher])

    async def label(self, namespace: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> None:
        """Remember labels and annotations, as the API server does for pods."""
        if running := self._running.get(name):
            seen = running.seen
            running.seen = replace(
                seen, labels={**seen.labels, **labels}, annotations={**seen.annotations, **annotations}
            )

    async def resize(self, namespace: str, name: str, memory_mib: int, limit_mib: int) -> ResizeResult:
        """A process takes what it needs: nothing to do."""
        if running := self._running.get(name):
            running.seen = replace(running.seen, memory_mib=memory_mib, granted_memory_mib=limit_mib)
            self._events.put_nowait(running.seen)
        return ResizeResult.ACCEPTED

    async def watch(self) -> AsyncIterator[InstanceEvent]:
        """No instance outlives the process that started it, so a watch begins with what this one has."""
        for running in list(self._running.values()):
            yield running.seen
        yield Synced()
        while True:
            yield await self._events.get()

    async def close(self) -> None:
        """End all instances, and start none any more."""
        self._closed = True
        names = [*self._starting, *self._running]
        await asyncio.gather(*(self.delete("", name, grace_seconds=1) for name in names))

    def find_pid(self, name: str) -> int | None:
        """The process id of an instance's agent."""
        running = self._running.get(name)
        return running.process.pid if running else None

    async def _start(self, request: InstanceRequest, engine: str | None) -> _Running:
        folder = Path(tempfile.mkdtemp(prefix=f"{request.name}-", dir=self._root))
        ready, log = _Pipe(), _Pipe()
        try:
            if engine:
                write_bootstrap(folder / "runtime", engine, request)
            process = await self._execute(request, folder, ready.writer, log.writer)
        except OSError as error:
            ready.close_reader()
            log.close_reader()
            shutil.rmtree(folder, ignore_errors=True)
            raise Unavailable(f"cannot start {request.runtime}: {error}", reason="InterpreterFailed") from error
        finally:
            ready.close_writer()
            log.close_writer()
        copying = asyncio.create_task(self._copy_log(request.name, await log.open_reader()))
        running = _Running(process, folder, _pending(request), await ready.open_reader())
        running.watcher = asyncio.create_task(self._wait(request.name, running, copying))
        self._running[request.name] = running
        return running

    async def _execute(self, request: InstanceRequest, folder: Path, ready_fd: int, log_fd: int) -> Process:
        for name in ("task", "opt", "tmp", "home"):
            (folder / name).mkdir()
        interpreter, _ = find_interpreter(request.runtime)
        return await asyncio.create_subprocess_exec(
            interpreter,
            "-I",
            str(self._agent),
            env=_environment(request, folder, self._writable, ready_fd),
            cwd=folder / "task",
            stdin=asyncio.subprocess.DEVNULL,
            # A pipe of our own: with asyncio's, Process.wait() would also wait for whoever inherited it.
            stdout=log_fd,
            stderr=STDOUT,
            pass_fds=(ready_fd,),
            start_new_session=True,
            preexec_fn=_become_agent,
        )

    async def _await_port(self, name: str, running: _Running) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                line = await running.ready.stream.readline()
        except TimeoutError:
            line = b""
        finally:
            running.ready.close()
        if not line.strip().isdigit():
            _kill_group(running.process.pid)
            raise Unavailable(f"instance {name} did not start", reason="InstanceFailed")
        running.seen = replace(running.seen, phase=Phase.RUNNING, host=HOST, agent_port=int(line))
        self._events.put_nowait(running.seen)

    async def _copy_log(self, name: str, log: "_Reader") -> None:
        rest = b""
        try:
            while chunk := await log.stream.read(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_LIMIT_BYTES:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._on_log(name, line.decode(errors="replace"))
            if rest:
                self._on_log(name, rest.decode(errors="replace"))
        finally:
            log.close()

    async def _wait(self, name: str, running: _Running, copying: asyncio.Task[None]) -> None:
        await running.process.wait()
        running.ready.close()
        _kill_group(running.process.pid)
        await asyncio.wait([copying], timeout=LAST_LINES_SECONDS)
        copying.cancel()
        await asyncio.to_thread(shutil.rmtree, running.folder, ignore_errors=True)
        del self._running[name]
        self._events.put_nowait(Vanished(running.seen.namespace, name))


@dataclass(frozen=True, slots=True)
class _Reader:
    stream: asyncio.StreamReader
    transport: asyncio.ReadTransport

    def close(self) -> None:
        self.transport.close()


class _Pipe:
    """A pipe whose writing end goes to a child."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def close_writer(self) -> None:
        os.close(self.writer)

    async def open_reader(self) -> _Reader:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(self._reader, "rb")
        )
        return _Reader(stream, transport)

    def close_reader(self) -> None:
        os.close(self._reader)


def _pending(request: InstanceRequest) -> Observed:
    return Observed(
        request.namespace,
        request.name,
        Phase.PENDING,
        memory_mib=request.memory_mib,
        labels={**request.pod.labels, **request.labels},
        annotations={**request.pod.annotations, **request.annotations},
    )


async def _bring_image(request: InstanceRequest) -> str | None:
    """The engine that can run the request's image now; None for one without."""
    if request.image is None:
        return None
    engine = await asyncio.to_thread(find_engine)
    if engine is None:
        raise Unavailable(find_problem(), reason="RuntimeNotFound")
    await bring_image(engine, request)
    return engine


def _environment(request: InstanceRequest, folder: Path, writable: Sequence[str], ready_fd: int) -> dict[str, str]:
    """All that the agent sees: nothing of this process but the PATH and the language."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {
        **kept,
        "FUNCLET_INSTANCE_NAME": request.name,
        "FUNCLET_SPECIALISE_TOKEN_SHA256": request.specialise_token_sha256,
        "FUNCLET_INVOKE_TOKEN_SHA256": request.invoke_token_sha256,
        "FUNCLET_COUNT_MEMORY": "1",
        "FUNCLET_TMP_MIB": str(request.ephemeral_storage_mib),
        "FUNCLET_AGENT_PORT": "0",
        "FUNCLET_SLOT_PORT": "0",
        "FUNCLET_BIND": HOST,
        "FUNCLET_READY_FD": str(ready_fd),
        "FUNCLET_TASK_ROOT": str(folder / "task"),
        "FUNCLET_OPT_ROOT": str(folder / "opt"),
        "FUNCLET_WRITABLE": ":".join([*writable, str(folder / "tmp"), str(folder / "home")]),
        "FUNCLET_RUNTIME_ROOT": str(folder / "runtime" if request.image else runtime_root(request.runtime)),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
    }


def _become_agent() -> None:
    be_killed_with_parent()
    adopt_orphans()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
