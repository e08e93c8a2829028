"""What a machine needs for the cluster, what of it is missing, and the command that installs it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import builds, configuration
from tests.cluster.node import CGROUPS
from tests.cluster.steps import ClusterError, run, step

CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
SEARCHED = f"{os.environ.get('PATH', '')}:/usr/local/go/bin:/usr/sbin:/sbin"
GO_HINT = "install Go 1.26, or any since 1.21 (it fetches 1.26 itself)"


@dataclass(frozen=True)
class Finding:
    """One row of the doctor's table."""

    what: str
    present: bool
    remedy: str = ""


@dataclass(frozen=True)
class Need:
    """A program (or a file) that a Debian package brings."""

    what: str
    package: str

    def present(self) -> bool:
        return Path(self.what).exists() if self.what.startswith("/") else bool(shutil.which(self.what, path=SEARCHED))


NODE_NEEDS = (
    Need("etcd", "etcd-server"),
    Need("containerd", "containerd"),
    Need("ctr", "containerd"),
    Need("runc", "runc"),
    Need(f"{configuration.CNI_PLUGINS}/ptp", "containernetworking-plugins"),
    Need("iptables", "iptables"),
    Need("ip", "iproute2"),
    Need("nsenter", "util-linux"),
    Need("openssl", "openssl"),
)
IMAGE_NEEDS = (Need("debootstrap", "debootstrap"), Need("buildah", "buildah"))


def go_version(told: str) -> tuple[int, int] | None:
    """(1, 26) of "go version go1.26.8 linux/amd64"."""
    found = re.search(r"\bgo(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else None


def findings() -> list[Finding]:
    rows = [Finding("root", os.geteuid() == 0, "run as root")]
    rows.extend(
        Finding(need.what, need.present(), f"apt-get install --no-install-recommends {need.package}")
        for need in (*NODE_NEEDS, *IMAGE_NEEDS)
    )
    rows.append(go_finding())
    rows.extend(
        Finding(
            f"{program.name}, built", builds.program_path(program).exists(), f"`up` builds it: {program.first_build}"
        )
        for program in builds.PROGRAMS
    )
    rows.append(Finding("kubectl", True, "part of the kubernetes program; `up` puts it in build/bin"))
    missing = sorted(set(CONTROLLERS) - controllers())
    rows.append(Finding("cgroup controllers", not missing, f"the kernel lacks {', '.join(missing)}"))
    overlay = "\toverlay\n" in Path("/proc/filesystems").read_text()
    rows.append(Finding("overlayfs", overlay, "modprobe overlay"))
    return rows


def go_finding() -> Finding:
    go = shutil.which("go", path=SEARCHED)
    version = go_version(run([go, "version"], folder=Path("/"))) if go else None
    return Finding("go", version is not None and version >= (1, 21), GO_HINT)


def controllers() -> set[str]:
    """The cgroup controllers that the kernel offers, of version 2 or 1."""
    unified = CGROUPS / "cgroup.controllers"
    if unified.exists():
        return set(unified.read_text().split())
    return {folder.name for folder in CGROUPS.iterdir()} if CGROUPS.is_dir() else set()


def table(rows: list[Finding]) -> str:
    width = max(len(row.what) for row in rows)
    return "\n".join(
        f"{row.what:<{width}}  ok" if row.present else f"{row.what:<{width}}  MISSING  {row.remedy}" for row in rows
    )


def require(needs: tuple[Need, ...]) -> None:
    """Installs the Debian packages that are missing; where that is not possible, says which."""
    if os.geteuid() != 0:
        raise ClusterError("this needs root (or a running Docker, with kind)")
    packages = sorted({need.package for need in needs if not need.present()})
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"missing on this machine, by their Debian names: {', '.join(packages)}")
    with step(f"installing {', '.join(packages)}"), no_services_started():
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update"], environment=quiet)
        run(["apt-get", "install", "--yes", "--no-install-recommends", *packages], environment=quiet)


class no_services_started:  # noqa: N801 - reads as the condition that it is
    """While it lasts, Debian's packages may not start their services. An existing policy is left alone."""

    policy = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self.ours = not self.policy.exists()
        if self.ours:
            self.policy.write_text("#!/bin/sh\nexit 101\n")
            self.policy.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            self.policy.unlink(missing_ok=True)
