"""Every probe of the list: refused in a workspace, and through where its control stands. Else it shows nothing."""

import platform
import time

import pytest

from support.kernel_probes import PLACES, PROBES
from support.kernel_rig import probe_as_anybody, running_world

HERE = [probe for probe in PROBES if probe.machine in ("", platform.machine())]


def order(probe, place):
    token = f"t-{HERE.index(probe)}-{list(PLACES).index(place)}-token"
    return {"name": probe.name, "attack": f"at['token'] = {token!r}\n{probe.attack}"}, token


@pytest.fixture(scope="module")
def outcomes():
    """Return `{(place, name): what became of it}` for all probes in the workspace and at their controls."""
    found = {}
    with running_world() as world:
        for place in PLACES:
            wanted = [probe for probe in HERE if place in ("workspace", probe.control)]
            orders = {probe.name: order(probe, place) for probe in wanted}
            sent = [one for one, _ in orders.values()]
            if place == "may gain rights":
                answers, words = probe_as_anybody(sent)
            else:
                answers, words = world.do("probe", place=place, probes=sent)
            assert [one["name"] for one in answers] == list(orders), f"{place}: {words[-3000:]}"
            became = {one.pop("name"): one for one in answers}
            expecting = place != "workspace"
            arriving = [orders[probe.name][1] for probe in wanted if probe.arrives]
            until = time.monotonic() + (30 if expecting else 1)
            while (
                len(heard := world.do("heard", tokens=arriving)) < len(arriving) and time.monotonic() < until
            ):
                time.sleep(0.1)
            for probe in wanted:
                if probe.arrives:
                    outcome = became[probe.name]
                    if orders[probe.name][1] in heard:
                        became[probe.name] = {"did": True}
                    elif outcome.get("did"):
                        became[probe.name] = {"refused": "lost"}
            found |= {(place, name): outcome for name, outcome in became.items()}
    return found


@pytest.mark.parametrize("probe", HERE, ids=lambda probe: f"{probe.group}: {probe.name}")
def test_it_is_refused_in_a_workspace_and_goes_through_at_its_control(outcomes, probe):
    control = outcomes[probe.control, probe.name]
    assert control.get("did"), f"shows nothing: {PLACES[probe.control]} refuses it too: {control}"
    inside = outcomes["workspace", probe.name]
    assert inside.get("refused") in probe.refused, inside
