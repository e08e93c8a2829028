"""What the one-node cluster is made of: its addresses, its folders, and the settings files of its components.

The node lives in namespaces of its own. A veth pair joins it to the machine: OUTER_ADDRESS is the machine's end,
NODE_ADDRESS the node's. Pods and Services have ranges of their own, which the machine reaches through NODE_ADDRESS.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NODE_NAME = "funclet"
OUTER_ADDRESS = "10.245.0.1"
NODE_ADDRESS = "10.245.0.2"
LINK_PREFIX = 24
OUTER_INTERFACE = "funclet0"
NODE_INTERFACE = "eth0"
POD_RANGE = "10.244.0.0/16"
NODE_POD_RANGE = "10.244.0.0/23"  # 510 addresses, for at most MAX_PODS pods
NODE_MASK = 23
MAX_PODS = 250
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
API_SERVER_URL = f"https://{NODE_ADDRESS}:6443"
CGROUP = "/funclet"
PAUSE_IMAGE = "localhost/funclet/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_PLUGINS = "/usr/lib/cni"

API_SERVER_NAMES = (
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    f"DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}",
    f"DNS:{NODE_NAME}",
    "DNS:localhost",
    f"IP:{API_SERVICE_ADDRESS}",
    f"IP:{NODE_ADDRESS}",
    "IP:127.0.0.1",
)


@dataclass(frozen=True)
class Layout:
    """The folders and binaries of one running cluster."""

    state: Path
    kubernetes: Path
    coredns: Path

    @property
    def certificates(self) -> Path:
        return self.state / "certificates"

    @property
    def settings(self) -> Path:
        return self.state / "settings"

    def kubeconfig(self, user: str) -> Path:
        return self.settings / f"{user}.kubeconfig"


def kubeconfig(authority: bytes, certificate: bytes, key: bytes, *, server: str = API_SERVER_URL) -> dict[str, Any]:
    """A kubeconfig that carries everything in itself, so that it works from any folder."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "funclet", "cluster": {"server": server, "certificate-authority-data": text(authority)}}],
        "users": [
            {"name": "funclet", "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)}}
        ],
        "contexts": [{"name": "funclet", "context": {"cluster": "funclet", "user": "funclet"}}],
        "current-context": "funclet",
    }


def kubelet_settings(layout: Layout) -> dict[str, Any]:
    """Quick to start pods, and never removing an image: there is no registry to fetch it from again."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.certificates / "kubelet.crt"),
        "tlsPrivateKeyFile": str(layout.certificates / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(layout.settings / "resolv.conf"),
        "volumePluginDir": str(layout.state / "volume-plugins"),
        "maxPods": MAX_PODS,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "logging": {"verbosity": 1},
    }


def proxy_settings(layout: Layout) -> dict[str, Any]:
    """iptables, with its connection-tracking settings left alone: they belong to the machine."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": NODE_ADDRESS,
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": POD_RANGE,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("proxy"))},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms", "masqueradeAll": False},
    }


def scheduler_settings(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("scheduler")), "qps": 100, "burst": 200},
        "leaderElection": {"leaderElect": False},
    }


def containerd_settings(layout: Layout, *, runc: str) -> str:
    """restrict_oom_score_adj: where the machine lacks CAP_SYS_RESOURCE, runc may not lower a score and dies trying."""
    return f"""\
version = 2
root = "{layout.state}/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
                    "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{layout.settings}/cni"
"""


def network_settings(layout: Layout) -> dict[str, Any]:
    """A routed veth pair a pod: on a bridge, a Service's answers from pods beside would bypass address translation."""
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.state / "addresses"),
                    "ranges": [[{"subnet": NODE_POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def dns_settings(layout: Layout) -> str:
    """Services' names; every other name does not exist, since the cluster reaches nothing outside."""
    return f"""\
{CLUSTER_DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.kubeconfig("admin")}
        ttl 5
    }}
}}
.:53 {{
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def dns_objects() -> dict[str, Any]:
    """The Service kube-dns in front of CoreDNS, which runs as a process of the node."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
                "spec": {
                    "clusterIP": DNS_SERVICE_ADDRESS,
                    "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
                },
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "kube-dns",
                    "namespace": "kube-system",
                    "labels": {"kubernetes.io/service-name": "kube-dns"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
                "ports": [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports],
            },
        ],
    }


def texts(layout: Layout, *, runc: str) -> dict[str, str]:
    """Every settings file, by its name below the settings folder."""
    return {
        "kubelet.yaml": json.dumps(kubelet_settings(layout), indent=2),
        "proxy.yaml": json.dumps(proxy_settings(layout), indent=2),
        "scheduler.yaml": json.dumps(scheduler_settings(layout), indent=2),
        "containerd.toml": containerd_settings(layout, runc=runc),
        "cni/10-pods.conflist": json.dumps(network_settings(layout), indent=2),
        "Corefile": dns_settings(layout),
        "dns.json": json.dumps(dns_objects(), indent=2),
        "resolv.conf": "",
    }
