"""The one-node cluster as a daemon of this machine: start it, see how it is, end it and leave nothing behind.

There is one on a machine: its addresses and its cgroup are fixed. Everything it writes is below STATE. What a killed
cluster left there, in the cgroups or on the network is removed by the next `up` as well as by `down`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.cluster import builds, certificates, components, configuration
from tests.cluster.configuration import Layout
from tests.cluster.steps import ClusterError, run, step, succeeds, wait_until

STATE = Path("/var/lib/funclet-cluster")
LOCK = Path("/run/lock/funclet-cluster.lock")
CGROUPS = Path("/sys/fs/cgroup")
# The node's own processes have a cgroup beside its pods', as a system slice is: the pods' CPU is weighed against it.
SYSTEM_CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
CPU_SHARES = "4096"
# Set by the kubelet for the whole machine; `down` sets them back.
KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def layout() -> Layout:
    return Layout(STATE, builds.program_path(builds.KUBERNETES), builds.program_path(builds.COREDNS))


def start() -> None:
    """Starts the daemon on a state folder of its own and waits until the API server answers."""
    place = layout()
    with step("preparing certificates and settings"):
        write_state(place)
    with step("starting the node"):
        groups = make_cgroups()
        write_plan(place, groups)
        daemon = launch()
        inner = node_process(daemon)
        for command in components.outer_setup(inner):
            run(command)
        wait_until(lambda: api_answers(place), timeout_seconds=180, what="the API server")


def settle() -> None:
    """Waits until a pod could be created, would be scheduled, and could look up a Service's name."""
    place = layout()
    with step("waiting for the node and its DNS"):
        kubectl(place, "apply", "-f", str(place.settings / "dns.json"))
        wait_until(node_is_ready, timeout_seconds=180, what=f"the node (logs in {STATE}/log)")
        wait_until(dns_answers, timeout_seconds=180, what=f"the cluster's DNS (logs in {STATE}/log)")


def write_state(place: Layout) -> None:
    place.state.mkdir(mode=0o711, parents=True)
    missing = [seen for seen in components.hidden_folders(place) if not Path(seen).exists()]
    saved = {name: Path("/proc/sys", name).read_text() for name in KERNEL_SETTINGS if Path("/proc/sys", name).exists()}
    (place.state / "machine.json").write_text(json.dumps({"missing_folders": missing, "kernel_settings": saved}))
    certificates.issue(place.certificates)
    runc = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "runc"
    for name, text in configuration.texts(place, runc=runc).items():
        file = place.settings / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for certificate in certificates.CERTIFICATES:
        write_private(place.kubeconfig(certificate.name), json.dumps(kubeconfig_of(place, certificate.name), indent=2))
    (place.state / "etcd").mkdir(mode=0o700)
    for seen, own in components.hidden_folders(place).items():
        own.mkdir(exist_ok=True)
        Path(seen).mkdir(parents=True, exist_ok=True)


def kubeconfig_of(place: Layout, user: str) -> dict[str, Any]:
    keys = place.certificates
    return configuration.kubeconfig(
        (keys / "ca.crt").read_bytes(), (keys / f"{user}.crt").read_bytes(), (keys / f"{user}.key").read_bytes()
    )


def write_private(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)


def write_plan(place: Layout, groups: list[Path]) -> None:
    plan = {
        "cgroups": [str(group) for group in groups],
        "interface": configuration.NODE_INTERFACE,
        "setup": components.inner_setup(place),
        "components": [dataclasses.asdict(component) for component in components.components(place)],
        "logs": str(place.state / "log"),
    }
    (place.state / "plan.json").write_text(json.dumps(plan, indent=2))


def launch() -> int:
    """The daemon: `unshare`, which dies with its child and its child with it. Returns its process id."""
    program = Path(__file__).with_name("node_init.py")
    with (STATE / "log" / "node.log").open("ab") as log:
        daemon = subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-I", str(program), str(STATE / "plan.json")),
            ],
            cwd="/",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # A process id alone may be another's by the time it is read; with its start it is not.
    (STATE / "daemon.json").write_text(json.dumps({"pid": daemon.pid, "started": start_of(daemon.pid)}))
    return daemon.pid


def start_of(pid: int) -> str | None:
    """When the process was started, in the kernel's ticks; None if there is none or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def daemon_process() -> int | None:
    """The running daemon's process id; None if it is not running."""
    try:
        record = json.loads((STATE / "daemon.json").read_text())
    except (OSError, ValueError):
        return None
    pid: int = record["pid"]
    return pid if record["started"] is not None and start_of(pid) == record["started"] else None


def node_process(daemon: int) -> int:
    """The node's first process, by its id on the machine: the daemon's only child."""
    children = Path(f"/proc/{daemon}/task/{daemon}/children")
    wait_until(
        lambda: bool(children.read_text().strip()), timeout_seconds=60, what="the node's process", poll_seconds=0.01
    )
    return int(children.read_text())


