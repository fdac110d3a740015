"""Commands that make other machines instances of a pool."""

from __future__ import annotations

from elastic_inference.cli.commands import Commands

_JOIN_DESCRIPTION = """\
Make a join token, with which one other machine becomes an instance of this pool, and print the
command for that machine. The token is used once, and carries the fingerprint of the pool's
certificate authority, so that no file has to be copied.
"""
_JOIN_EXAMPLES = """\
examples:
  ei join-token --accelerator eia1.medium
  ei join-token --accelerator eia1.large,eia1.medium --name cam-7 --tag site=north
  ei join-token --expires-in 10min --accelerator eia1.medium -o id     the token alone
"""
_REGISTER_DESCRIPTION = """\
Make this machine an instance of the pool at ENDPOINT, and be its agent: it serves the instance's
metadata on loopback, renews its credentials and tells the pool that it lives. Started again
without --token it is the same instance again. ei run -- COMMAND uses its accelerators.
"""
_REGISTER_EXAMPLES = """\
examples:
  ei register https://10.0.0.5:443 --token eij1.eyJz...
  ei register                               once more, after a restart of the machine
  ei register --detach                      in the background, with a log file
  ei register --forget                      end the instance and what this machine knows of it
"""


def add_to(commands: Commands) -> None:
    """Add them."""
    token = commands.add(
        "join-token", "let another machine be an instance of this pool",
        _JOIN_DESCRIPTION, _JOIN_EXAMPLES,
    )  # fmt: skip
    token.add_argument(
        "--accelerator", default="", metavar="TYPE[:N][,TYPE...]",
        help="what the machine gets when it registers; more may be attached later",
    )  # fmt: skip
    token.add_argument(
        "--expires-in", default="1h", metavar="TIME", help="until when it may be used (default: 1h)"
    )
    token.add_argument("--name", default="", help="a name for the instance (default: the host's)")
    token.add_argument("--role", help="whose credentials it has (default: elastic-inference)")
    token.add_argument(
        "--subnet", metavar="SUBNET", help="where it is counted (default: the usual)"
    )
    token.add_argument(
        "--group", action="append", metavar="GROUP", help="a security group; may be repeated"
    )
    token.add_argument(
        "--tag", action="append", default=[], metavar="KEY=VALUE", help="a tag; may be repeated"
    )
    token.add_argument(
        "-o", "--output", choices=["table", "json", "id"], default="table", help="(default: table)"
    )

    register = commands.add(
        "register", "make this machine an instance of a pool elsewhere",
        _REGISTER_DESCRIPTION, _REGISTER_EXAMPLES,
    )  # fmt: skip
    register.add_argument(
        "endpoint", nargs="?", metavar="ENDPOINT", help="https://HOST:PORT, as ei join-token says"
    )
    register.add_argument(
        "--token", metavar="TOKEN", help="of ei join-token; - reads it from standard input"
    )
    register.add_argument(
        "--name", default="", help="a name for the instance (default: the host's)"
    )
    register.add_argument(
        "--detach", action="store_true", help="go to the background once metadata is served"
    )
    register.add_argument(
        "--link-local", action="store_true",
        help="as root: answer at 169.254.169.254 too, for every process of this machine",
    )  # fmt: skip
    register.add_argument(
        "--forget", action="store_true", help="end the instance, its agent and this identity"
    )
