"""bubblewrap arguments: what a profile says, and nothing else."""

import resource
from pathlib import Path

import pytest

from broch_workspaces.sandbox.profile import (
    Bind,
    DataFile,
    Limits,
    Link,
    SandboxProfile,
    Tmpfs,
    bwrap_arguments,
    encode_arguments,
)

ALWAYS = (
    "--unshare-user --unshare-all --disable-userns --uid 1000 --gid 1000 --hostname sandbox --die-with-parent "
    "--new-session --cap-drop ALL"
)
END = "--remount-ro /proc --remount-ro /dev --remount-ro / --chdir /"


def test_a_full_profile_becomes_exactly_these_arguments():
    profile = SandboxProfile(
        binds=(
            Bind(Path("/srv/data/v1"), "/data/cohort"),
            Bind(Path("/srv/home"), "/home/researcher", read_only=False),
            Bind(Path("/usr"), "/usr"),
            Bind(Path("/etc/fonts"), "/etc/fonts", optional=True),
        ),
        links=(Link("/bin", "usr/bin"),),
        files=(DataFile("/etc/passwd", b"x", 0o400),),
        tmpfs=(Tmpfs("/tmp", 4096),),
        folders=("/data",),
        env={"B": "2", "A": "1"},
        chdir="/home/researcher",
    )
    assert " ".join(bwrap_arguments(profile, {"seccomp": 7, "info": 8, "block": 9, "/etc/passwd": 10})) == (
        f"{ALWAYS} --seccomp 7 --info-fd 8 --block-fd 9 --clearenv --setenv A 1 --setenv B 2 "
        "--proc /proc --dev /dev --symlink usr/bin /bin --perms 0755 --dir /data "
        "--perms 1777 --size 4096 --tmpfs /tmp --ro-bind /usr /usr --ro-bind /srv/data/v1 /data/cohort "
        "--ro-bind-try /etc/fonts /etc/fonts --perms 0400 --ro-bind-data 10 /etc/passwd "
        "--bind /srv/home /home/researcher --remount-ro /proc --remount-ro /dev --remount-ro / --chdir /home/researcher"
    )


def test_an_empty_profile_still_has_every_wall():
    assert (
        " ".join(bwrap_arguments(SandboxProfile(tmpfs=()), {}))
        == f"{ALWAYS} --clearenv --proc /proc --dev /dev {END}"
    )


@pytest.mark.parametrize(
    "target",
    ["/", "data", "/data/../etc", "/data/", "//data", "/proc/x", "/dev/sda", "/sys", "/a\0b", "", "/./a"],
)
def test_a_target_that_is_not_plain_is_refused(target):
    with pytest.raises(ValueError, match=r"plain|kernel"):
        bwrap_arguments(SandboxProfile(binds=(Bind(Path("/srv"), target),)), {})


def test_two_mounts_on_one_target_are_refused():
    with pytest.raises(ValueError, match="two mounts"):
        bwrap_arguments(SandboxProfile(binds=(Bind(Path("/a"), "/data"), Bind(Path("/b"), "/data"))), {})


def test_nothing_is_mounted_below_a_folder_that_the_sandbox_writes():
    home = Bind(Path("/srv/home"), "/home/researcher", read_only=False)
    below = Bind(Path("/srv/data"), "/home/researcher/data")
    with pytest.raises(ValueError, match="can write"):
        bwrap_arguments(SandboxProfile(binds=(below, home)), {})
    bwrap_arguments(SandboxProfile(binds=(Bind(Path("/srv/data"), "/home/researcher2"), home)), {})


def test_a_relative_source_is_refused():
    with pytest.raises(ValueError, match="absolute"):
        bwrap_arguments(SandboxProfile(binds=(Bind(Path("srv"), "/data"),)), {})


def test_an_argument_cannot_become_two():
    assert encode_arguments(["--setenv", "A", "ü"]) == "--setenv\0A\0ü\0".encode()
    with pytest.raises(ValueError, match="NUL"):
        encode_arguments(["--setenv", "A", "1\0--share-net"])


def test_core_dumps_and_real_time_are_always_off_and_unset_limits_are_left_alone():
    never = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_MEMLOCK: 8 << 20,
    }
    assert Limits(processes=None, open_files=None).as_rlimits() == never
    assert Limits(data_bytes=5).as_rlimits()[resource.RLIMIT_DATA] == 5
