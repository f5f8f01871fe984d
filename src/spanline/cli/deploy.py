"""`spanline deploy`: what other systems need in order to work with spanline."""

from __future__ import annotations

import click

from spanline.cli.boards import boards
from spanline.cli.gate import gate
from spanline.cli.links import links


@click.group()
def deploy() -> None:
    """What other systems need: links and provisioning, dashboards and alerts, and the input of a release policy."""


deploy.add_command(links)
deploy.add_command(boards)
deploy.add_command(gate)
