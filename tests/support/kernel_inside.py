"""Runs one attack after the other where it is put, and says what became of each. Standard library alone, one file.

Reads `{"at": {...}, "probes": [{"name", "attack"}]}` as JSON from standard input and prints one JSON object a line:
`{"name", "did": true}` when the attack went through, else `{"name", "refused": WHY}`: a name of errno, `nothing` (there
was nothing to be found), or `killed by N`. Anything else that an attack raises is a mistake of ours: `{"name", "mistake"}`.
"""

import ctypes
import errno
import json
import os
import pathlib
import platform
import signal
import sys
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


class Nothing(Exception):
    """What the attack looked for is not there."""


def call(x86, arm, *args):
    """Make one system call by its number and return its result."""
    ctypes.set_errno(0)
    result = LIBC.syscall(
        x86 if X86 else arm, *(ctypes.c_long(one) if isinstance(one, int) else one for one in args)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def reached(x86, arm, *args):
    """Make a call with senseless arguments: the kernel's own complaint means that no filter stood before it."""
    try:
        call(x86, arm, *args)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise


def in_child(action):
    """Run `action` in a child, and raise what it raised."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = 0
        try:
            action()
        except OSError as error:
            number = error.errno or 255
        os.write(writing, bytes([number]))
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    said = os.read(reading, 1)
    os.close(reading)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    if said and said[0]:
        raise OSError(said[0], os.strerror(said[0]))


def files_named(name, tops):
    """Return the paths of files of this name below `tops`."""
    return [f"{top}/{name}" for place in tops for top, _, files in os.walk(place) if name in files]


def everybody():
    """Yield the folder in /proc of every process that shows, but our own."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names
        if entry.isdigit() and int(entry) != os.getpid():
            yield f"/proc/{entry}"


def read(path):
    """Return the bytes of a file, none where it cannot be read."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


def descriptors(place):
    """Yield what the descriptors of a process lead to, as far as that may be seen."""
    try:
        for name in os.listdir(f"{place}/fd"):  # noqa: PTH208 - names
            yield os.readlink(f"{place}/fd/{name}")  # noqa: PTH115 - as the kernel says it
    except OSError:
        return


def attempt(attack, at):  # noqa: PLR0911 - one for each outcome
    """Run one attack in this process; return what became of it."""
    names = {**globals(), "at": at}
    try:
        exec(
            compile(
                "import socket, struct, resource, subprocess, time, mmap, stat\n" + attack, "attack", "exec"
            ),
            names,
        )
    except Nothing:
        return {"refused": "nothing"}
    except TimeoutError:
        return {"refused": "ETIMEDOUT"}
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno, str(error.errno))}
    except ValueError as error:
        if "not allowed to raise maximum limit" in str(error):
            return {"refused": "EPERM"}
        return {"mistake": traceback.format_exc()}
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        return {"mistake": traceback.format_exc()}
    return {"did": True}


def run(probe, at, patience=20):
    """Run one attack in a child with time to live."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        signal.alarm(patience)
        os.write(writing, json.dumps(attempt(probe["attack"], at)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"refused": f"killed by {os.WTERMSIG(status)}"}
    return json.loads(said)


def main():
    """See above."""
    job = json.loads(sys.stdin.read())
    for probe in job["probes"]:
        sys.stdout.write(json.dumps({"name": probe["name"], **run(probe, job["at"])}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
