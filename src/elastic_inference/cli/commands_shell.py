"""Commands for the user's shell."""

from __future__ import annotations

from elastic_inference.cli.commands import Commands

_ENV_DESCRIPTION = """\
Print the lines that point a shell's programs at the pool: credentials, region, the certificate
authorities to trust and the pool's URL. ei itself acts with these credentials then.
"""
_ENV_EXAMPLES = """\
examples:
  eval "$(ei env)"
  eval "$(ei env --role reader)"           with a role's credentials, for an hour
"""
_COMPLETION_EXAMPLES = """\
examples:
  eval "$(ei completion bash)"             in ~/.bashrc
  eval "$(ei completion zsh)"              in ~/.zshrc, behind compinit
  ei completion fish > ~/.config/fish/completions/ei.fish
"""


def add_to(commands: Commands) -> None:
    """Add them."""
    env = commands.add("env", "point a shell at the pool", _ENV_DESCRIPTION, _ENV_EXAMPLES)
    env.add_argument("--role", metavar="ROLE", help="a role to act as (default: as ei does)")
    env.add_argument(
        "-o", "--output", choices=["shell", "json"], default="shell", help="(default: shell)"
    )
    completion = commands.add(
        "completion", "let a shell complete commands",
        "Print a script that lets a shell complete commands, options and ids.",
        _COMPLETION_EXAMPLES,
    )  # fmt: skip
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
