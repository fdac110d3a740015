"""Commands about instances and their accelerators."""

from __future__ import annotations

import argparse

from elastic_inference.cli.commands import Commands, add_output, add_tags, add_watch

_LAUNCH_DESCRIPTION = """\
Start an instance on the pool's machine: a place to run commands, with accelerators. It stays,
and is billed for as long as it runs, until it is stopped or terminated.
"""
_LAUNCH_EXAMPLES = """\
examples:
  ei launch --accelerator eia1.medium --name ocr
  ei launch --accelerator eia1.large,eia1.medium:2      three accelerators: one, and two alike
  ei launch --accelerator eia1.medium --user-data setup.sh --tag team=vision
  id=$(ei launch --accelerator eia1.medium -o id) && ei exec $id -- python app.py
"""
_EXEC_DESCRIPTION = """\
Run COMMAND in an instance. Input, output and signals are as if it ran here; the exit status is
its own. Where the pool does not run as root, this command runs it itself, on the pool's machine,
with the instance's accelerators and credentials.
"""
_EXEC_EXAMPLES = """\
examples:
  ei exec i-0123456789abcdef0 -- python app.py
  ei exec i-0123456789abcdef0 --env MODE=fast --directory /srv -- ./serve.sh
  tar c . | ei exec i-0123456789abcdef0 -- tar x         copy files there
  ei exec -t i-0123456789abcdef0 -- top
"""
_SHELL_EXAMPLES = """\
examples:
  ei shell i-0123456789abcdef0
"""
_STOP_DESCRIPTION = """\
Stop instances: their commands end and their accelerators are given back, and nothing is billed.
Files stay. ei start gives an instance fresh accelerators of the same types.
"""
_STOP_EXAMPLES = """\
examples:
  ei stop i-0123456789abcdef0
  ei stop i-0123456789abcdef0 i-0fedcba9876543210
"""
_START_EXAMPLES = """\
examples:
  ei start i-0123456789abcdef0
"""
_REBOOT_EXAMPLES = """\
examples:
  ei reboot i-0123456789abcdef0
"""
_TERMINATE_EXAMPLES = """\
examples:
  ei terminate i-0123456789abcdef0
  ei terminate i-0123456789abcdef0 i-0fedcba9876543210
"""
_ATTACH_EXAMPLES = """\
examples:
  ei attach i-0123456789abcdef0 eia1.medium
"""
_DETACH_EXAMPLES = """\
examples:
  ei detach eia-0123456789abcdef0123456789abcdef
"""
_TAG_DESCRIPTION = """\
Set tags of an instance or accelerator, or take them away. An instance's go to its accelerators
too, and ei bill --by tag:KEY groups by them.
"""
_TAG_EXAMPLES = """\
examples:
  ei tag i-0123456789abcdef0 team=vision stage=test
  ei tag i-0123456789abcdef0 --remove stage
"""
_DESCRIBE_DESCRIPTION = """\
List what there is; nothing where no pool runs.
"""
_DESCRIBE_EXAMPLES = """\
examples:
  ei describe accelerators
  ei describe instances --state running --watch
  ei describe accelerators --instance i-0123456789abcdef0
  ei describe types -o json
  ei describe nodes                        what the machines have, and what is free
"""
_VALIDATE_DESCRIPTION = """\
Check all that an instance needs to infer: its state, role, network, accelerators and rights. What
is wrong comes with the command that mends it, and with exit status 1.
"""
_VALIDATE_EXAMPLES = """\
examples:
  ei validate                              every instance that runs; within one, that one
  ei validate i-0123456789abcdef0
"""


