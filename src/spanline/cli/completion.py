"""`spanline completion`: what a shell needs to complete commands, options, and names from the ledger."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from spanline.cli.text import say

SHELLS = ("bash", "zsh", "fish")
_BASH = """
# The colon belongs to kind:name; by itself bash takes it for the end of a word.
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
"""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, and names of artifacts and jobs.

    \b
    bash   echo 'source <(spanline completion bash)' >> ~/.bashrc
    zsh    echo 'source <(spanline completion zsh)' >> ~/.zshrc
    fish   spanline completion fish > ~/.config/fish/completions/spanline.fish
    """  # noqa: D301  (the backspace keeps click from joining the lines)
    found = get_completion_class(shell)
    assert found is not None
    source = found(ctx.find_root().command, {}, "spanline", "_SPANLINE_COMPLETE").source()
    if shell == "bash":
        # Names of jobs hold spaces.
        source = source.replace("COMPREPLY+=($value)", 'COMPREPLY+=("$(printf %q "$value")")') + _BASH
    say(source.strip())
