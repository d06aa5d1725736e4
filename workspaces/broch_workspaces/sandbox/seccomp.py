"""The system calls a sandbox may not make, as a BPF program (seccomp(2)), written without a compiler.

Numbers are those of the kernel's `asm/unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64); a test checks them
against the headers. The list follows Docker's default profile; reasons stand beside what is less obvious.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""`AUDIT_ARCH_*` of linux/audit.h; both are 64-bit little-endian."""

REFUSED: dict[str, tuple[int | None, int | None]] = {
    # name: (x86_64, aarch64); answered with EPERM
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),  # would take descriptors (the listener, the token) out of the notebook server
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),  # makes kernel races easy to win
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),  # keyrings are not namespaced by user alone
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "vhangup": (153, 58),
    # SysV memory, queues and semaphores live on without a process and are in no table of processes: without a cgroup
    # nobody could count them.
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "sched_setaffinity": (203, 122),  # would leave the cores that the sandbox was given
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
}

ABSENT: dict[str, tuple[int, int]] = {
    # answered with ENOSYS, so that programs fall back to the older call
    "io_uring_setup": (425, 425),  # its work is not seen by seccomp
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_secret": (447, 447),  # memory that the kernel itself does not map, so nobody counts it
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "clone3": (435, 435),  # flags stand in memory, where BPF cannot look: glibc then uses clone
}

FILTERED: dict[str, tuple[int, int]] = {
    # looked at by their arguments
    "clone": (56, 220),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "socket": (41, 198),
    "socketpair": (53, 199),
}

NEW_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (sched.h)."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""ioctls that type into a terminal (CVE-2017-5226, CVE-2023-1523)."""
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
"""What may be asked of personality(2): PER_LINUX, PER_LINUX32, UNAME26, and the question. Not READ_IMPLIES_EXEC."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
"""The families left. A network namespace does not cut AF_VSOCK, and AF_ALG and AF_PACKET are attack surface."""

X32_BIT = 0x40000000

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32  # offsets in struct seccomp_data, low halves


@dataclass(frozen=True)
class _Instruction:
    code: int
    k: int
    if_true: int = 0
    if_false: int = 0

    def pack(self) -> bytes:
        return struct.pack("<HBBI", self.code, self.if_true, self.if_false, self.k)


def _refuse(error: int) -> _Instruction:
    return _Instruction(_RETURN, _ERRNO | error)


def _when_call(number: int, body: list[_Instruction]) -> list[_Instruction]:
    """Run `body`, which must end in a return on every path, when the call is `number`."""
    return [_Instruction(_JUMP_EQ, number, 0, len(body)), *body]


def _one_of(
    offset: int, values: tuple[int, ...], found: _Instruction, otherwise: _Instruction
) -> list[_Instruction]:
    tests = [_Instruction(_JUMP_EQ, value, len(values) - place, 0) for place, value in enumerate(values)]
    return [_Instruction(_LOAD, offset), *tests, otherwise, found]


def program(machine: str | None = None) -> bytes:
    """Return the filter for `machine` (`platform.machine()` by default) as bytes for `bwrap --seccomp FD`.

    Raises:
        KeyError: no table for this machine.
    """
    machine = machine or platform.machine()
    arch = AUDIT_ARCH[machine]
    column = 0 if machine == "x86_64" else 1
    allow = _Instruction(_RETURN, _ALLOW)
    code = [
        _Instruction(_LOAD, _ARCH),
        _Instruction(_JUMP_EQ, arch, 1, 0),
        _Instruction(_RETURN, _KILL_PROCESS),  # a 32-bit call would be read by the wrong table
        _Instruction(_LOAD, _NR),
    ]
    if machine == "x86_64":
        code += [_Instruction(_JUMP_GE, X32_BIT, 0, 1), _refuse(errno.ENOSYS)]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            code += _when_call(number, [_refuse(errno.EPERM)])
    for absent in ABSENT.values():
        code += _when_call(absent[column], [_refuse(errno.ENOSYS)])
    code += _when_call(
        FILTERED["clone"][column],
        [
            _Instruction(_LOAD, _ARG0),
            _Instruction(_JUMP_SET, NEW_NAMESPACE_FLAGS, 0, 1),
            _refuse(errno.EPERM),
            allow,
        ],
    )
    code += _when_call(
        FILTERED["ioctl"][column], _one_of(_ARG1, (TIOCSTI, TIOCLINUX), _refuse(errno.EPERM), allow)
    )
    code += _when_call(
        FILTERED["personality"][column], _one_of(_ARG0, PERSONALITIES, allow, _refuse(errno.EPERM))
    )
    families = _one_of(_ARG0, (AF_UNIX, AF_INET, AF_INET6), allow, _refuse(errno.EAFNOSUPPORT))
    route_only = [  # getifaddrs(3) asks NETLINK_ROUTE (0); nothing here needs another protocol
        _Instruction(_LOAD, _ARG0),
        _Instruction(_JUMP_EQ, AF_NETLINK, 0, 3),
        _Instruction(_LOAD, _ARG2),
        _Instruction(_JUMP_EQ, 0, 0, 1),
        allow,
    ]
    code += _when_call(FILTERED["socket"][column], route_only + families)
    code += _when_call(FILTERED["socketpair"][column], families)
    return b"".join(instruction.pack() for instruction in [*code, allow])
