"""The pure parts of the tests' cluster: what its components are told, and what its cache is keyed by."""

from __future__ import annotations

import ipaddress
import json
import os
import tomllib
from pathlib import Path

import pytest
from tests.cluster import (
    bases,
    builds,
    cache,
    certificates,
    components,
    configuration,
    dockerignore,
    doctor,
    images,
    oci,
)
from tests.cluster.configuration import Layout
from tests.cluster.steps import ClusterError

LAYOUT = Layout(Path("/state"), Path("/cache/kubernetes"), Path("/cache/coredns"))


def test_ranges_hold_what_must_be_in_them_and_do_not_overlap() -> None:
    pods, node_pods, services, link = map(
        ipaddress.ip_network,
        (configuration.POD_RANGE, configuration.NODE_POD_RANGE, configuration.SERVICE_RANGE, "10.245.0.0/24"),
    )
    assert node_pods.subnet_of(pods)  # type: ignore[arg-type]
    assert node_pods.prefixlen == configuration.NODE_MASK
    assert node_pods.num_addresses > configuration.MAX_PODS
    for address in (configuration.API_SERVICE_ADDRESS, configuration.DNS_SERVICE_ADDRESS):
        assert ipaddress.ip_address(address) in services
    for address in (configuration.OUTER_ADDRESS, configuration.NODE_ADDRESS):
        assert ipaddress.ip_address(address) in link
    assert not pods.overlaps(services)
    assert not link.overlaps(pods)
    assert not link.overlaps(services)


def test_containerd_settings_are_toml_with_the_sandbox_image_and_the_given_runc() -> None:
    settings = tomllib.loads(configuration.containerd_settings(LAYOUT, runc="/usr/sbin/runc"))
    runtime = settings["plugins"]["io.containerd.grpc.v1.cri"]
    assert runtime["sandbox_image"] == oci.full_name(configuration.PAUSE_IMAGE)
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/usr/sbin/runc"


def test_every_file_that_a_component_is_told_to_read_is_written() -> None:
    issued = {f"certificates/{one.name}.{end}" for one in certificates.CERTIFICATES for end in ("crt", "key")}
    issued |= {f"certificates/{name}" for name in ("ca.crt", "ca.key", "service-accounts.key", "service-accounts.pub")}
    written = {f"settings/{name}" for name in configuration.texts(LAYOUT, runc="runc")}
    written |= {f"settings/{one.name}.kubeconfig" for one in certificates.CERTIFICATES}
    arguments = [part.rpartition("=")[2] for one in components.components(LAYOUT) for part in one.argv]
    told = {part.removeprefix("/state/") for part in arguments if part.startswith(("/state/settings", "/state/cert"))}
    assert told <= issued | written


def test_api_server_waits_for_etcd_and_the_rest_for_the_api_server() -> None:
    stages = {component.name: component.stage for component in components.components(LAYOUT)}
    assert stages["etcd"] < stages["kube-apiserver"] < stages["kubelet"]
    assert all(one.ready for one in components.components(LAYOUT) if one.name in ("etcd", "kube-apiserver"))


def test_kubeconfig_carries_its_credentials() -> None:
    text = json.dumps(configuration.kubeconfig(b"authority", b"certificate", b"key"))
    assert configuration.API_SERVER_URL in text
    assert "/" not in text.replace(configuration.API_SERVER_URL, "")


def test_kubelet_certificate_is_the_node_that_the_authorizer_knows() -> None:
    kubelet = next(one for one in certificates.CERTIFICATES if one.name == "kubelet")
    assert kubelet.subject == "/O=system:nodes/CN=system:node:funclet"


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("funclet/operator:dev", "docker.io/funclet/operator:dev"),
        ("localhost/funclet/operator:dev", "localhost/funclet/operator:dev"),
        ("nats", "docker.io/library/nats:latest"),
        ("registry.example.org:5000/a/b", "registry.example.org:5000/a/b:latest"),
        ("a/b@sha256:00", "docker.io/a/b@sha256:00"),
    ],
)
def test_full_name(tag: str, name: str) -> None:
    assert oci.full_name(tag) == name


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        ("*.pyc", "a.pyc", True),
        ("*.pyc", "pkg/a.pyc", False),
        ("**/*.pyc", "pkg/deep/a.pyc", True),
        ("**/*.pyc", "a.pyc", True),
        (".venv", ".venv/bin/python", True),
        ("/build/", "build/kubeconfig", True),
        ("build", "builder.py", False),
        ("docs/**", "docs/a/b.md", True),
        ("*\n!keep.txt", "keep.txt", False),
        ("*\n!keep.txt", "other.txt", True),
        ("*\n!operator", "operator/funclet/api.py", False),
        ("# comment\n\na?c", "abc", True),
        ("[ab].txt", "b.txt", True),
        ("a+b", "a+b", True),
    ],
)
def test_dockerignore(patterns: str, path: str, ignored: bool) -> None:
    assert dockerignore.is_ignored(path, dockerignore.parse(patterns)) is ignored


