"""Sources of data: each says how it is read-only, and none leads out of its folder."""

import pytest
from pydantic import ValidationError

from broch_workspaces.cluster.sources import parse_source
from support.zones import SOURCES

ALL = pytest.mark.parametrize("kind", sorted(SOURCES))


@ALL
def test_a_source_says_what_makes_it_read_only_before_kubernetes_does(kind):
    assert len(type(parse_source(SOURCES[kind])).credentials) > 40


@ALL
def test_a_folder_below_lies_below(kind):
    source = parse_source(SOURCES[kind])
    assert source.below("v1").path == f"{source.path.rstrip('/')}/v1"
    assert source.below("v1").path in str(source.below("v1").volume("handle"))


@ALL
@pytest.mark.parametrize("name", ["../other", "a/../../b", "..", "a,rw", "a\0b", "a b", "x" * 300])
def test_no_name_leads_elsewhere(kind, name):
    with pytest.raises(ValidationError):
        parse_source(SOURCES[kind]).below(name)


@ALL
def test_an_unknown_field_is_refused(kind):
    assert parse_source(SOURCES[kind])
    with pytest.raises(ValidationError):
        parse_source(SOURCES[kind] | {"readOnly": False})


def test_an_unknown_type_is_refused():
    with pytest.raises(ValidationError):
        parse_source({"type": "iscsi", "path": "/x"})


def test_only_the_file_system_of_a_node_has_id_mapped_mounts_for_sure():
    assert {kind for kind in SOURCES if parse_source(SOURCES[kind]).id_mapped} == {"host-path"}


@pytest.mark.parametrize("namespace", ["zone-01abc", "zone-"])
def test_credentials_never_lie_in_a_zone(namespace):
    with pytest.raises(ValidationError):
        parse_source(SOURCES["cephfs"] | {"secret": {"name": "s", "namespace": namespace}})
