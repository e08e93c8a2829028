"""The processes of the one-node cluster and the commands around them: pure functions of addresses and folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.configuration import (
    CLUSTER_DOMAIN,
    LINK_PREFIX,
    NODE_ADDRESS,
    NODE_INTERFACE,
    NODE_MASK,
    NODE_NAME,
    OUTER_ADDRESS,
    OUTER_INTERFACE,
    POD_RANGE,
    SERVICE_RANGE,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.configuration import Layout


@dataclass(frozen=True)
class Component:
    """A process of the node. Those of one stage start together, a stage when the one before is ready."""

    name: str
    stage: int
    argv: tuple[str, ...]
    ready: str | None = None


def components(layout: Layout) -> tuple[Component, ...]:
    """The node's processes in the order of their start."""
    kubernetes = str(layout.kubernetes)
    settings = layout.settings
    etcd = (
        "etcd",
        f"--data-dir={layout.state}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )
    return (
        Component("etcd", 0, etcd, ready="http://127.0.0.1:2379/health"),
        Component("containerd", 0, ("containerd", "--config", f"{settings}/containerd.toml", "--log-level", "warn")),
        Component("kube-apiserver", 1, api_server(layout), ready="https://127.0.0.1:6443/readyz"),
        Component("kube-controller-manager", 2, controller_manager(layout)),
        Component("kube-scheduler", 2, (kubernetes, "kube-scheduler", f"--config={settings}/scheduler.yaml")),
        Component(
            "kubelet",
            2,
            (
                *(kubernetes, "kubelet", f"--config={settings}/kubelet.yaml"),
                *(f"--kubeconfig={layout.kubeconfig('kubelet')}", f"--hostname-override={NODE_NAME}"),
                f"--node-ip={NODE_ADDRESS}",
            ),
        ),
        Component("kube-proxy", 2, (kubernetes, "kube-proxy", f"--config={settings}/proxy.yaml")),
        Component("coredns", 2, (str(layout.coredns), "-conf", f"{settings}/Corefile")),
    )


def api_server(layout: Layout) -> tuple[str, ...]:
    keys = layout.certificates
    return (
        str(layout.kubernetes),
        "kube-apiserver",
        f"--advertise-address={NODE_ADDRESS}",
        "--secure-port=6443",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={keys}/ca.crt",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={keys}/service-accounts.pub",
        f"--service-account-signing-key-file={keys}/service-accounts.key",
        f"--kubelet-certificate-authority={keys}/ca.crt",
        f"--kubelet-client-certificate={keys}/admin.crt",
        f"--kubelet-client-key={keys}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    )


def controller_manager(layout: Layout) -> tuple[str, ...]:
    keys = layout.certificates
    return (
        str(layout.kubernetes),
        "kube-controller-manager",
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={keys}/service-accounts.key",
        f"--root-ca-file={keys}/ca.crt",
        f"--cluster-signing-cert-file={keys}/ca.crt",
        f"--cluster-signing-key-file={keys}/ca.key",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={POD_RANGE}",
        f"--node-cidr-mask-size={NODE_MASK}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        "--profiling=false",
    )


def hidden_folders(layout: Layout) -> dict[str, Path]:
    """Folders that components write to whatever they are told: inside the node they are the state's own."""
    return {
        "/var/lib/kubelet": layout.state / "kubelet",
        "/var/lib/cni": layout.state / "cni",
        "/var/log": layout.state / "log",
    }


def inner_setup(layout: Layout) -> tuple[tuple[str, ...], ...]:
    """Run by the node's first process, in its namespaces, once its end of the veth pair is there."""
    binds = [("mount", "--bind", str(own), seen) for seen, own in hidden_folders(layout).items()]
    return (
        ("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"),
        *binds,
        # The kubelet's volumes must show in containers that are already there.
        ("mount", "--make-rshared", "/var/lib/kubelet"),
        ("hostname", NODE_NAME),
        ("ip", "link", "set", "lo", "up"),
        ("ip", "address", "add", f"{NODE_ADDRESS}/{LINK_PREFIX}", "dev", NODE_INTERFACE),
        ("ip", "link", "set", NODE_INTERFACE, "up"),
        ("ip", "route", "add", "default", "via", OUTER_ADDRESS),
        ("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"),
    )


def outer_setup(node_pid: int) -> tuple[tuple[str, ...], ...]:
    """Run on the machine: the veth pair, and the routes to pods and Services. They go with the node's namespace."""
    return (
        (
            *("ip", "link", "add", OUTER_INTERFACE, "type", "veth"),
            *("peer", "name", NODE_INTERFACE, "netns", str(node_pid)),
        ),
        ("ip", "address", "add", f"{OUTER_ADDRESS}/{LINK_PREFIX}", "dev", OUTER_INTERFACE),
        ("ip", "link", "set", OUTER_INTERFACE, "up"),
        ("ip", "route", "add", POD_RANGE, "via", NODE_ADDRESS),
        ("ip", "route", "add", SERVICE_RANGE, "via", NODE_ADDRESS),
    )
