"""`spanline deploy`: what other systems need in order to work with spanline."""

from __future__ import annotations

import click

from spanline.cli.gate import gate
from spanline.cli.links import links


@click.group()
def deploy() -> None:
    """What other systems need: links and provisioning, and the input of a release policy."""


deploy.add_command(links)
deploy.add_command(gate)
