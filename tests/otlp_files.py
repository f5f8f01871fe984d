"""OTLP requests for tests: the recorded corpus and made-up traces as OTLP/JSON, protobuf, lines and gzip."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_CODES = ("UNSET", "OK", "ERROR")


def value(said: Any) -> dict[str, Any]:
    """An attribute value in OTLP/JSON."""
    if isinstance(said, bool):
        return {"boolValue": said}
    if isinstance(said, int):
        return {"intValue": str(said)}
    if isinstance(said, float):
        return {"doubleValue": said}
    if isinstance(said, str):
        return {"stringValue": said}
    if isinstance(said, dict) and set(said) == {"__bytes__"}:
        import base64

        return {"bytesValue": base64.b64encode(bytes.fromhex(said["__bytes__"])).decode()}
    if isinstance(said, dict):
        return {"kvlistValue": {"values": pairs(said)}}
    if said is None:
        return {}
    return {"arrayValue": {"values": [value(item) for item in said]}}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes in OTLP/JSON."""
    return [{"key": key, "value": value(said)} for key, said in attributes.items()]


def span(
    trace_id: str, span_id: str, parent: str | None = None, *, start: int = 10**18, end: int = 10**18 + 10**9, kind: int = 1,
    attributes: dict[str, Any] | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A span in OTLP/JSON."""
    found = {
        "traceId": trace_id, "spanId": span_id, "name": "SECRET-NAME", "kind": kind, "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end), "attributes": pairs(attributes or {}), **more,
    }  # fmt: skip
    return found | ({"parentSpanId": parent} if parent else {})


def request(
    spans: Iterable[dict[str, Any]], service: str | None = "svc", logs: Iterable[dict[str, Any]] = (), **resource: Any
) -> dict[str, Any]:
    """A request in OTLP/JSON."""
    attributes = pairs({**({"service.name": service} if service else {}), **resource})
    found: dict[str, Any] = {}
    spans, logs = list(spans), list(logs)
    if spans or not logs:
        found["resourceSpans"] = [{"resource": {"attributes": attributes}, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]
    if logs:
        found["resourceLogs"] = [{"resource": {"attributes": attributes}, "scopeLogs": [{"scope": {"name": "s"}, "logRecords": logs}]}]
    return found


def of_recording(path: Path) -> dict[str, Any]:
    """A file of the corpus as one request."""
    recording = json.loads(path.read_text(encoding="utf-8"))
    spans = [
        {
            "traceId": it["trace_id"], "spanId": it["span_id"], "parentSpanId": it["parent_span_id"] or "", "name": it["name"],
            "kind": _KINDS.index(it["kind"]), "startTimeUnixNano": str(it["start_time_unix_nano"]),
            "endTimeUnixNano": str(it["end_time_unix_nano"]), "attributes": pairs(it["attributes"]),
            "status": {"code": _CODES.index(it["status"]["code"]), "message": it["status"]["description"] or ""},
            "events": [
                {"name": event["name"], "timeUnixNano": str(event.get("timestamp_unix_nano") or event.get("time_unix_nano") or 0),
                 "attributes": pairs(event.get("attributes") or {})}
                for event in it["events"]
            ],
        }
        for it in recording["spans"]
    ]  # fmt: skip
    logs = [
        {
            "traceId": it["trace_id"] or "", "spanId": it["span_id"] or "", "eventName": it["event_name"] or "",
            "timeUnixNano": str(it["time_unix_nano"] or 0), "observedTimeUnixNano": str(it["observed_time_unix_nano"] or 0),
            "body": value(it["body"]), "attributes": pairs(it["attributes"]),
        }
        for it in recording["logs"]
    ]  # fmt: skip
    scope_names = {it["span_id"]: it["scope"]["name"] for it in recording["spans"]}

    def by_scope(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = dict.fromkeys(scope_names[it["spanId"]] for it in items)
        return [{"scope": {"name": name}, "spans": [it for it in items if scope_names[it["spanId"]] == name]} for name in names]

    resource = pairs(recording["resource"])
    scopes: dict[str, Any] = {
        "resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": by_scope(spans)}],
    }
    if logs:
        scopes["resourceLogs"] = [{"resource": {"attributes": resource}, "scopeLogs": [{"scope": {}, "logRecords": logs}]}]
    return scopes


def to_proto(found: dict[str, Any]) -> list[bytes]:
    """The request in protobuf: one of traces and one of logs, as far as there are any."""
    made: list[bytes] = []
    for key, kind, scopes, items in (
        ("resourceSpans", ExportTraceServiceRequest, "scope_spans", "spans"),
        ("resourceLogs", ExportLogsServiceRequest, "scope_logs", "log_records"),
    ):
        if key not in found:
            continue
        request = kind()
        for group in found[key]:
            to = getattr(request, "resource_spans" if key == "resourceSpans" else "resource_logs").add()
            to.resource.attributes.extend(_pair(pair) for pair in group["resource"]["attributes"])
            scope_key, item_key = ("scopeSpans", "spans") if key == "resourceSpans" else ("scopeLogs", "logRecords")
            for scope in group[scope_key]:
                target = getattr(to, scopes).add()
                target.scope.name = scope["scope"].get("name") or ""
                for item in scope[item_key]:
                    _item(getattr(target, items).add(), item)
        made.append(request.SerializeToString())
    return made


def _item(to: Any, item: dict[str, Any]) -> None:
    to.trace_id, to.span_id = bytes.fromhex(item.get("traceId") or ""), bytes.fromhex(item.get("spanId") or "")
    to.attributes.extend(_pair(pair) for pair in item.get("attributes") or ())
    to.flags = item.get("flags", 0)
    if "startTimeUnixNano" in item:
        to.parent_span_id = bytes.fromhex(item.get("parentSpanId") or "")
        to.name, to.kind, to.trace_state = item["name"], item["kind"], item.get("traceState", "")
        to.start_time_unix_nano, to.end_time_unix_nano = int(item["startTimeUnixNano"]), int(item["endTimeUnixNano"])
        to.status.code = item.get("status", {}).get("code", 0)
        to.status.message = item.get("status", {}).get("message", "")
        for event in item.get("events") or ():
            to.events.add(
                name=event["name"], time_unix_nano=int(event["timeUnixNano"]), attributes=[_pair(pair) for pair in event["attributes"]]
            )
    else:
        to.event_name = item["eventName"]
        to.time_unix_nano = int(item.get("timeUnixNano", 0))
        to.observed_time_unix_nano = int(item.get("observedTimeUnixNano", 0))


def _pair(pair: dict[str, Any]) -> KeyValue:
    return KeyValue(key=pair["key"], value=_any(pair["value"]))


def _any(said: dict[str, Any]) -> AnyValue:
    import base64

    made = AnyValue()
    for key, it in said.items():
        if key == "arrayValue":
            made.array_value.values.extend(_any(item) for item in it["values"])
            made.array_value.SetInParent()
        elif key == "kvlistValue":
            made.kvlist_value.values.extend(_pair(item) for item in it["values"])
            made.kvlist_value.SetInParent()
        elif key == "bytesValue":
            made.bytes_value = base64.b64decode(it)
        elif key == "intValue":
            made.int_value = int(it)
        else:
            setattr(made, {"stringValue": "string_value", "boolValue": "bool_value", "doubleValue": "double_value"}[key], it)
    return made


def delimited(requests: Iterable[bytes]) -> bytes:
    """The Collector's file form."""
    return b"".join(len(request).to_bytes(4) + request for request in requests)
