"""Prices: what tokens cost, by the user's own table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from spanline.errors import ConfigurationError


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float


class _Entry(msgspec.Struct):
    input: float = 0.0
    output: float = 0.0


def load_prices(path: Path) -> dict[str, Price]:
    """A price table: JSON `{model: {"input": 2.5, "output": 10}}`, US dollars per million tokens.

    Raises:
        ConfigurationError: The file cannot be read or is not of that form.
    """
    try:
        table = msgspec.json.decode(path.read_bytes(), type=dict[str, _Entry])
    except OSError as error:
        raise ConfigurationError(f"price table {path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError(f'price table {path}: {error}; expected {{"model": {{"input": 2.5, "output": 10}}}}') from error
    if any(entry.input < 0 or entry.output < 0 for entry in table.values()):
        raise ConfigurationError(f"price table {path}: a price is negative")
    return {model: Price(entry.input, entry.output) for model, entry in table.items()}


def price_of(prices: Mapping[str, Price], model: str) -> Price | None:
    """The price of a model, else of the longest listed name that it is a dated or tagged form of (`gpt-4o-2024-06-18`)."""
    found = prices.get(model)
    if found is not None:
        return found
    bases = [base for base in prices if model.startswith(base) and model[len(base)] in "-@:"]
    return prices[max(bases, key=len)] if bases else None


def cost_usd(prices: Mapping[str, Price], model: str, input_tokens: int, output_tokens: int) -> float | None:
    """US dollars; None for a model that is not listed."""
    price = price_of(prices, model)
    return None if price is None else (input_tokens * price.input + output_tokens * price.output) / 1e6