def test_key_tells_parts_apart() -> None:
    assert cache.key_of(["ab", "c"]) != cache.key_of(["a", "bc"])
    assert cache.key_of(["a", b"b"]) == cache.key_of(["a", "b"])


def test_image_key_follows_what_the_build_can_see(tmp_path: Path) -> None:
    dockerfile, ignore, source = tmp_path / "Dockerfile", tmp_path / ".dockerignore", tmp_path / "app.py"
    dockerfile.write_text("FROM base\nCOPY app.py /\n")
    ignore.write_text("*.log\n")
    source.write_text("print()")

    def key(*settings: str, tag: str = "a:1") -> str:
        return images.image_key(tag, dockerfile, tmp_path, ignore, list(settings))

    first = key()
    (tmp_path / "noise.log").write_text("ignored")
    assert key() == first
    assert key("BASE=other") != first
    assert key(tag="a:2") != first
    source.chmod(0o755)
    executable = key()
    assert executable != first
    source.write_text("print(1)")
    assert key() not in {first, executable}


def test_forget_unused_keeps_tagged_and_recent_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCLET_CACHE", str(tmp_path))  # the folder is chosen by the environment
    for key in ("tagged", "old", "recent"):
        images.images_folder().mkdir(exist_ok=True)
        images.archive_of(key).write_text(key)
    images.point_tag("a:1", "tagged")
    written = images.archive_of("recent").stat().st_mtime
    for key in ("tagged", "old"):
        os.utime(images.archive_of(key), (0, 0))
    images.forget_unused(written + 1)
    assert {archive.stem for archive in images.images_folder().glob("*.tar")} == {"tagged", "recent"}
    assert images.tagged_keys() == {"docker.io/library/a:1": "tagged"}


def test_used_bases_are_those_named_in_the_dockerfile_or_its_arguments() -> None:
    tags = {"localhost/base:1": "k1", "docker.io/funclet/runtime:dev": "k2", "localhost/unused:1": "k3"}
    dockerfile = "ARG BASE=localhost/other:1\nFROM ${BASE} AS one\nFROM funclet/runtime:dev\n"
    assert images.used_bases(dockerfile, ["BASE=localhost/base:1"], tags) == {
        "localhost/base:1": "k1",
        "docker.io/funclet/runtime:dev": "k2",
    }


def test_pip_settings_use_the_images_own_certificates() -> None:
    machine = {"global.index-url": "https://packages.example.org/simple", ":env:.cert": "/machine/ca.crt"}
    text = bases.pip_settings(machine)
    assert "index-url = https://packages.example.org/simple" in text
    assert f"cert = {bases.CA_BUNDLE}" in text
    assert "/machine" not in text


def test_a_python_that_neither_debian_nor_this_machine_has_is_named() -> None:
    with pytest.raises(ClusterError, match=r"Python 9\.99 is in no Debian release.*pyenv install 9\.99"):
        bases.machine_python("9.99")


def test_an_added_python_comes_before_debians(tmp_path: Path) -> None:
    prefix, root = tmp_path / "prefix", tmp_path / "root"
    for file in ("bin/python9.9", "lib/libpython9.9.so.1.0", "lib/python9.9/os.py", "lib/python9.9/test/test_os.py"):
        (prefix / file).parent.mkdir(parents=True, exist_ok=True)
        (prefix / file).touch()
    (root / "usr/local/lib").mkdir(parents=True)
    (root / "usr/local/bin").mkdir()
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    bases.copy_python(root, prefix, "9.9")
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    programs = {f"usr/local/bin/{name}" for name in ("python", "python3", "python9.9")}
    assert files == {*programs, "usr/local/lib/libpython9.9.so.1.0", "usr/local/lib/python9.9/os.py"}


def test_appearing_leaves_nothing_of_an_interrupted_write(tmp_path: Path) -> None:
    def interrupted() -> None:
        with cache.appearing(tmp_path / "entry") as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with cache.appearing(tmp_path / "entry") as draft:
        draft.write_text("whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["entry"]


def test_kubernetes_is_told_the_version_that_is_pinned() -> None:
    flags = builds.linker_flags(builds.KUBERNETES, "require (\n\tk8s.io/kubernetes v1.36.3\n)")
    assert "version.gitVersion=v1.36.3" in flags
    assert "version.gitMinor=36" in flags


@pytest.mark.parametrize(
    ("told", "version"), [("go version go1.26.8 linux/amd64", (1, 26)), ("go version devel", None)]
)
def test_go_version(told: str, version: tuple[int, int] | None) -> None:
    assert doctor.go_version(told) == version
