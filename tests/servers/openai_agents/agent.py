"""Agents of the OpenAI Agents SDK with a scripted model and real guardrails, each in a `job()`: `agent.py FOLDER [openinference]`."""

# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import sys

from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunConfig,
    Runner,
    ToolGuardrailFunctionOutput,
    function_tool,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from agents.testing import ScriptedModel, assistant_message, function_call
from opentelemetry import trace

import spanline
from spanline.integrations import openai_agents

SECRET = "zzsecret"


@input_guardrail(name="fees-only")
async def fees_only(context, agent, question):
    await asyncio.sleep(0)
    return GuardrailFunctionOutput(output_info={"said": SECRET}, tripwire_triggered="weather" in str(question))


@output_guardrail
def no_numbers(context, agent, answer):
    return GuardrailFunctionOutput(output_info=SECRET, tripwire_triggered="42" in answer)


@input_guardrail
def broken(context, agent, question):
    raise KeyError(SECRET)


@tool_input_guardrail
def no_staging(data):
    if "staging" in data.context.tool_arguments:
        return ToolGuardrailFunctionOutput.reject_content(SECRET)
    return ToolGuardrailFunctionOutput.allow()


@tool_output_guardrail
def no_keys(data):
    if "sk-" in str(data.output):
        return ToolGuardrailFunctionOutput.reject_content(SECRET)
    if "fatal" in str(data.output):
        return ToolGuardrailFunctionOutput.raise_exception(SECRET)
    return ToolGuardrailFunctionOutput.allow()


@function_tool(tool_input_guardrails=[no_staging], tool_output_guardrails=[no_keys])
def look_up(tier: str) -> str:
    """Look a tier up."""
    return {"gold": "sk-1234", "lead": "fatal"}.get(tier, "3 percent")


def agent(*steps, **more):
    return Agent(name="fees", model=ScriptedModel([*steps]), **more)


def tooled(tier):
    return agent([function_call("look_up", {"tier": tier}, call_id="call-1")], [assistant_message("done")], tools=[look_up])


def answering(text, **more):
    return agent([assistant_message(text)], **more)


SCENARIOS = {
    "passes": (lambda: answering("3 percent", input_guardrails=[fees_only], output_guardrails=[no_numbers]), "fee?"),
    "input": (lambda: answering("sunny", input_guardrails=[fees_only]), "weather?"),
    "output": (lambda: answering("42", output_guardrails=[no_numbers]), "fee?"),
    "breaks": (lambda: answering("3 percent", input_guardrails=[broken]), "fee?"),
    "tool": (lambda: tooled("silver"), "fee?"),
    "tool-input": (lambda: tooled("staging"), "fee?"),
    "tool-output": (lambda: tooled("gold"), "fee?"),
    "tool-raises": (lambda: tooled("lead"), "fee?"),
}


async def main(quiet: bool) -> None:
    for name, (make, question) in SCENARIOS.items():
        with spanline.job(name):
            try:
                await Runner.run(make(), question, run_config=RunConfig(tracing_disabled=quiet))
            except Exception as error:  # noqa: BLE001
                print(name, type(error).__name__)
    with spanline.job("streamed"):
        streamed = Runner.run_streamed(SCENARIOS["passes"][0](), "fee?", run_config=RunConfig(tracing_disabled=quiet))
        async for _ in streamed.stream_events():
            pass
    openai_agents.uninstrument()
    with spanline.job("uninstrumented"):
        await Runner.run(SCENARIOS["passes"][0](), "fee?", run_config=RunConfig(tracing_disabled=True))


if __name__ == "__main__":
    runtime = spanline.configure(service="svc", home=sys.argv[1], relay="off")
    listened = "openinference" in sys.argv
    # Without the SDK's own exporter, which would send traces away.
    from agents import set_trace_processors

    set_trace_processors([])
    if listened:
        from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

        OpenAIAgentsInstrumentor().instrument(tracer_provider=trace.get_tracer_provider(), exclusive_processor=True)
    openai_agents.instrument()
    openai_agents.instrument()
    asyncio.run(main(quiet=not listened))
    sys.exit(0 if runtime.close(10) else 1)
