"""What examples/ say is built first, built once for all checkouts; and a web server from which a cluster takes it."""

import hashlib
import io
import socket
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.steps import run
from tests.runtime import builds

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
IMAGE_PYTHON = ("--only-binary", ":all:", "--python-version", "3.13")
MACHINE = ((sys.executable, "--version"), ("uname", "-m"))


def make_layer(sources: Path, layer: Path) -> None:
    """For local mode, whose Python is ours."""
    _install(sources, layer)


def make_image_layer(sources: Path, layer: Path) -> None:
    """For the Python of the runtime's image."""
    platform = f"manylinux_2_28_{run(['uname', '-m']).strip()}"
    _install(sources, layer, *IMAGE_PYTHON, "--platform", platform)


def _install(sources: Path, layer: Path, *options: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--target", layer / "python", *options, "-r", sources / "requirements.txt"])


def _build_layer(make: Callable[[Path, Path], None]) -> Path:
    return builds.build("layer", "thumbnails", EXAMPLES / "thumbnails", make, MACHINE)


COMPILED = {language.name: language for language in (builds.GO, builds.RUST, builds.JAVA)}


def folder_for(example: str, written: str, *, image: bool) -> Path:
    """The folder that the example's `directory: written` means, for the image's Python or for ours."""
    if example == "thumbnails":
        return _build_layer(make_image_layer if image else make_layer)
    folder = EXAMPLES / example
    return builds.build_function(COMPILED[example], folder) if example in COMPILED else folder / written


class Shelf:
    """Archives at addresses, for a cluster that reaches this machine."""

    def __init__(self, host: str, port: int, archives: dict[str, bytes]) -> None:
        self._base = f"http://{host}:{port}"
        self._archives = archives

    def put(self, folder: Path) -> dict[str, str]:
        """A zip archive of the folder: what `code` or a layer says to get it."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
        digest = hashlib.sha256(data.getvalue()).hexdigest()
        self._archives[f"/{digest}.zip"] = data.getvalue()
        return {"url": f"{self._base}/{digest}.zip", "sha256": digest}


@contextmanager
def shelf(seen_from: str) -> Iterator[Shelf]:
    """A web server at that address of this machine from which `seen_from`, a URL, is reached."""
    archives: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = archives.get(self.path)
            self.send_response(200 if data else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *parts: Any) -> None:
            """Nothing of this is worth a line."""

    host = host_seen_from(seen_from)
    with ThreadingHTTPServer((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Shelf(host, server.server_port, archives)
        finally:
            server.shutdown()
            thread.join()


def host_seen_from(url: str) -> str:
    """The address of this machine, as whoever serves this URL sees it."""
    to = urlsplit(url)
    with socket.create_connection((to.hostname, to.port or 80)) as connection:
        host: str = connection.getsockname()[0]
    return host
