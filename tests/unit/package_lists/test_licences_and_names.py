"""Pure decisions: which licences need no reason, which names look alike, what agrees with a lock file."""

from __future__ import annotations

import pytest

from broch_api.packages.entries import judge
from broch_api.packages.licences import SPDX, fits
from broch_api.packages.resources import refuse_local
from broch_core.errors import Invalid
from broch_core.lifecycles import ALLOWANCE, AllowanceStatus
from broch_core.settings import Settings
from broch_core.tables.packages import Lookup
from broch_workspaces.packages.spec import Package
from support.package_lists import digest_of, package

POLICY = {"MIT", "Apache-2.0", "GPL-2.0-or-later"}


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("MIT", True),
        ("mit", True),
        ("MIT License", True),
        ("MIT + file LICENSE", True),
        ("GPL (>= 2)", True),
        ("MIT OR Proprietary", True),
        ("Proprietary OR MIT", True),
        ("MIT AND Apache-2.0", True),
        ("MIT AND Proprietary", False),
        ("MIT OR Proprietary AND Other", True),
        ("(MIT OR Other) AND Proprietary", False),
        ("(MIT OR Other) AND (Apache-2.0)", True),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", True),
        ("GPL-3.0-only", False),
        ("", False),
        ("   ", False),
        ("Other", False),
        ("MIT Other", False),
        ("MIT OR", False),
        ("OR MIT", False),
        ("MIT AND", False),
        ("(MIT", False),
        ("MIT)", False),
        ("()", False),
        ("MIT WITH", False),
        ("NOT MIT; see the file", False),
        ("Proprietary, or MIT", False),
        ("(" * 59 + "MIT", False),
        ("MIT OR " * 100 + "MIT", False),
    ],
)
def test_a_licence_fits_where_allowed_ids_alone_keep_it(licence: str, said: bool):
    assert fits(licence, POLICY) is said


def test_other_spellings_lead_to_ids_that_exist_in_the_usual_policy_or_not_at_all():
    usual = Settings.model_fields["package_licences"].default
    assert all(fits(target, {*usual}) for target in SPDX.values())


def test_only_files_that_a_lock_file_names_count():
    found = Package.model_validate(package("numpy", files=3))
    assert len(judge(found, ()).files) == 3
    one = judge(found, [f"sha256:{digest_of('numpy', 1)}"])
    assert [file["name"] for file in one.files] == ["numpy-1.0.0-1.whl"]
    other = judge(found, [f"sha256:{digest_of('numpy', 1)}", "sha256:" + "0" * 64])
    assert (other.lookup, other.files) == (Lookup.FAILED, ())


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0.1", "intranet", "x.internal", "a.svc", "kube.cluster.local", "1.2.3.4:443"]
)
def test_addresses_of_this_place_are_refused(host: str):
    with pytest.raises(Invalid):
        refuse_local(f"https://{host}/x")
    refuse_local("https://example.org/x")


def test_what_ended_stays_ended():
    assert ALLOWANCE.final() == {AllowanceStatus.DECLINED, AllowanceStatus.REMOVED}
    assert set(ALLOWANCE.states()) == set(AllowanceStatus)
