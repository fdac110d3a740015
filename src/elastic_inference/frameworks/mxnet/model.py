"""Checkpoints: a `-symbol.json` file and a `.params` file for each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from elastic_inference.frameworks.mxnet import creation, symbol
from elastic_inference.frameworks.mxnet.errors import value_error
from elastic_inference.frameworks.mxnet.ndarray import NDArray
from elastic_inference.frameworks.mxnet.symbol import Symbol

Arrays: TypeAlias = dict[str, NDArray]


def load_checkpoint(prefix: str, epoch: int) -> tuple[Symbol, Arrays, Arrays]:
    """The symbol, the arguments and the auxiliary states of `PREFIX-symbol.json` and
    `PREFIX-EPOCH.params`, the epoch with four digits.

    Raises:
        InvalidRequestError: a file cannot be read.
        ModelFormatError: a file is not what its name says.
    """
    return symbol.load(f"{prefix}-symbol.json"), *load_params(prefix, epoch)


def load_params(prefix: str, epoch: int) -> tuple[Arrays, Arrays]:
    """The arguments and the auxiliary states of such a file."""
    return divided(creation.load(f"{prefix}-{epoch:04d}.params"))


def divided(saved: Mapping[str, NDArray]) -> tuple[Arrays, Arrays]:
    """Arguments and auxiliary states of `arg:name` and `aux:name`.

    Raises:
        ValueError: the arrays have no names, or others.
    """
    if not isinstance(saved, Mapping):
        raise value_error("Invalid param file: its arrays have no names")
    found: dict[str, Arrays] = {"arg": {}, "aux": {}}
    for full, array in saved.items():
        kind, _, name = full.partition(":")
        if kind not in found or not name:
            raise value_error(f"Invalid param file: {full!r} is neither arg:NAME nor aux:NAME")
        found[kind][name] = array
    return found["arg"], found["aux"]


def joined(arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> Arrays:
    """The arrays by the names that files have."""
    return {f"arg:{name}": each for name, each in arg_params.items()} | {
        f"aux:{name}": each for name, each in aux_params.items()
    }


def save_checkpoint(
    prefix: str,
    epoch: int,
    symbol: Symbol | None,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    remove_amp_cast: bool = True,
) -> None:
    """Write the two files that `load_checkpoint` reads."""
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json", remove_amp_cast)
    creation.save(f"{prefix}-{epoch:04d}.params", joined(arg_params, aux_params))
