"""Each way a machine can lack a sandbox is named, with its remedy."""

import pytest

from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable
from broch_workspaces.sandbox.probe import Machine, namespaces_off, probe


def fake_bwrap(tmp_path, script):
    path = tmp_path / "bin" / "bwrap"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path.parent)


def sysctls(tmp_path, **values):
    root = tmp_path / "sys"
    for dotted, value in values.items():
        path = root / dotted.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    root.mkdir(exist_ok=True)
    return root


def refused(machine):
    with pytest.raises(SandboxUnavailable) as caught:
        probe(machine)
    return caught.value


def test_another_system_is_told_to_use_linux():
    error = refused(Machine(system="darwin"))
    assert error.cause is Cause.NOT_LINUX
    assert "WSL2" in error.remedy


def test_an_unknown_processor_is_named():
    error = refused(Machine(machine="riscv64"))
    assert error.cause is Cause.UNKNOWN_MACHINE
    assert "riscv64" in error.what


def test_bubblewrap_missing(tmp_path):
    error = refused(Machine(search_path=str(tmp_path), machine="x86_64"))
    assert error.cause is Cause.NO_BUBBLEWRAP
    assert "apt-get install bubblewrap" in error.remedy


@pytest.mark.parametrize(
    ("said", "shown"), [("bubblewrap 0.6.2", "0.6.2"), ("bubblewrap 0.7", "0.7.0"), ("?", "0")]
)
def test_bubblewrap_too_old(tmp_path, said, shown):
    error = refused(Machine(search_path=fake_bwrap(tmp_path, f"echo '{said}'"), machine="x86_64"))
    assert error.cause is Cause.OLD_BUBBLEWRAP
    assert f"bubblewrap {shown} is too old" in error.what


def test_root_is_refused_before_anything_starts(tmp_path):
    path = fake_bwrap(tmp_path, f"[ $1 = --version ] && echo bubblewrap 0.8.0 || touch {tmp_path}/started")
    error = refused(Machine(search_path=path, machine="x86_64", euid=0))
    assert error.cause is Cause.AS_ROOT
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("values", "cause", "text"),
    [
        (
            {"kernel__unprivileged_userns_clone": 0},
            Cause.USER_NAMESPACES_OFF,
            "kernel.unprivileged_userns_clone=1",
        ),
        ({"user__max_user_namespaces": 0}, Cause.USER_NAMESPACES_OFF, "user.max_user_namespaces=15000"),
        ({"kernel__apparmor_restrict_unprivileged_userns": 1}, Cause.APPARMOR, "bwrap-userns-restrict"),
    ],
)
def test_a_switch_of_the_kernel_is_named_with_its_remedy(tmp_path, values, cause, text):
    found = namespaces_off(Machine(proc_sys=sysctls(tmp_path, **values)))
    assert found is not None
    assert found.cause is cause
    assert text in found.remedy


def test_a_kernel_that_allows_user_namespaces_is_not_blamed(tmp_path):
    values = {
        "kernel__unprivileged_userns_clone": 1,
        "user__max_user_namespaces": 9000,
        "kernel__apparmor_restrict_unprivileged_userns": 0,
    }
    assert namespaces_off(Machine(proc_sys=sysctls(tmp_path, **values))) is None
    assert namespaces_off(Machine(proc_sys=tmp_path / "none")) is None
