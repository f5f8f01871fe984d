"""`spanline evaluate`: a score or a verdict on a run, by its id."""

from __future__ import annotations

import time

import click

from spanline.cli.options import existing_ledger, json_option, ledger_option, settings_for
from spanline.cli.text import good, say, say_json, shown
from spanline.cli.trace import NOT_FOUND, checked_id
from spanline.naming import versioned


@click.command()
@click.argument("id", callback=checked_id, metavar="ID")
@click.option("--name", required=True, help="What was judged, such as `faithfulness`.")
@click.option("--passed/--failed", "passed", default=None, help="The verdict; it decides about `lastgood`.")
@click.option("--score", type=float, help="A number, 0 to 1 with most evaluators.")
@click.option("--label", help="A verdict in a word.")
@click.option("--evaluator", metavar="NAME[@VERSION]", help="Who judged.")
@click.option("--eval-set", metavar="NAME[@VERSION]", help="The questions that it was judged on.")
@ledger_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context, id: str, name: str, passed: bool | None, score: float | None, label: str | None, evaluator: str | None,
    eval_set: str | None, ledger_url: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Put an evaluation on a run.

    ID is a trace id (32 hex), a run id (dashed), a request id or a response id. Exit status 0 when done, 4 when no run has that id.
    """
    from spanline.cli.remote import RemoteLedger
    from spanline.lineage.evaluated import cleaned
    from spanline.record.run import Evaluation

    evaluator_name, evaluator_version = versioned(evaluator) if evaluator is not None else (None, None)
    set_name, set_version = versioned(eval_set) if eval_set is not None else (None, None)
    made = cleaned(
        Evaluation(
            name=name, score=score, label=label, passed=passed, evaluator=evaluator_name, evaluator_version=evaluator_version,
            eval_set=set_name, eval_set_version=set_version,
        ),
        time.time_ns(),
    )  # fmt: skip
    if made is None:
        raise click.BadParameter("the name is empty", param_hint="--name")
    if made.score is None and made.label is None and made.passed is None:
        raise click.UsageError("give a verdict: --passed or --failed, --score or --label")
    settings = settings_for(ledger_url=ledger_url)
    with existing_ledger(ledger_url) as ledger:
        if ledger is None:
            done = None
        elif isinstance(ledger, RemoteLedger):
            done = ledger.evaluate(id, made)
        else:
            from spanline.server.evaluating import Evaluating

            evaluating = Evaluating(ledger, settings)
            done = evaluating.add(id, [made])
            evaluating.close()
    if done is None:
        say(f"nothing is known of {id}", err=True)
        ctx.exit(NOT_FOUND)
    if as_json:
        say_json(done)
    else:
        say(good(f"{shown(made.name)} is on run {done['runId']}"))
