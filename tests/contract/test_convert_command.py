"""`spanline convert` as users type it: forms, streams, exit status, what it says, what it leaves behind, and how much it takes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spanline.testing.validation import validate_event
from tests.otlp_files import delimited, request, span, to_proto

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.input.messages": "SECRET"}
GOOD = json.dumps(request([span("0af7651916cd43dd8448eb211c80319c", "00000000000000a1", attributes=CHAT)])).encode()
OTHER = json.dumps(request([span("1bf7651916cd43dd8448eb211c80319c", "00000000000000b1", attributes=CHAT)])).encode()

Convert = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """The command, in an empty folder, with a home and a temporary folder that are looked into afterwards."""

    def run(*args: str, data: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
        for name in ("home", "tmp", "cwd"):
            (tmp_path / name).mkdir(exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path / "tmp"),
            "SPANLINE_HASH_KEY": "key",
            **environ,
        }
        if "PYTHONPATH" in os.environ:
            env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        done = subprocess.run(
            [sys.executable, "-m", "spanline.cli", "convert", *args],
            input=data,
            capture_output=True,
            env=env,
            cwd=tmp_path / "cwd",
            check=False,
        )
        assert [path for name in ("home", "tmp", "cwd") for path in (tmp_path / name).rglob("*")] == []
        return done

    return run


def runs(done: subprocess.CompletedProcess[bytes]) -> list[tuple[str, str]]:
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        validate_event(event)
    return [(event["run"]["runId"][:8], event["eventType"]) for event in events]


BOTH = [("0af76519", "START"), ("0af76519", "COMPLETE"), ("1bf76519", "START"), ("1bf76519", "COMPLETE")]


def forms() -> dict[str, bytes]:
    proto = [part for line in (GOOD, OTHER) for part in to_proto(json.loads(line))]
    return {
        "lines": GOOD + b"\n" + OTHER + b"\n",
        "lines without the last end": GOOD + b"\n\n" + OTHER,
        "windows": b"\xef\xbb\xbf" + GOOD + b"\r\n" + OTHER + b"\r\n",
        "pretty": json.dumps([json.loads(GOOD), json.loads(OTHER)], indent=2).encode(),
        "pretty, one request": json.dumps(
            {"resourceSpans": json.loads(GOOD)["resourceSpans"] + json.loads(OTHER)["resourceSpans"]}, indent=4
        ).encode(),
        "a leading empty line": b"\n  \n" + GOOD + b"\n" + OTHER,
        "one request": b"".join(proto),
        "length-delimited": delimited(proto),
        "gzip of lines": gzip.compress(GOOD + b"\n" + OTHER),
        "gzip in two members": gzip.compress(GOOD + b"\n") + gzip.compress(OTHER),
        "gzip of protobuf": gzip.compress(delimited(proto)),
    }


@pytest.mark.parametrize("form", list(forms()))
def test_every_form_from_a_file_and_from_a_pipe(convert: Convert, tmp_path: Path, form: str) -> None:
    file = tmp_path / "telemetry.bin"  # the name says nothing
    file.write_bytes(forms()[form])
    by_file, by_pipe, by_dash = convert(str(file)), convert(data=file.read_bytes()), convert("-", data=file.read_bytes())
    assert by_file.returncode == by_pipe.returncode == by_dash.returncode == 0
    assert by_file.stderr == by_pipe.stderr == b""
    assert runs(by_file) == BOTH
    assert by_file.stdout == by_pipe.stdout == by_dash.stdout


def test_all_files_are_one_input(convert: Convert, tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    (tmp_path / "a").write_text(json.dumps(request([span(trace, "00000000000000a2", "00000000000000a1", attributes=CHAT)])))
    root = request([span(trace, "00000000000000a1", kind=2, attributes={"http.request.method": "GET", "http.route": "/x"})])
    (tmp_path / "b").write_bytes(to_proto(root)[0])
    done = convert(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a"))
    (_, event) = [json.loads(line) for line in done.stdout.splitlines()]
    assert event["job"]["name"] == "svc.GET /x"
    assert len(event["run"]["facets"]["spanline_operations"]["operations"]) == 1


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (b'{"resourceSpans": [{"SECRET": ', 2),
        (b"SECRET", 2),
        (b'{"SECRET": 1}', 2),
        (b"[1, 2]", 2),
        (b"\xff\xfe", 2),
        (b'{"resourceSpans": "SECRET"}', 2),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "SECRET"}]}]}]}', 2),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5, "spanId": []}]}]}]}', 2),
        (b"[" * 100_000, 2),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_broken_line_is_named_and_the_rest_is_converted(convert: Convert, tmp_path: Path, broken: bytes, line: int, place: str) -> None:
    file = tmp_path / "telemetry.jsonl"
    file.write_bytes(b"\n".join([broken, GOOD, OTHER] if place == "first" else [GOOD, broken, OTHER]))
    done = convert(str(file))
    assert done.returncode == 1
    (said,) = done.stderr.decode().splitlines()
    assert said.startswith(f"spanline convert: {file}:{1 if place == 'first' else line}: ")
    assert "SECRET" not in said
    assert runs(done) == BOTH


def test_one_broken_span_or_attribute_leaves_its_neighbours(convert: Convert) -> None:
    it = json.loads(GOOD)
    spans = it["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans.append({**span("1bf7651916cd43dd8448eb211c80319c", "00000000000000b1", attributes=CHAT), "startTimeUnixNano": {"SECRET": 1}})
    spans[0]["attributes"].append({"key": "x", "value": {"intValue": ["SECRET"]}})
    spans.append(span("1bf7651916cd43dd8448eb211c80319c", "0000000000000000"))
    done = convert(data=json.dumps(it).encode())
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert b"and 2 more" in done.stderr
    assert b"SECRET" not in done.stderr
    assert runs(done) == BOTH[:2]


@pytest.mark.parametrize(
    "data", [delimited(to_proto(json.loads(GOOD)) * 2)[:-9], gzip.compress(GOOD + b"\n" + OTHER * 50)[:-30], b"\x0a\xff\xff\xff\x0f"]
)
def test_a_file_that_is_cut_off_is_named_once(convert: Convert, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "cut").write_bytes(data)
    done = convert(str(tmp_path / "cut"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_empty_inputs_and_metrics_are_no_error(convert: Convert) -> None:
    metrics = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "x" * 16}]}]}]}).encode()
    for data in (b"", b"\n\n", b"{}", metrics, gzip.compress(b""), delimited([b""])):
        done = convert(data=data)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("args", [["missing.json"], ["--to", "marquez"], ["--nope"], ["."]])
def test_a_missing_file_or_bad_option_is_2_before_anything_is_written(convert: Convert, tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "good").write_bytes(GOOD)
    done = convert(str(tmp_path / "good"), *args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


def test_records_options_and_the_same_bytes_each_time(convert: Convert) -> None:
    first, again = (
        convert("--namespace", "prod", "--service", "mine", data=GOOD),
        convert("--namespace", "prod", "--service", "mine", data=GOOD),
    )
    assert first.stdout == again.stdout
    event = json.loads(first.stdout.splitlines()[1])
    assert event["job"]["namespace"] == "prod"
    assert event["job"]["name"] == "mine.chat m"
    record = json.loads(convert("--to", "record", data=GOOD).stdout)
    assert (record["runId"], record["job"], record["usage" if "usage" in record else "outcome"]) == (
        event["run"]["runId"],
        "svc.chat m",
        "COMPLETE",
    )
    from_environment = convert(data=GOOD, SPANLINE_NAMESPACE="env", SPANLINE_BASE_URL="https://runs.example")
    event = json.loads(from_environment.stdout.splitlines()[1])
    assert event["job"]["namespace"] == "env"
    assert event["run"]["facets"]["spanline_trace"]["runUrl"] == "https://runs.example/r/0af7651916cd43dd8448eb211c80319c"


def test_without_a_key_digests_are_random_with_a_warning(convert: Convert) -> None:
    documents = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "kb",
        "gen_ai.retrieval.documents": '[{"id": "jane@example.com"}]',
    }
    data = json.dumps(request([span("0af7651916cd43dd8448eb211c80319c", "00000000000000a1", attributes=documents)])).encode()
    first, again = convert(data=data, SPANLINE_HASH_KEY=""), convert(data=data, SPANLINE_HASH_KEY="")
    assert first.returncode == 0
    assert first.stdout != again.stdout
    (warning,) = first.stderr.decode().splitlines()
    assert "warning" in warning
    assert "SPANLINE_HASH_KEY" in warning
    with_key = convert(data=data)
    assert with_key.stderr == b""
    assert with_key.stdout == convert(data=data).stdout


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    spans = [span(f"{number:032x}", f"{number:016x}", attributes=CHAT) for number in range(1, 2000)]
    (tmp_path / "many").write_text(json.dumps(request(spans)))
    done = subprocess.run(
        f"{sys.executable} -m spanline.cli convert {tmp_path / 'many'} | head -1", shell=True, capture_output=True, check=False,
        env={**os.environ, "SPANLINE_HASH_KEY": "key"},
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b""


MEMORY = """
import sys
from spanline.cli.main import main
from spanline.convert.converter import Converter
Converter.__init__.__kwdefaults__["memory"] = 2 << 20  # spills early: the files of a test are small
try:
    main(["convert", *sys.argv[1:]])
