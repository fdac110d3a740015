"""Commands for the user's shell."""

from __future__ import annotations

from elastic_inference.cli.commands import Commands

_ENV_DESCRIPTION = """\
Print the lines that point a shell's programs at the pool: credentials, region, the certificate
authorities to trust, the pool's URL and the service model of elastic-inference. ei itself acts with
these credentials then, and so do the AWS CLI and boto3: EC2, IAM, STS, Auto Scaling, CloudWatch and
elastic-inference are the pool's, every other service stays AWS's own.
"""
_ENV_EXAMPLES = """\
examples:
  eval "$(ei env)"
  eval "$(ei env --role reader)"           with a role's credentials, for an hour
  aws ec2 describe-instances               after either
"""
_MODEL_DESCRIPTION = """\
Put the service model of elastic-inference where the AWS CLI and boto3 of this user find it, in
every shell. What ei env prints names it too, for one shell.
"""
_MODEL_EXAMPLES = """\
examples:
  ei aws-model && aws elastic-inference describe-accelerators
  ei aws-model --remove
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
    model = commands.add(
        "aws-model", "let AWS's tools know elastic-inference",
        _MODEL_DESCRIPTION, _MODEL_EXAMPLES,
    )  # fmt: skip
    model.add_argument("--folder", metavar="DIR", help="where to put it (default: ~/.aws/models)")
    model.add_argument("--remove", action="store_true", help="take it away again")
    completion = commands.add(
        "completion", "let a shell complete commands",
        "Print a script that lets a shell complete commands, options and ids.",
        _COMPLETION_EXAMPLES,
    )  # fmt: skip
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
