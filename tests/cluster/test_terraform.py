"""What the module `platform` makes of its variables is what the chart takes, by its schema and its own checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import terraform
from support.chart import render
from support.cluster.cluster import Cluster
from support.terraform import Terraform


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the chart's values for the variables of the module's own tests."""
    folder = tmp_path_factory.mktemp("platform")
    module = terraform.copy_values(folder)
    tests = (module / "tests" / "values.tftest.hcl").read_text()
    block = re.search(r"^variables \{\n(.*?)^\}\n", tests, re.MULTILINE | re.DOTALL)
    assert block
    (module / "terraform.tfvars").write_text(block[1])
    program: Terraform = terraform.ready(folder)
    program.run(module, "init", "-input=false")
    program.run(module, "apply", "-auto-approve", "-input=false")
    values: dict[str, Any] = yaml.safe_load(program.outputs(module)["values"])
    return values


def test_the_chart_takes_what_the_module_makes(cluster: Cluster, made: dict[str, Any]):
    made["network"]["apiServer"] = [{"cidr": "10.0.0.1/32", "port": 6443}]
    objects = render(cluster.helm, made)
    deployments = {one["metadata"]["name"] for one in objects if one["kind"] == "Deployment"}
    assert {"tried-web", "tried-hub", "tried-controller", "tried-gateway"} <= deployments
    services = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Service"}
    # Their names are what the module's output `entrances` says.
    assert {"tried-web-public", "tried-hub-public"} <= set(services)
    assert services["tried-web-public"]["spec"]["type"] == "LoadBalancer"


def test_the_chart_refuses_what_it_does_not_know(cluster: Cluster, made: dict[str, Any]):
    with pytest.raises(Exception, match="unknown"):
        render(cluster.helm, made | {"unknown": True})


def test_the_folder_of_the_chart_is_where_the_module_looks(made: dict[str, Any]):
    assert made
    said = re.search(
        r'"\$\{path\.module\}/([^"]+)"', (terraform.MODULES / "platform" / "main.tf").read_text()
    )
    assert said
    assert (terraform.MODULES / "platform" / Path(said[1]) / "Chart.yaml").resolve().is_file()
