"""What an asset owner, who is in no project, may choose from: projects for a grant, members for the right to export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

UNTIL = str(datetime.now(UTC).date() + timedelta(days=10))


@pytest.fixture
def cells(gov):
    """Return a sealed version of a dataset of owen's that no project has."""
    steward = gov.api("stella")
    dataset = steward.post("/api/v1/datasets", json={"slug": "cells", "title": "Cells", "owner": "owen"})
    version = steward.post(f"/api/v1/datasets/{dataset.json()['id']}/versions").json()
    path = f"/api/v1/dataset-versions/{version['id']}"
    headers = {"Content-Type": "application/octet-stream"}
    assert steward.put(f"{path}/files/table.csv", content=b"a\n", headers=headers).status_code == 201
    return steward.post(f"{path}/seal").json()


def test_an_owner_finds_every_project_that_has_not_ended_by_its_slug(gov, cells):
    path = f"/api/v1/datasets/{cells['dataset_id']}/grantable-projects"
    found = gov.api("owen").get(path)
    assert found.status_code == 200
    assert [(row["slug"], row["name"]) for row in found.json()] == [("alpha", "Alpha"), ("beta", "Beta")]
    assert gov.api("owen").get("/api/v1/projects").json()["items"] == []  # a member of none
    beta = next(row["id"] for row in found.json() if row["slug"] == "beta")
    assert gov.api("ada").post(f"/api/v1/projects/{beta}/end").status_code == 200
    assert [row["slug"] for row in gov.api("owen").get(path).json()] == ["alpha"]


def test_an_owner_finds_members_only_of_projects_that_have_the_dataset(gov, cells):
    owen, base = gov.api("owen"), f"/api/v1/datasets/{cells['dataset_id']}"
    assert owen.get(f"{base}/export-candidates").json() == []
    project = gov.world.project.id
    grant = {"project_id": project, "version_id": cells["id"], "until": UNTIL}
    assert owen.post(f"{base}/grants", json=grant).json()["project"]["slug"] == "alpha"
    found = owen.get(f"{base}/export-candidates").json()
    assert {row["person"]["handle"] for row in found} == {"ruth", "robin"}
    assert {row["project"]["slug"] for row in found} == {"alpha"}
    robin = gov.world.people["robin"].id
    given = owen.post(f"{base}/export-permissions", json={"project_id": project, "person_id": robin})
    assert given.json()["project"]["slug"] == "alpha"
    left = owen.get(f"{base}/export-candidates").json()
    assert [row["person"]["handle"] for row in left] == ["ruth"]


@pytest.mark.parametrize("list_", ["grantable-projects", "export-candidates"])
@pytest.mark.parametrize("handle", ["ada", "stella", "ruth", "sam"])
def test_only_the_owner_may_choose(gov, cells, list_, handle):
    path = f"/api/v1/datasets/{cells['dataset_id']}/{list_}"
    refused = gov.api(handle).get(path)
    assert refused.status_code == 403
    assert "asset owner" in refused.json()["detail"]
    assert gov.api("owen").get(path).status_code == 200
    assert gov.api("owen").get(f"/api/v1/datasets/01JD3W7Z8Q5T9XK2M4N6P8R0SV/{list_}").status_code == 404
