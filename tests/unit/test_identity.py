"""Run ids, ownership entries and id generators."""

from __future__ import annotations

import random
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from spanline.identity import (
    MAX_ENTRY,
    UrandomIdGenerator,
    child_run_id,
    parse_tracestate_entry,
    run_id_of,
    trace_id_of,
    tracestate_entry,
)

trace_ids = st.integers(min_value=1, max_value=(1 << 128) - 1)
span_ids = st.integers(min_value=1, max_value=(1 << 64) - 1)


@given(trace_ids)
def test_run_id_is_the_dashed_uuid_of_the_trace_id_and_leads_back(trace_id: int) -> None:
    run_id = run_id_of(trace_id)
    assert run_id == str(uuid.UUID(int=trace_id))
    assert trace_id_of(run_id) == trace_id
    assert trace_id_of(f"{trace_id:032x}") == trace_id
    assert trace_id_of(f"{trace_id:032X}") == trace_id


@pytest.mark.parametrize("trace_id", [0, -1, 1 << 128])
def test_run_id_refuses_what_is_no_trace_id(trace_id: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        run_id_of(trace_id)


@pytest.mark.parametrize(
    "text",
    ["", "0" * 32, "00000000-0000-0000-0000-000000000000", "0" * 31, "g" * 32, "0af7651916cd43dd8448eb211c80319c\n", " " * 32, "0" * 33,
     "0af76519-16cd43dd-8448-eb21-1c80319c", "{0af76519-16cd-43dd-8448-eb211c80319c}", "٠" * 32],
)  # fmt: skip
def test_malformed_and_all_zero_ids_are_none(text: str) -> None:
    assert trace_id_of(text) is None


@given(st.text())
def test_any_text_is_read_without_an_exception(text: str) -> None:
    found = trace_id_of(text)
    assert found is None or 0 < found < 1 << 128


@given(trace_ids, span_ids)
def test_child_run_ids_are_deterministic_and_differ_from_the_root(trace_id: int, span_id: int) -> None:
    child = child_run_id(trace_id, span_id)
    assert child == child_run_id(trace_id, span_id) == str(uuid.uuid5(uuid.UUID(int=trace_id), f"{span_id:016x}"))
    assert child != run_id_of(trace_id)


names = st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@given(names, names)
def test_tracestate_entry_leads_back_and_fits_the_grammar(namespace: str, job: str) -> None:
    entry = tracestate_entry(namespace, job, "svc")
    assert len(entry) <= MAX_ENTRY
    assert all(0x21 <= ord(c) <= 0x7E and c not in ",=" for c in entry)
    found = parse_tracestate_entry(entry)
    assert found is not None
    if len(f"{namespace}{job}".encode()) * 3 + 1 <= MAX_ENTRY:
        assert found == (namespace, job)


def test_a_long_job_name_gives_way_to_the_service() -> None:
    entry = tracestate_entry("rag-prod", "svc.POST /" + "x" * 300, "svc")
    assert entry == "rag-prod/svc"


@given(st.text(min_size=1, max_size=2000), st.text(min_size=1, max_size=2000))
def test_entry_never_exceeds_its_limit(namespace: str, service: str) -> None:
    clean = namespace.encode("utf-8", "ignore").decode() or "n"
    assert len(tracestate_entry(clean, "j" * 500, service.encode("utf-8", "ignore").decode() or "s")) <= MAX_ENTRY


@pytest.mark.parametrize("value", ["", "x", "/", "a/", "/b", "a/b/c", "a" * 200 + "/" + "b" * 200])
def test_entries_of_others_are_not_ours(value: str) -> None:
    assert parse_tracestate_entry(value) is None


def test_ids_come_from_the_operating_system_and_vary_in_every_bit() -> None:
    generator = UrandomIdGenerator()
    ones = zeros = 0
    for _ in range(400):
        trace_id = generator.generate_trace_id()
        ones |= trace_id
        zeros |= ~trace_id
    assert ones & ((1 << 128) - 1) == (1 << 128) - 1
    assert zeros & ((1 << 128) - 1) == (1 << 128) - 1
    assert generator.is_trace_id_random()


def test_the_sdks_generator_repeats_after_a_seed_and_ours_does_not() -> None:
    code = (
        "import random, sys\n"
        "from opentelemetry.sdk.trace.id_generator import RandomIdGenerator\n"
        "from spanline.identity import UrandomIdGenerator\n"
        "random.seed(42)\n"
        "print(RandomIdGenerator().generate_trace_id())\n"
        "random.seed(42)\n"
        "print(UrandomIdGenerator().generate_trace_id())\n"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    assert runs[0][0] == runs[1][0], "the SDK draws from the global random: two processes make one id"
    assert runs[0][1] != runs[1][1]


def test_uuid_shaped_trace_ids_would_break_ratio_sampling() -> None:
    sampler = TraceIdRatioBased(0.5)

    def share(ids: list[int]) -> float:
        return sum(sampler.should_sample(None, i, "x").decision.is_sampled() for i in ids) / len(ids)

    ours = [UrandomIdGenerator().generate_trace_id() for _ in range(2000)]
    assert 0.4 < share(ours) < 0.6
    # The variant bits of a UUID sit at the top of the low 64 bits, which the sampler reads: always above one half.
    assert share([uuid.uuid4().int for _ in range(2000)]) == 0.0


def test_sdk_generator_is_what_we_think() -> None:
    random.seed(7)
    first = RandomIdGenerator().generate_trace_id()
    random.seed(7)
    assert RandomIdGenerator().generate_trace_id() == first