except SystemExit as exit:
    # The peak of this program alone: getrusage() has that of the process that started it too.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) // 1024, exit.code, file=sys.stderr)
"""


def much(folder: Path, form: str, megabytes: int) -> tuple[Path, int]:
    """A file with traces of four spans, whose parts lie far from one another, and half of it content."""
    file, size, number = folder / f"much.{form}", 0, 0
    waiting: list[list[dict[str, Any]]] = []
    content = {"gen_ai.input.messages": json.dumps([{"role": "user", "content": "SECRET " * 300}])}
    with file.open("wb") as out:
        while size < megabytes << 20:
            number += 1
            trace, first = f"{number * 2654435761:032x}", number * 16
            said = {
                **CHAT,
                **content,
                "gen_ai.response.id": f"r{number}",
                "gen_ai.usage.input_tokens": 41,
                "gen_ai.usage.output_tokens": 17,
            }
            made = [span(trace, f"{first:016x}", kind=2, attributes={"http.request.method": "POST", "http.route": "/chat"})]
            made += [span(trace, f"{first + n:016x}", f"{first:016x}", kind=3, attributes=said) for n in (1, 2, 3)]
            waiting.append(made)
            if len(waiting) == 200:
                for part in range(4):
                    it = request([spans[part] for spans in waiting])
                    if form == "one.json":
                        line = (
                            (b"" if size else b'{"resourceSpans":[') + (b"," if size else b"") + json.dumps(it["resourceSpans"][0]).encode()
                        )
                    elif form == "proto":
                        line = delimited(to_proto(it))
                    else:
                        line = json.dumps(it).encode() + b"\n"
                    size += out.write(line)
                waiting = []
        if form == "one.json":
            out.write(b"]}")
    return file, number - len(waiting)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("form", ["lines.jsonl", "proto", "one.json"])
def test_a_large_file_takes_bounded_memory(tmp_path: Path, form: str) -> None:
    """Twice the input takes about the same memory, and far less than the input."""
    taken: list[int] = []
    for megabytes in (24, 72):
        file, traces = much(tmp_path, form, megabytes)
        with (tmp_path / "out").open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-c", MEMORY, str(file)], stdout=out, stderr=subprocess.PIPE, check=True,
                env={**os.environ, "SPANLINE_HASH_KEY": "key"},
            )  # fmt: skip
        used, code = map(int, done.stderr.split())
        assert code == 0
        taken.append(used)
        with (tmp_path / "out").open("rb") as lines:
            assert sum(1 for _ in lines) == 2 * traces
    assert taken[1] < 160
    assert taken[1] < taken[0] * 1.5
