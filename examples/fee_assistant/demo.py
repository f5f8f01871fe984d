"""The demonstration: real answers, an incident, and what `spanline trace` says of it. `make demo` runs it.

python demo.py          tell the story; in a terminal, serve until Ctrl-C afterwards
python demo.py --once   tell the story and end
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from stage import LABEL, RELEASE, Answer, Stage, StageError

QUESTIONS = ("What does an international wire transfer cost?", "What does the Premium account cost per month?")

try:
    from rich.console import Console
except ImportError:
    console = None
else:
    console = Console(highlight=False, soft_wrap=True)


def say(text: str = "", style: str | None = None) -> None:
    """Print a line, in colour where that is possible."""
    if console is not None:
        console.print(text, style=style, markup=False)
    else:
        print(text, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Show what is being done, then how long it took."""
    started = time.monotonic()
    with console.status(title) if console is not None else contextlib.nullcontext():
        yield
    say(f"  done  {time.monotonic() - started:5.1f} s  {title}", "green")


def ask(stage: Stage, question: str) -> Answer:
    answer = stage.ask(question)
    say()
    say(f"  Q  {answer.question}")
    say(f"  A  {answer.text}" + ("" if answer.checked else "   [flagged by the guardrail]"), "bold")
    say("     " + ", ".join(f"{kind} {name}" for kind, name in answer.provenance.items()), "dim")
    say(f"     trace {answer.trace_id}")
    say(f"     page  {answer.page}")
    return answer


def summary(run: dict[str, Any]) -> None:
    """The six answers of a run: what made it."""
    say()
    for question, found in run["answers"].items():
        for number, entry in enumerate(found):
            label = f"@{entry['version']}" if entry.get("version") else ""
            facts = f"{entry.get('name', '')}{label}  {(entry.get('digest') or '')[:19]}  ({entry.get('evidence', '')})"
            say(f"     {'' if number else question:<8} {facts}")


def story(stage: Stage) -> None:
    say("spanline: from an answer to everything that made it", "bold")
    say(f"work folder {stage.home}", "dim")
    say()
    with step("a fresh work folder: documents and prompt"):
        stage.prepare()
    with step("the language model, SmolLM2-135M on this CPU"):
        stage.start_model()
    with step(f"the index, fees_corpus@{LABEL}: an offline job with lineage of its own"):
        stage.build_index(stage.corpus)
    with step(f"the service, release {RELEASE}, at {stage.url}"):
        stage.start_service()

    say("\n1. Questions, asked over HTTP", "bold")
    good = [ask(stage, question) for question in QUESTIONS]
    say("\n   What made the first answer:", "bold")
    summary(stage.run(good[0].trace_id))

    say("\n2. The incident, at night", "bold")
    say(f"   The index is rebuilt from a staging corpus and keeps its label {LABEL}; somebody shortens the prompt and leaves it fees@v7.\n")
    with step("index rebuilt, prompt edited, service restarted"):
        stage.change_everything_silently()

    say("\n3. The same questions, the morning after", "bold")
    bad = [ask(stage, question) for question in QUESTIONS]

    say("\n4. Why? One command", "bold")
    found = stage.run(bad[0].trace_id)
    say(f"\n   $ spanline trace {bad[0].trace_id}\n")
    sys.stdout.flush()
    stage.trace(bad[0].trace_id)
    conflicts = [f"{entry['kind']} {entry['name']}@{entry['version']}" for entry in found["conflicts"]]
    say(f"\n   Not what they were: {' and '.join(conflicts) or 'nothing (that is wrong)'}.", "bold red")
    say(f"   Before: {good[0].text}\n   After:  {bad[0].text}")
    say(f"\n   The page of the bad answer: {bad[0].page}\n   All runs: {stage.url}/runs   Metrics: {stage.url}/metrics")


def main() -> int:
    parser = argparse.ArgumentParser(description="The fee assistant: a real question, and everything behind its answer.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--keep", action="store_true", help="serve until Ctrl-C after the story, also without a terminal")
    group.add_argument("--once", action="store_true", help="end after the story")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    cache = Path(os.environ.get("SPANLINE_CACHE") or Path.home() / ".cache" / "spanline")
    started = time.monotonic()
    try:
        with Stage(cache.resolve() / "demo") as stage:
            story(stage)
            say(f"\n   {time.monotonic() - started:.0f} s in all.", "dim")
            if given.keep or (not given.once and sys.stdout.isatty()):
                say(f"\nThe service goes on at {stage.url}. Ctrl-C ends everything.")
                sys.stdout.flush()
                signal.pause()
    except KeyboardInterrupt:
        say("\nended.")
    except StageError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
