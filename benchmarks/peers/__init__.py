"""The peers that are measured in the same run, each started as its users start it.

Programs: Go's ReverseProxy (built from reverse_proxy/), HAProxy (Debian). Python packages (functions-framework,
awslambdaric) live in an environment of their own, build/bench-peers, which `make bench` fills from
requirements-bench.lock.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.ports import free_port

from benchmarks.figure import Unmeasured
from benchmarks.processes import ROOT, Child, listening_on, printing_ports, running

FOLDER = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "bench"
VENV = ROOT / "build" / "bench-peers" / "bin"
HAPROXY_CONFIGURATION = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
listen functions
  bind 127.0.0.1:{port}
  balance leastconn
{servers}
"""


def program(name: str, hint: str) -> str:
    """Where a program is. Raises Unmeasured with what would install it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/go/bin")
    if found is None:
        raise Unmeasured(f"{name} is not on this machine: {hint}")
    return found


@contextlib.contextmanager
def reverse_proxy(slots: Sequence[int]) -> Iterator[Child]:
    """Go's httputil.ReverseProxy in front of these ports."""
    go = program("go", "install Go 1.24 or later")
    binary = BUILD / "reverse_proxy"
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "build", "-trimpath", "-o", binary, "."], cwd=FOLDER / "reverse_proxy", check=True)
    with printing_ports(binary, *slots) as child:
        yield child


@contextlib.contextmanager
def haproxy(slots: Sequence[int]) -> Iterator[Child]:
    """HAProxy in front of these ports, one request at a time for each."""
    binary = program("haproxy", "apt-get install haproxy")
    port = free_port()
    servers = "\n".join(f"  server s{slot} 127.0.0.1:{slot} maxconn 1" for slot in slots)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "haproxy.cfg")
        file.write_text(HAPROXY_CONFIGURATION.format(port=port, servers=servers))
        with listening_on(port, binary, "-db", "-f", file) as child:
            yield child


@contextlib.contextmanager
def functions_framework() -> Iterator[Child]:
    """Google's functions-framework: Flask under gunicorn, one worker, as its command starts it."""
    port = free_port()
    source = FOLDER / "flask_function.py"
    command = (venv_program("functions-framework"), "--target", "handler", "--source", source)
    with listening_on(port, *command, "--host", "127.0.0.1", "--port", port) as child:
        yield child


@contextlib.contextmanager
def runtime_interface_client(api_port: int) -> Iterator[Child]:
    """AWS's own runtime client for Python, which fetches its invocations from a Runtime API on this port."""
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api_port}",
        "LAMBDA_TASK_ROOT": str(FOLDER),
        "AWS_LAMBDA_FUNCTION_NAME": "hello",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "hello",
        "AWS_LAMBDA_LOG_STREAM_NAME": "hello",
    }
    variables = [f"{name}={value}" for name, value in environment.items()]
    python = venv_program("python")
    with running("env", "-C", FOLDER, *variables, python, "-m", "awslambdaric", "lambda_function.handler") as child:
        yield Child(child.pid, [])


def venv_program(name: str) -> Path:
    """A program of the peers' environment."""
    found = VENV / name
    if not found.exists():
        raise Unmeasured(f"{name} is not installed: run `make bench`, which installs the peers into build/bench-peers")
    return found
