"""The chart says the same as the code, without a cluster: what it refuses, and what the two must agree on."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import ValidationError

from broch_airlock.checks.clamd_config import clamd_conf
from broch_core.settings import Settings
from broch_workspaces.cluster.settings import PodSettings, ZoneSettings
from broch_workspaces.cluster.sources import parse_source
from broch_workspaces.gateway.settings import GatewaySettings
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem
from broch_workspaces.profiles import ClusterProfile
from broch_workspaces.sandboxes.pods import BROKER_RULES
from support.chart import CHART, values
from support.zones import SOURCES

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())


def problems(changes):
    merged = merge(merge(DEFAULTS, values()), changes)
    return [
        f"{'.'.join(map(str, one.path))}: {one.message}"
        for one in Draft7Validator(SCHEMA).iter_errors(merged)
    ]


def merge(base, over):
    if not isinstance(base, dict) or not isinstance(over, dict) or "type" in over:  # a source is taken whole
        return over
    return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def test_values_that_suffice_are_taken():
    assert problems({}) == []
    assert (
        problems({"zones": {"kueueQueue": "gpus.research"}, "packages": {"licences": ["MIT", "GPL-3.0+"]}})
        == []
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://tre.example.org"},
        {"images": {"broch": "registry.example.org/broch/broch:1"}},
        {"images": {"prefixes": ["registry.example.org"]}},
        {"web": {"replicas": 2}},
        {"zones": {"profiles": [{"name": "a", "title": "A", "image": "a:latest"}]}},
        {"zones": {"breakGlassGroup": "a' || true || 'b"}},
        {"datasets": {"source": {"type": "nfs", "server": "a'b", "path": "/x"}}},
        {"datasets": {"source": {"type": "iscsi"}}},
        {"network": {"database": [{"cidr": "::/0", "port": 5432}]}},
        {"network": {"database": [{"cidr": "10.0.0.0/8"}]}},
        {"public": {"web": {"type": "ExternalName", "port": 443}}},
        {"admission": {"enable": False}},
        {"zones": {"idmapped": True}},
        {"packages": {"registries": {"pypi": "http://pypi.example.org"}}},
        {"packages": {"registries": {"pypi": "https://pypi.example.org/"}}},
        {"packages": {"registries": {"golang": "https://proxy.example.org"}}},
        {"packages": {"hosts": {"pypi": ["https://files.example.org"]}}},
        {"packages": {"inside": ["everything"]}},
        {"packages": {"proxy": "http://proxy.example.org:3128"}},
        {"packages": {"licences": ["MIT OR Apache-2.0"]}},
        {"packages": {"bytesADay": 0}},
        {"packages": {"replicas": 2}},
        {"zones": {"kueueQueue": "a' || true || 'b"}},
        {"zones": {"kueueQueue": "Gpus"}},
        {"zones": {"nodeSelector": {"broch.dev/zones": True}}},
        {"network": {"dns": {"cidrs": ["fe80::/10"]}}},
        {"web": {"settings": {"WORKSPACE_IDEL": "PT30M"}}},
        {"web": {"settings": {"DATABASE_OWNER_URL": "postgresql+psycopg://owner@db/broch"}}},
        {"nonsense": 1},
    ],
)
def test_values_that_would_open_a_door_or_mean_nothing_are_refused(changes):
    assert problems(changes)


def test_every_value_is_in_the_schema_and_no_name_is_unknown():
    def closed(schema, path=""):
        if schema.get("properties") is not None:
            assert schema["additionalProperties"] is False, path
            for name, inner in schema["properties"].items():
                closed(inner, f"{path}.{name}")

    closed(SCHEMA)
    for path in leaves(DEFAULTS):
        place = SCHEMA
        for part in path:
            if "properties" not in place:  # a free map
                break
            assert part in place["properties"], path
            place = place["properties"][part]


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_a_source_that_the_code_knows_is_one_of_the_charts(kind):
    assert problems({"datasets": {"source": SOURCES[kind]}}) == []
    assert f'eq .type "{kind}"' in (CHART / "templates" / "admission-controller.yaml").read_text()


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_a_source_with_a_field_too_many_is_refused_by_both(kind):
    assert problems({"datasets": {"source": SOURCES[kind] | {"readOnly": False}}})
    with pytest.raises(ValidationError):
        parse_source(SOURCES[kind] | {"readOnly": False})


def test_further_settings_are_those_of_the_code_that_nothing_else_in_the_chart_decides():
    text = (CHART / "templates" / "settings.yaml").read_text()
    decided = {name.lower() for name in re.findall(r"^  BROCH_([A-Z0-9_]+):", text, re.MULTILINE)}
    # The last is for migrations alone.
    decided |= {"database_url", "database_owner_url"}
    assert decided <= set(Settings.model_fields)
    named = SCHEMA["properties"]["web"]["properties"]["settings"]["propertyNames"]["enum"]
    assert [name.lower() for name in named] == sorted(set(Settings.model_fields) - decided)
    assert problems({"web": {"settings": {"WORKSPACE_IDLE": 0, "AIRLOCK_FILE_BYTES": 1 << 30}}}) == []


def test_a_class_of_storage_may_have_a_name_with_dots():
    assert problems({"zones": {"storageClass": "rook-ceph.rbd"}}) == []
    assert ZoneSettings(ca_bundle="PEM", storage_class="rook-ceph.rbd").storage_class == "rook-ceph.rbd"


def test_a_profile_has_the_fields_that_the_code_knows():
    in_schema = SCHEMA["properties"]["zones"]["properties"]["profiles"]["items"]["properties"]
    assert set(in_schema) == set(ClusterProfile.model_fields)


def test_the_scanners_configuration_is_the_one_that_was_tried():
    assert (CHART / "files" / "clamd.conf").read_text() == clamd_conf(
        Path("/run/clamd"), Path("/var/lib/clamav")
    )


def test_the_controller_may_what_its_document_says_and_no_more():
    document = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
    told = yaml.safe_load(document.split("<!-- rights of the controller -->\n```yaml\n")[1].split("```")[0])
    text = (CHART / "templates" / "rights.yaml").read_text()
    rules = text.split("  name: {{ $controller }}")[1].split("rules:")[1].split("---")[0]
    assert yaml.safe_load(rules) == told
    for word in ("escalate", "bind,", "impersonate", "secrets", "pods/exec", '"*"'):
        assert word not in rules


def test_with_a_queue_the_controller_may_what_its_document_says_in_addition():
    document = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
    told = yaml.safe_load(
        document.split("<!-- rights of the controller with a queue -->\n```yaml\n")[1].split("```")[0]
    )
    text = (CHART / "templates" / "rights.yaml").read_text()
    part = text.split("{{- if .Values.zones.kueueQueue }}")[1].split("{{- end }}\n---")[0]
    assert yaml.safe_load(part.split("rules:")[1].split("---")[0]) == told
    assert text.count("kueue") == part.count("kueue") + 1, "no right without the value"


def test_the_broker_may_what_its_code_says_and_no_more():
    text = (CHART / "templates" / "rights.yaml").read_text()
    rules = text.rsplit("rules:", 1)[1].split("---")[0]
    assert yaml.safe_load(rules) == BROKER_RULES


def test_what_the_chart_writes_for_zones_and_pods_are_fields_of_the_code():
    text = (CHART / "templates" / "settings.yaml").read_text()
    for name in (
        "release",
        "release_namespace",
        "gateway_address",
        "image_prefixes",
        "importer_image",
        "node_selector",
        "longest_seconds",
        "packages",
        "priority_classes",
        "gpu_queue",
    ):
        assert name in PodSettings.model_fields
        assert f'"{name}"' in text
    for name in (
        "storage_class",
        "access_mode",
        "storage_id_mapped",
        "pod_security_version",
        "known_devices",
        "kueue_queue",
    ):
        assert name in ZoneSettings.model_fields
        assert f'"{name}"' in text


def test_the_package_routes_defaults_are_those_of_the_code():
    told, code = DEFAULTS["packages"], PackagesSettings.model_fields
    for ecosystem in Ecosystem:
        assert told["registries"][ecosystem] == code[ecosystem.value].default
        assert tuple(told["hosts"][ecosystem]) == code[f"{ecosystem}_hosts"].default
    assert tuple(told["condaSubdirs"]) == code["conda_subdirs"].default
    assert told["bytesADay"] == Settings.model_fields["package_bytes_a_day"].default
    assert told["licences"] == [], "the code's own list"
    assert told["scratchBytes"] == code["scratch_bytes"].default
    assert told["largestFileBytes"] == code["largest_file"].default
    assert told["enabled"] is False, "nothing leads outside unless somebody says so"


def test_one_package_route_counts_the_bytes_of_a_day_and_two_never_run_beside_each_other():
    text = (CHART / "templates" / "packages.yaml").read_text()
    assert "  replicas: 1\n" in text
    assert "  strategy: {type: Recreate}\n" in text


def test_every_variable_of_the_package_route_is_a_setting_of_the_code():
    text = (CHART / "templates" / "packages.yaml").read_text()
    names = set(re.findall(r"name: BROCH_PACKAGES_([A-Z_]+),", text))
    assert {name.lower() for name in names} <= set(PackagesSettings.model_fields)
    assert "CONTROL_PLANE" in names
    gateway = (CHART / "templates" / "gateway.yaml").read_text()
    assert "BROCH_GATEWAY_PACKAGES" in gateway
    assert "packages" in GatewaySettings.model_fields
    web = (CHART / "templates" / "settings.yaml").read_text()
    assert "BROCH_PACKAGES_URL" in web
    assert "packages_url" in Settings.model_fields


@pytest.mark.parametrize("name", ["values-dev.yaml", "values-production.yaml"])
def test_a_profile_of_values_has_only_known_names(name):
    merged = merge(DEFAULTS, yaml.safe_load((CHART / name).read_text()))
    assert [one.message for one in Draft7Validator(SCHEMA).iter_errors(merged)] == []


def test_the_classes_that_pods_name_are_those_of_the_chart_behind_all_parts_of_broch():
    text = (CHART / "templates" / "priorities.yaml").read_text()
    made = {
        f"broch-{name}": int(value)
        for name, value in re.findall(
            r"Release\.Name }}-(\S+)\n.*\nvalue: (-?\d+)\npreemptionPolicy: Never\n", text
        )
    }
    settings = PodSettings.model_construct(release="broch", priority_classes=True)
    interactive, gpu = (settings.priority_class(gpus=gpus) for gpus in (False, True))
    assert made.keys() == {interactive, gpu}
    assert made[gpu] < made[interactive] < 0
    assert PodSettings.model_construct(release="broch").priority_class(gpus=True) is None