def in_node(*command: str | Path) -> str:
    """Runs a command in the node's mount namespace, where containerd's socket is."""
    daemon = daemon_process()
    if daemon is None:
        raise ClusterError("no cluster is running: cluster.py up")
    return run(["nsenter", "--target", str(node_process(daemon)), "--mount", "--", *command])


def api_answers(place: Layout) -> bool:
    if daemon_process() is None:
        raise ClusterError(f"the node ended:\n{(STATE / 'log' / 'node.log').read_text()[-2000:]}")
    return succeeds([place.kubernetes, "kubectl", "--kubeconfig", place.kubeconfig("admin"), "get", "--raw", "/readyz"])


def kubectl(place: Layout, *arguments: str) -> str:
    return run([place.kubernetes, "kubectl", "--kubeconfig", place.kubeconfig("admin"), *arguments])


def node_is_ready() -> bool:
    """Ready, and the default namespace has the service account without which no pod is admitted."""
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    try:
        kubectl(layout(), "get", "serviceaccount", "default", "--namespace=default")
        return kubectl(layout(), "get", "node", configuration.NODE_NAME, f"-o=jsonpath={condition}") == "True"
    except ClusterError:
        return False


def dns_answers() -> bool:
    """Asks the Service's address for kubernetes.default: kube-proxy, CoreDNS and the routes in one question."""
    name = f"kubernetes.default.svc.{configuration.CLUSTER_DOMAIN}"
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        try:
            asking.sendto(question, (configuration.DNS_SERVICE_ADDRESS, 53))
            answer = asking.recv(512)
        except OSError:
            return False
    return answer.endswith(socket.inet_aton(configuration.API_SERVICE_ADDRESS))


def is_running() -> bool:
    return daemon_process() is not None


def make_cgroups() -> list[Path]:
    """The cluster's folder under every controller; returns those that the node's own processes enter."""
    top = configuration.CGROUP.lstrip("/")
    unified = (CGROUPS / "cgroup.controllers").exists()
    roots = [CGROUPS] if unified else [folder for folder in CGROUPS.iterdir() if folder.is_dir()]
    for root in roots:
        (root / top).mkdir(exist_ok=True)
    if unified:
        system = CGROUPS / top / "system"
        system.mkdir(exist_ok=True)
        return [system]
    for setting in ("cpuset.cpus", "cpuset.mems"):  # a new folder has neither and could hold no process
        with contextlib.suppress(FileNotFoundError):
            (CGROUPS / "cpuset" / top / setting).write_text((CGROUPS / "cpuset" / setting).read_text())
    with contextlib.suppress(FileNotFoundError):
        (CGROUPS / "cpu" / top / "cpu.shares").write_text(CPU_SHARES)
    systems = [CGROUPS / controller / top / "system" for controller in SYSTEM_CONTROLLERS]
    for system in systems:
        system.mkdir(exist_ok=True)
    return systems


def remove_cgroups() -> None:
    """Deepest first; a folder can go once the kernel has buried its last process."""
    top = configuration.CGROUP.lstrip("/")
    tops = [CGROUPS / top, *CGROUPS.glob(f"*/{top}")]
    folders = [Path(folder) for one in tops for folder, _, _ in os.walk(one, topdown=False)]

    def gone() -> bool:
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in folders)

    wait_until(gone, timeout_seconds=60, what=f"the cgroups {configuration.CGROUP} to become empty", poll_seconds=0.02)


def end() -> None:
    """Ends the daemon, if it runs, and removes everything a cluster leaves, also one killed or half started."""
    daemon = daemon_process()
    if daemon is not None:
        inner = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
        os.kill(daemon, signal.SIGKILL)
        wait_until(
            lambda: all(start_of(int(child)) is None for child in inner), timeout_seconds=60, what="the node to end"
        )
    remove_cgroups()
    remove_interface()
    restore_machine()
    if STATE.exists():
        shutil.rmtree(STATE)


def restore_machine() -> None:
    """What write_state noted before the cluster changed it."""
    try:
        before = json.loads((STATE / "machine.json").read_text())
    except (OSError, ValueError):
        return
    for name, value in before["kernel_settings"].items():
        with contextlib.suppress(OSError):
            Path("/proc/sys", name).write_text(value)
    for folder in before["missing_folders"]:
        with contextlib.suppress(OSError):  # gone, or used by somebody else since
            Path(folder).rmdir()


def remove_interface() -> None:
    """It goes by itself with the node's namespace, a moment later; then there is nothing to delete."""
    name = configuration.OUTER_INTERFACE
    end_by = time.monotonic() + 5
    while name in {interface for _, interface in socket.if_nameindex()}:
        if not succeeds(["ip", "link", "delete", name]) and time.monotonic() > end_by:
            raise ClusterError(f"the network interface {name} cannot be removed")
        time.sleep(0.02)


def kubeconfig_text() -> str:
    """The administrator's kubeconfig, of the running cluster."""
    return layout().kubeconfig("admin").read_text()
