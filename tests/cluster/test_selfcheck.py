"""A cluster that accepts policies and ignores them is told so, on packets and not on words."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cluster import python_image
from support.cluster.bringing_up import own_cluster
from support.cluster.cluster import Cluster
from support.cluster.selfcheck import PoliciesIgnored, enforcement


def test_a_network_that_ignores_policies_is_noticed_and_one_that_obeys_passes(
    cluster: Cluster, enforced: float, tmp_path: Path
):
    if not cluster.own:
        pytest.fail("a second cluster can be made on the test bed alone: run without BROCH_TEST_KUBECONFIG")
    assert enforced < 60
    with own_cluster(policies="ignored") as careless:
        image = careless.load_image("python", python_image.make(tmp_path / "root"))
        with pytest.raises(PoliciesIgnored, match="does not enforce NetworkPolicy"):
            enforcement(careless, image, seconds=5)
