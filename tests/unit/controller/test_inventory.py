"""What a zone is made of, what is pruned, and when it is ready."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_workspaces.cluster.controller.failures import ApiError, Permanent, Temporary, fixed, plain
from broch_workspaces.cluster.controller.inventory import Proof, in_force, inventory, proof, stages, surplus
from broch_workspaces.cluster.controller.kinds import (
    CLAIM,
    NAMESPACE,
    POD,
    POLICY,
    QUEUE,
    QUOTA,
    VOLUME,
    ZONE_KINDS,
    Ref,
)
from broch_workspaces.cluster.controller.objects import Seen, digest, has_foreign_fields, seen
from broch_workspaces.cluster.controller.readiness import CLASS_MISSING, WAITS_FOR_USE, judge
from broch_workspaces.cluster.manifests import data_volume_name
from broch_workspaces.cluster.spec import ZoneState, data_claim, home_claim
from support import zone_objects as b


def test_limits_and_network_rules_come_before_anything_that_can_run_or_be_used() -> None:
    order = [[one.kind.name for one in stage] for stage in stages(inventory(b.zone(), b.manifests(b.zone())))]
    flat = [name for stage in order for name in stage]
    assert flat[0] == "Namespace"
    assert flat.index("ResourceQuota") < flat.index("NetworkPolicy") < flat.index("ServiceAccount")
    assert flat.index("ServiceAccount") < flat.index("RoleBinding") < flat.index("PersistentVolume")
    assert flat[-1] == "PersistentVolumeClaim"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m["metadata"].update(namespace="kube-system"),
        lambda m: m["metadata"].update(labels={}),
        lambda m: m["metadata"]["labels"].update({"broch.dev/project": "another"}),
        lambda m: m.update(kind="Secret"),
        lambda m: m.update(apiVersion="v2"),
    ],
)
def test_what_does_not_belong_in_a_zone_is_refused_before_anything_is_applied(spoil: Any) -> None:
    wrong = b.manifests(b.zone())
    spoil(wrong[1])
    with pytest.raises(Permanent, match="defect"):
        inventory(b.zone(), wrong)
    assert len(inventory(b.zone(), b.manifests(b.zone()))) == len(wrong)


def test_a_zone_without_its_frame_is_refused() -> None:
    with pytest.raises(Permanent, match="no namespace"):
        inventory(b.zone(), b.manifests(b.zone())[1:])


def test_an_ended_grant_s_claim_and_volume_go_and_people_s_volumes_stay() -> None:
    before, after = b.zone(), b.zone(data=(), homes=())
    there = [(b.ref(m), seen(b.ref(m).kind, b.shown(m))) for m in b.manifests(before)]
    gone = [ref for ref, _ in surplus(after, inventory(after, b.manifests(after)), there)]
    assert gone == [
        Ref(CLAIM, before.namespace, data_claim(b.VERSION)),
        Ref(VOLUME, "", data_volume_name(b.PROJECT, b.VERSION)),
    ]
    assert Ref(CLAIM, before.namespace, home_claim(b.PERSON)) in dict(there)


REFS = st.builds(
    Ref,
    st.sampled_from([*ZONE_KINDS, POD]),
    st.sampled_from([b.zone().namespace, "kube-system", ""]),
    st.text(),
)


@given(st.dictionaries(REFS, st.builds(b.looked, ours=st.booleans(), kept=st.booleans())), st.sets(REFS))
def test_nothing_is_pruned_that_is_wanted_or_kept_or_not_ours(
    there: dict[Ref, Seen], wanted: set[Ref]
) -> None:
    gone = surplus(b.zone(), dict.fromkeys(wanted), there.items())
    for ref, now in gone:
        assert ref not in wanted
        assert now.ours
        assert not now.kept
        assert ref.kind not in {NAMESPACE, POD}
        assert ref.namespace == b.zone().namespace or not ref.kind.namespaced
    order = [ref.kind.stage for ref, _ in gone]
    assert order == sorted(order, reverse=True)


def test_what_another_manager_applied_is_not_ours() -> None:
    item = b.shown(b.manifests(b.zone())[1])
    assert seen(QUOTA, item).ours
    item["metadata"]["managedFields"][0]["manager"] = "kubectl"
    assert not seen(QUOTA, item).ours


def test_a_changed_field_is_seen_and_a_changed_status_is_not() -> None:
    item = b.shown(b.manifests(b.zone())[0])
    before = seen(NAMESPACE, item)
    assert seen(NAMESPACE, {**item, "status": {"phase": "Active"}}).digest == before.digest
    item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"
    assert seen(NAMESPACE, item).digest != before.digest


def test_a_rule_that_somebody_added_is_foreign() -> None:
    ours = {"manager": "broch", "operation": "Apply", "fieldsV1": {"f:spec": {"f:podSelector": {}}}}
    theirs = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {".": {}, "f:egress": {}}}}
    status = {"manager": "x", "subresource": "status", "fieldsV1": {"f:status": {"f:used": {}}}}
    item = {"metadata": {"managedFields": [ours, status]}}
    assert not has_foreign_fields(item)
    item["metadata"]["managedFields"].append(theirs)
    assert has_foreign_fields(item)


def _made(**states: str) -> tuple[dict[Ref, int], dict[Ref, Proof], dict[Ref, Seen]]:
    wanted = {b.ref(m): digest(m) for m in b.manifests(b.zone())}
    applied = {ref: proof(meant, b.looked()) for ref, meant in wanted.items()}
    state = {"Namespace": "Active", "ResourceQuota": "enforced", "PersistentVolumeClaim": "Bound"} | states
    return (
        wanted,
        applied,
        {
            ref: b.looked(state=state.get(ref.kind.name, ""), storage_class="local" * (ref.kind is CLAIM))
            for ref in wanted
        },
    )


def test_a_zone_is_ready_when_all_is_seen_as_it_was_applied() -> None:
    wanted, applied, cache = _made()
    assert judge(wanted, applied, cache.get, [], {}).waits_for == ""


@given(st.data())
def test_a_zone_is_not_ready_while_anything_is_missing_changed_or_leaving(data: st.DataObject) -> None:
    wanted, applied, cache = _made()
    ref = data.draw(st.sampled_from(sorted(wanted, key=str)))
    harm = data.draw(st.sampled_from(["missing", "changed", "leaving", "replaced", "other-manifest"]))
    if harm == "missing":
        del cache[ref]
    elif harm == "other-manifest":
        wanted[ref] += 1
    else:
        change = {"changed": {"digest": 2}, "leaving": {"leaving": True}, "replaced": {"uid": "u-2"}}[harm]
        cache[ref] = b.looked(state=cache[ref].state, **change)
    assert judge(wanted, applied, cache.get, [], {}).waits_for


@pytest.mark.parametrize(("kind", "state"), [("Namespace", "Terminating"), ("ResourceQuota", "")])
def test_a_zone_is_not_ready_before_frame_and_quota_are_in_force(kind: str, state: str) -> None:
    assert (
        "not in force" in judge(*_made(**{kind: state})[:2], _made(**{kind: state})[2].get, [], {}).waits_for
    )


def test_a_claim_may_wait_for_its_first_user_only_where_its_class_says_so() -> None:
    wanted, applied, cache = _made(PersistentVolumeClaim="Pending")
    assert judge(wanted, applied, cache.get, [], {}).classes == {"local"}
    assert judge(wanted, applied, cache.get, [], {"local": WAITS_FOR_USE}) == ("", frozenset())
    assert judge(wanted, applied, cache.get, [], {"local": "Immediate"}).waits_for
    with pytest.raises(Permanent, match="storage class 'local' does not exist; ask your administrator"):
        judge(wanted, applied, cache.get, [], {"local": CLASS_MISSING})


def test_a_zone_with_data_of_an_ended_grant_is_not_ready() -> None:
    wanted, applied, cache = _made()
    assert "ended" in judge(wanted, applied, cache.get, [Ref(CLAIM, "n", "data-x")], {}).waits_for


def test_nothing_is_in_force_that_was_not_applied_by_this_process() -> None:
    assert not in_force(None, 1, b.looked())
    assert in_force(proof(1, b.looked()), 1, b.looked())


@pytest.mark.parametrize(
    ("status", "message", "sort", "words"),
    [
        (403, "pods is forbidden: exceeded quota: zone", Temporary, "quota is full"),
        (403, "unable to create: namespace is being terminated", Temporary, "still being removed"),
        (403, "User cannot patch", Permanent, "may not"),
        (403, "ValidatingAdmissionPolicy 'x' denied", Permanent, "rule of the cluster"),
        (403, "only dynamically provisioned pvc can be resized, resize", Permanent, "size"),
        (422, "Invalid value", Permanent, "refuses"),
        (404, "not found", Temporary, "not there yet"),
        (409, "conflict", Temporary, "busy"),
        (500, "etcdserver: timed out", Temporary, "busy"),
        (429, "slow down", Temporary, "busy"),
    ],
)
def test_people_read_what_to_do_and_never_the_server_s_own_words(
    status: int, message: str, sort: type[Exception], words: str
) -> None:
    said = plain(ApiError(status, "", message), Ref(POLICY, "zone-x", "deny"))
    assert type(said) is sort
    assert words in str(said)
    assert message not in str(said)


@pytest.mark.parametrize(
    ("message", "sort", "words"),
    [
        ("", Permanent, "needs Kueue, which this cluster does not have; ask your administrator"),
        ('namespaces "zone-x" not found', Temporary, "not there yet"),
    ],
)
def test_a_kind_that_the_cluster_does_not_know_is_told_apart_from_a_namespace_on_its_way(
    message: str, sort: type[Exception], words: str
) -> None:
    said = plain(ApiError(404, "NotFound" if message else "", message), Ref(QUEUE, "zone-x", "gpu"))
    assert type(said) is sort
    assert words in str(said)


def test_a_frozen_zone_is_another_spec() -> None:
    assert b.zone(state=ZoneState.FROZEN).digest() != b.zone().digest()


@pytest.mark.parametrize(
    ("status", "message", "cannot_change"),
    [
        (422, "spec: Forbidden: spec is immutable after creation except resources.requests", True),
        (422, "spec.persistentvolumesource is immutable after creation", True),
        (422, "spec.resources.requests.storage: field can not be less than status.capacity", True),
        (
            403,
            "only dynamically provisioned pvc can be resized and the storageclass must support resize",
            True,
        ),
        (403, "Only bound persistent volume claims can be expanded", True),
        (422, "spec.hostPath.path: Required value", False),
        (403, "User cannot patch", False),
        (409, "the object has been modified; immutable", False),
    ],
)
def test_what_cannot_be_changed_is_told_from_what_is_wrong(
    status: int, message: str, cannot_change: bool
) -> None:
    assert fixed(ApiError(status, "", message)) is cannot_change
