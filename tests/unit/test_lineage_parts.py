"""Locations, encoding and the store of schemas."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from spanline.lineage import facets, schema_store
from spanline.lineage.encoding import encode
from spanline.lineage.location import source_location
from spanline.record.redact import without_secrets


@pytest.mark.parametrize(
    ("repository", "path", "url"),
    [
        ("https://github.com/acme/fees", None, "https://github.com/acme/fees/tree/abc"),
        ("https://github.com/acme/fees.git", "jobs/build.py", "https://github.com/acme/fees/blob/abc/jobs/build.py"),
        ("git@github.com:acme/fees.git", None, "https://github.com/acme/fees/tree/abc"),
        ("ssh://git@gitlab.example:2222/acme/fees.git", None, "https://gitlab.example/acme/fees/-/tree/abc"),
        ("https://ann:token@bitbucket.org/acme/fees", "a.py", "https://bitbucket.org/acme/fees/src/abc/a.py"),
        ("http://forge.example:3000/acme/fees", None, "http://forge.example:3000/acme/fees/tree/abc"),
        ("https://github.com/acme/fees", "../../etc/passwd", "https://github.com/acme/fees/tree/abc"),
        ("https://github.com/acme/fees", "x" * 300, "https://github.com/acme/fees/tree/abc"),
    ],
)
def test_where_code_stands(repository, path, url):
    location = source_location(repository, "abc", path)
    assert location is not None
    assert location.url == url


@pytest.mark.parametrize(
    "repository", [None, "", "/home/ann/fees", "file:///home/ann/fees", "javascript:alert(1)", "https://", "https://h/" + "x" * 300]
)
def test_no_location_without_a_url(repository):
    assert source_location(repository, "abc", None) is None


def test_without_commit_the_repository_alone():
    location = source_location("https://github.com/acme/fees", None, "a.py")
    assert location is not None
    assert (location.url, location.version) == ("https://github.com/acme/fees", None)


def test_secrets_of_urls_are_cut():
    assert without_secrets("https://ann:pw@host:8/a?token=1#f") == "https://host:8/a"
    assert without_secrets("s3://bucket/key") == "s3://bucket/key"
    assert without_secrets("fees.lance") == "fees.lance"


class Box(msgspec.Struct):
    """An event with anything in it."""

    value: object


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"), ("ünï 手", "ünï 手"), ('say "hi" \\', 'say "hi" \\'), ("null", "null"), ("a\x00\x1f\x7f\x85b", "ab"), ("\ud800x", "x"),
        ({"a\x00": 1}, {"a": 1}), ({"a": math.nan, "b": 1.5}, {"b": 1.5}), ([math.inf, 1], [1]), ({"a": None}, {}), ({"a": object()}, {}),
        ("x" * 1024, "x" * 1024), ("x" * 1025, "x" * 1024), ("ü" * 3000, "ü" * 1024), (["ok"] * 900 + ["x" * 5000], ["ok"] * 900 + ["x" * 1024]),
        (True, True), (2**40, 2**40), ({"k": "v" * 1100, "n": math.nan, "big": 1 << 70}, {"k": "v" * 1024}),
    ],
)  # fmt: skip
def test_encoding_repairs_what_no_consumer_takes(value, expected):
    assert json.loads(encode(Box(value))) == {"value": expected}


def test_every_facet_of_ours_has_its_schema():
    assert {(name, facets.VERSION) for name in facets.CLASSES} <= set(schema_store.names())
    for name, version in schema_store.names():
        document = schema_store.schema(name, version)
        definition = document["$defs"][facets.CLASSES[name]]
        assert definition["additionalProperties"] is False
        assert {"_producer", "_schemaURL"} <= set(definition["required"])
        assert document["$id"].endswith(f"/{name}/{version}")


@pytest.mark.parametrize(("facet", "version"), [("spanline_trace", "9-9-9"), ("spanline_none", "1-0-0"), ("../events", "1-0-0"), ("", "")])
def test_there_is_no_other_schema(facet, version):
    with pytest.raises(KeyError):
        schema_store.schema(facet, version)


@pytest.mark.parametrize(
    ("struct", "key"),
    [
        (facets.TraceFacet, "spanline_trace"), (facets.ReleaseFacet, "spanline_release"), (facets.OperationsFacet, "spanline_operations"),
        (facets.UsageFacet, "spanline_usage"), (facets.GuardrailsFacet, "spanline_guardrails"), (facets.ConflictsFacet, "spanline_conflicts"),
        (facets.EvaluationsFacet, "spanline_evaluations"), (facets.MetricsFacet, "spanline_metrics"), (facets.ArtifactFacet, "spanline_artifact"),
        (facets.RetrievalFacet, "spanline_retrieval"),
    ],
)  # fmt: skip
def test_structs_and_schemas_have_the_same_properties(struct, key):
    definition = schema_store.schema(key, facets.VERSION)["$defs"][facets.CLASSES[key]]
    assert set(struct.__struct_encode_fields__) == set(definition["properties"])
