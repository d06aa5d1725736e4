"""What the API server's refusal of a pod means: its real messages, and what a person is told."""

import pytest

from broch_spawner.refusals import AWAY, NO_RIGHTS, amount, in_bytes, refusal_in_words

REMEDY = "Stop a workspace or ask your administrator."


def quota(asked, used, limit):
    return f'pods "ws-x" is forbidden: exceeded quota: compute, requested: {asked}, used: {used}, limited: {limit}'


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            quota("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=2", "requests.nvidia.com/gpu=2"),
            "All 2 GPUs of this project are in use. Stop a workspace or ask your administrator.",
        ),
        (
            quota("requests.nvidia.com/gpu=2", "requests.nvidia.com/gpu=3", "requests.nvidia.com/gpu=4"),
            "This workspace needs 2 GPUs, and this project has 1 of 4 left. Stop a workspace or ask your administrator.",
        ),
        (
            quota("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=0", "requests.nvidia.com/gpu=0"),
            "This project has no GPUs. Choose another profile or ask your administrator.",
        ),
        (
            quota("requests.nvidia.com/mig-1g.10gb=1", "requests.nvidia.com/mig-1g.10gb=3",
                  "requests.nvidia.com/mig-1g.10gb=3"),
            "All 3 GPU slices (mig-1g.10gb) of this project are in use. Stop a workspace or ask your administrator.",
        ),
        (
            quota("limits.memory=4294967296,requests.memory=4294967296", "limits.memory=62Gi,requests.memory=62Gi",
                  "limits.memory=64Gi,requests.memory=64Gi"),
            f"This workspace needs 4 GiB of memory, and this project has 2 GiB of 64 GiB left. {REMEDY}",
        ),
        (
            quota("limits.cpu=2", "limits.cpu=15500m", "limits.cpu=16"),
            f"This workspace needs 2 cores, and this project has 0.5 of 16 left. {REMEDY}",
        ),
        (
            quota("pods=1", "pods=20", "pods=20"),
            f"This project may run 20 workspaces at once, and all are running. {REMEDY}",
        ),
        (
            quota("pods=1,limits.memory=1Gi", "pods=0,limits.memory=0", "pods=0,limits.memory=0"),
            "No workspace may run in this project at present. Ask your administrator.",
        ),
        (
            quota("pods=1,requests.nvidia.com/gpu=1", "pods=2,requests.nvidia.com/gpu=2",
                  "pods=2,requests.nvidia.com/gpu=2"),
            "All 2 GPUs of this project are in use. Stop a workspace or ask your administrator.",
        ),
        (quota("limits.cpu=x", "limits.cpu=?", "limits.cpu=z"), f"This project has used up what it may use. {REMEDY}"),
    ],
)  # fmt: skip
def test_a_full_quota_names_what_is_full(message, said):
    assert refusal_in_words(403, message) == said


def test_a_rule_of_the_cluster_is_said_with_its_own_words():
    message = (
        "pods \"ws-x\" is forbidden: ValidatingAdmissionPolicy 'broch-pods' with binding 'broch-pods' denied request: "
        "data is mounted read-only"
    )
    assert refusal_in_words(422, message) == (
        "The cluster's rules refuse this workspace: data is mounted read-only. Tell your administrator."
    )


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (403, 'pods "ws-x" is forbidden: violates PodSecurity "restricted:v1.35": x', "security rules"),
        (403, 'pods "ws-x" is forbidden: unable to create new content in namespace zone-x because it is being terminated',
         "is being removed"),
        (403, 'pods is forbidden: User "system:serviceaccount:broch:hub" cannot create resource', NO_RIGHTS),
        (404, 'namespaces "zone-x" not found', "is not there yet"),
        (503, "", AWAY),
        (418, "teapot", "refuses this workspace"),
    ],
)  # fmt: skip
def test_other_refusals_say_what_to_do_and_no_name_of_the_inside(status, message, said):
    text = refusal_in_words(status, message)
    assert said in text
    assert "serviceaccount" not in text
    assert "zone-x" not in text


@pytest.mark.parametrize(
    ("quantity", "number"), [("500m", 0.5), ("2", 2), ("4Gi", 4 << 30), ("1.5Gi", 1.5 * 2**30), ("1k", 1000)]
)
def test_quantities_are_read(quantity, number):
    assert amount(quantity) == number


@pytest.mark.parametrize("quantity", ["", "x", "1Zi", "-1", "1e3e"])
def test_what_is_no_quantity_is_refused(quantity):
    with pytest.raises(ValueError, match="no quantity"):
        amount(quantity)


def test_sizes_are_said_in_their_unit():
    assert [in_bytes(size) for size in (4 << 30, 3 << 29, 20 << 20, 7)] == [
        "4 GiB",
        "1.5 GiB",
        "20 MiB",
        "7 bytes",
    ]
