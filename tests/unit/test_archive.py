"""Code packages: deterministic when made, and checked before anything unpacks them."""

import io
import stat
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.core.archive import check_names, inspect, pack
from funclet.errors import InvalidSpec

NAMES = st.text("abcdef", min_size=1, max_size=5)


@given(st.dictionaries(NAMES, st.binary(max_size=50), min_size=1, max_size=5))
def test_the_same_files_give_the_same_bytes_and_can_be_read_back(files: dict[str, bytes]) -> None:
    packed = pack(files)
    assert packed == pack(dict(reversed(list(files.items()))))
    assert inspect(packed).names == set(files)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def entry(name: str, **attributes: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


def archive_of(*entries: zipfile.ZipInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in entries:
            archive.writestr(info, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a zip", "the code is not a zip archive"),
        (b"", "the code is not a zip archive"),
        (pack({"a.py": b"x"})[:-10], "the code is not a zip archive"),
        (archive_of(entry("../a.py")), "leads out of the archive"),
        (archive_of(entry("a/../../b.py")), "leads out of the archive"),
        (archive_of(entry("a//b.py")), "leads out of the archive"),
        (archive_of(entry("/etc/passwd")), "is absolute"),
        (archive_of(entry("C:/a.py")), "is absolute"),
        (archive_of(entry("a.py", external_attr=(stat.S_IFLNK | 0o777) << 16)), "is a symbolic link"),
        (archive_of(entry("a.bin", compress_type=zipfile.ZIP_DEFLATED), content=bytes(11 * 2**20)), "not code"),
    ],
)
def test_what_must_not_be_unpacked_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as refusal:
        inspect(data)
    assert refusal.value.reason == "InvalidCode"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="twice"):
        inspect(archive_of(entry("a.py"), entry("a.py")))


def test_an_encrypted_entry_is_refused() -> None:
    data = bytearray(pack({"a.py": b"x"}))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8] |= 1
    with pytest.raises(InvalidSpec, match="encrypted"):
        inspect(bytes(data))


def test_too_large_content_is_refused_by_its_declared_size() -> None:
    data = bytearray(pack({"a.py": b"x"}))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (251 * 2**20).to_bytes(4, "little")
    with pytest.raises(InvalidSpec, match="251 MiB unzipped; at most 250"):
        inspect(bytes(data))


def test_what_can_be_run_may_be_run() -> None:
    data = pack({"bootstrap": b"#!/bin/sh\n", "program": b"\x7fELF", "index.py": b"x = 1\n"})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    assert modes == {"bootstrap": 0o755, "program": 0o755, "index.py": 0o644}


@pytest.mark.parametrize("names", [["/a.py"], ["../a.py"], ["a", "a/b.py"], ["a\\b.py"]])
def test_file_names_that_no_archive_can_hold(names: list[str]) -> None:
    with pytest.raises(InvalidSpec):
        check_names(names)