def add_to(commands: Commands) -> None:
    """Add them."""
    describe = commands.add(
        "describe", "list accelerators, types, instances or nodes",
        _DESCRIBE_DESCRIPTION, _DESCRIBE_EXAMPLES,
    )  # fmt: skip
    describe.add_argument("what", choices=["accelerators", "types", "instances", "nodes"])
    describe.add_argument(
        "--instance", metavar="INSTANCE", help="that instance alone, or its accelerators"
    )
    describe.add_argument(
        "--state", metavar="STATE",
        help="instances in that state (running, stopped, ...), or accelerators of that health "
        "(ok, impaired, unknown)",
    )  # fmt: skip
    add_watch(describe)
    add_output(describe)
    _add_launch(commands)
    _add_exec(commands)
    _add_changes(commands)
    attach = commands.add(
        "attach", "give an instance one more accelerator",
        "Give an instance that runs one more accelerator.", _ATTACH_EXAMPLES,
    )  # fmt: skip
    _add_instance(attach)
    attach.add_argument("type", metavar="TYPE", help="its type (ei describe types)")
    add_output(attach)
    detach = commands.add(
        "detach", "take an accelerator from its instance",
        "Take an accelerator from its instance; it ends, once its running calls are done.",
        _DETACH_EXAMPLES,
    )  # fmt: skip
    detach.add_argument("accelerator", metavar="ACCELERATOR", help="its id, eia-...")
    tag = commands.add(
        "tag", "set tags of an instance or accelerator", _TAG_DESCRIPTION, _TAG_EXAMPLES
    )
    tag.add_argument("resource", metavar="RESOURCE", help="an id: i-... or eia-...")
    tag.add_argument("tags", nargs="*", metavar="KEY=VALUE", help="a tag to set")
    tag.add_argument(
        "--remove", action="append", default=[], metavar="KEY", help="a tag to take away"
    )
    validate = commands.add(
        "validate", "check what instances need", _VALIDATE_DESCRIPTION, _VALIDATE_EXAMPLES
    )
    validate.add_argument("instance", nargs="?", metavar="INSTANCE", help="its id, i-...")
    add_output(validate)


def _add_launch(commands: Commands) -> None:
    launch = commands.add(
        "launch", "start an instance that stays", _LAUNCH_DESCRIPTION, _LAUNCH_EXAMPLES
    )
    launch.add_argument(
        "--accelerator", default="", metavar="TYPE[:N][,TYPE...]",
        help="accelerator types (ei describe types), :2 for two of one (default: none)",
    )  # fmt: skip
    launch.add_argument("--name", default="", help="a name, to recognise it by")
    launch.add_argument("--role", metavar="ROLE", help="its role (default: elastic-inference)")
    launch.add_argument("--subnet", metavar="SUBNET", help="where it is (default: the default one)")
    launch.add_argument(
        "--group", action="append", metavar="GROUP",
        help="a security group, sg-..., may be repeated (default: the default one)",
    )  # fmt: skip
    launch.add_argument(
        "--user-data", metavar="FILE", help="a script for its first boot; - for standard input"
    )
    add_tags(launch)
    launch.add_argument(
        "--client-token", metavar="TOKEN",
        help="the same launch again with the same token is the same instance",
    )  # fmt: skip
    add_output(launch, "id")


def _add_exec(commands: Commands) -> None:
    run = commands.add("exec", "run a command in an instance", _EXEC_DESCRIPTION, _EXEC_EXAMPLES)
    run.usage = "ei exec INSTANCE [--env NAME=VALUE] [--directory DIR] [--tty] -- COMMAND..."
    _add_instance(run)
    run.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE",
        help="a variable of its environment, may be repeated",
    )  # fmt: skip
    run.add_argument("--directory", metavar="DIR", help="where it runs (default: its home)")
    run.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    shell = commands.add(
        "shell", "work in an instance", "Start a login shell in an instance.", _SHELL_EXAMPLES,
        module="exec",
    )  # fmt: skip
    _add_instance(shell)


def _add_changes(commands: Commands) -> None:
    for name, help_, description, examples in (
        ("stop", "stop instances; files stay", _STOP_DESCRIPTION, _STOP_EXAMPLES),
        ("start", "start stopped instances again", "", _START_EXAMPLES),
        (
            "reboot", "end what runs in instances, and begin anew",
            "End all commands of instances; they and their accelerators stay.", _REBOOT_EXAMPLES,
        ),
        (
            "terminate", "end instances and their accelerators",
            "End instances; when it returns they and their accelerators are gone.",
            _TERMINATE_EXAMPLES,
        ),
    ):  # fmt: skip
        parser = commands.add(name, help_, description, examples, module="change")
        parser.add_argument("instances", nargs="+", metavar="INSTANCE", help="an id, i-...")


def _add_instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="its id, i-...")
