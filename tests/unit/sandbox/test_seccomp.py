"""The system call filter, run by a small BPF interpreter for both machines, and its numbers against the headers."""

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.sandbox import seccomp
from support.counts import count

ALLOW, KILL = 0x7FFF0000, 0x80000000
HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
MACHINES = sorted(seccomp.AUDIT_ARCH)
COLUMN = {"x86_64": 0, "aarch64": 1}


def run(machine, nr, *args: int, arch=None):
    """Run the filter on one call, as the kernel does (struct seccomp_data: nr, arch, ip, args[6])."""
    arch = seccomp.AUDIT_ARCH[machine] if arch is None else arch
    data = struct.pack("<IIQ6Q", nr, arch, 0, *[*args, *[0] * 6][:6])
    code = list(struct.iter_unpack("<HBBI", seccomp.program(machine)))
    at, accumulator = 0, 0
    while True:
        op, if_true, if_false, k = code[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == 0x06:
            return k
        else:
            hit = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[op]
            at += if_true if hit else if_false


def refused(error):
    return 0x00050000 | error


def numbers(table, machine):
    return {name: pair[COLUMN[machine]] for name, pair in table.items() if pair[COLUMN[machine]] is not None}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_refused_and_every_other_allowed(machine):
    denied, absent = numbers(seccomp.REFUSED, machine), numbers(seccomp.ABSENT, machine)
    for name, nr in denied.items():
        assert run(machine, nr) == refused(errno.EPERM), name
    for name, nr in absent.items():
        assert run(machine, nr) == refused(errno.ENOSYS), name
    looked_at = set(numbers(seccomp.FILTERED, machine).values())
    for nr in set(range(480)) - set(denied.values()) - set(absent.values()) - looked_at:
        assert run(machine, nr) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_a_clone_may_make_threads_but_no_namespace(machine):
    clone = numbers(seccomp.FILTERED, machine)["clone"]
    assert run(machine, clone, 0x3D0F00) == ALLOW  # pthread_create
    assert run(machine, clone, 17) == ALLOW  # fork
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(machine, clone, flag | 17) == refused(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_terminal_cannot_be_typed_into(machine):
    ioctl = numbers(seccomp.FILTERED, machine)["ioctl"]
    assert run(machine, ioctl, 0, 0x5401) == ALLOW  # TCGETS
    assert run(machine, ioctl, 0, seccomp.TIOCSTI) == refused(errno.EPERM)
    assert run(machine, ioctl, 0, seccomp.TIOCLINUX) == refused(errno.EPERM)
    # The kernel reads 32 bits of the command: high bits must not hide it.
    assert run(machine, ioctl, 0, seccomp.TIOCSTI | 1 << 40) == refused(errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_personality_makes_what_is_read_executable(machine):
    personality = numbers(seccomp.FILTERED, machine)["personality"]
    assert run(machine, personality, 0xFFFFFFFF) == ALLOW
    assert run(machine, personality, 0) == ALLOW
    assert run(machine, personality, 0x0400000) == refused(errno.EPERM)  # READ_IMPLIES_EXEC


@pytest.mark.parametrize("machine", MACHINES)
def test_only_these_socket_families_exist(machine):
    calls = numbers(seccomp.FILTERED, machine)
    for family in (1, 2, 10):
        assert run(machine, calls["socket"], family, 1, 7) == ALLOW
        assert run(machine, calls["socketpair"], family) == ALLOW
    assert run(machine, calls["socket"], 16, 3, 0) == ALLOW
    assert run(machine, calls["socket"], 16, 3, 9) == refused(errno.EAFNOSUPPORT)  # audit
    assert run(machine, calls["socketpair"], 16) == refused(errno.EAFNOSUPPORT)
    for family in (0, 3, 17, 38, 40, 44):
        assert run(machine, calls["socket"], family) == refused(errno.EAFNOSUPPORT)
        assert run(machine, calls["socketpair"], family) == refused(errno.EAFNOSUPPORT)


def test_a_call_of_another_architecture_kills_and_x32_does_not_exist():
    assert run("x86_64", 41, 2, arch=0x40000003) == KILL
    assert run("aarch64", 198, 2, arch=0x40000028) == KILL
    assert run("x86_64", 41 | seccomp.X32_BIT, 2) == refused(errno.ENOSYS)


@given(nr=st.integers(0, 2**32 - 1), first=st.integers(0, 2**64 - 1), second=st.integers(0, 2**64 - 1))
@settings(max_examples=count("seccomp answers every call", ci=200, nightly=20000), deadline=None)
def test_every_call_gets_an_answer(nr, first, second):
    for machine in MACHINES:
        answer = run(machine, nr, first, second)
        assert answer in (ALLOW, refused(errno.EPERM), refused(errno.ENOSYS), refused(errno.EAFNOSUPPORT))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernel_headers(machine):
    """The package linux-libc-dev has them; `./broch test unit` installs it or says so."""
    header = next((path for path in HEADERS[machine] if path.is_file()), None)
    assert header is not None, "install the kernel headers: linux-libc-dev (Fedora: kernel-headers)"
    text = header.read_text()
    known = {name: int(nr) for name, nr in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    ours = {}
    for table in (seccomp.REFUSED, seccomp.ABSENT, seccomp.FILTERED):
        ours |= numbers(table, machine)
    assert len(known) > 250
    newest = max(known.values())
    # Headers older than a call do not name it; since Linux 5.1 new calls have one number everywhere.
    unnamed = {name for name in ours if name not in known}
    assert unnamed <= {"statmount", "listmount", "open_tree_attr", "quotactl_fd", "memfd_secret"}
    for name, nr in ours.items():
        if name in unnamed:
            assert nr > newest, name
            assert {
                column for table in (seccomp.REFUSED, seccomp.ABSENT) for column in table.get(name, ())
            } == {nr}
        else:
            assert known[name] == nr, name


def test_an_unknown_machine_has_no_filter():
    with pytest.raises(KeyError):
        seccomp.program("riscv64")
