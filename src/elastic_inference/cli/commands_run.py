"""Commands that run an application, and those about a pool and its accelerators."""

from __future__ import annotations

from elastic_inference.cli.commands import Commands, add_output, add_tags

_RUN_DESCRIPTION = """\
Run COMMAND as an instance with accelerators. Its inference with ONNX Runtime goes there by
itself, as long as elastic-inference is installed in COMMAND's own environment.
The pool of `ei up` is used if one runs; else `ei run` brings its own for the time.
Everything is given back when COMMAND ends, however it ends. The exit status is COMMAND's.
On a host that is an instance itself (ei register) --accelerator is left out: COMMAND runs as that
instance, and uses its accelerators.
"""
_RUN_EXAMPLES = """\
examples:
  ei run --accelerator eia1.medium -- python app.py --input photo.jpg
  ei run --accelerator eia1.large,eia1.medium -- ./serve.sh      two accelerators
  EI_VISIBLE_DEVICES= ei run --accelerator eia1.medium -- python app.py
                                                                 none: a local run to compare
  ei run -- python app.py                                        on a registered host
"""
_UP_DESCRIPTION = """\
Start a pool in the foreground: control plane, endpoint and this machine as a node.
Accelerators outlive it: the next `ei up` on the same state takes them over again.
"""
_UP_EXAMPLES = """\
examples:
  ei up                                     on loopback, for this machine
  ei up --listen 10.0.0.5:443               for other machines; TLS as always
  ei up --state /srv/pool                   with its state elsewhere than in EI_HOME
"""
_GRANT_EXAMPLES = """\
Any client of the Open Inference Protocol can use them: connect to url (HTTP) or grpc_url, trust
the authority in the file ca, and send the header Authorization: Bearer TOKEN. url is the
accelerator's own address; the pool's shared one is endpoint, with server_name for TLS.

examples:
  ei token                                           the only accelerator there is
  ei token eia-0123456789abcdef0123456789abcdef -o json
  ei token --expires-in 8h                           for a long-running tool
  eval "$(ei token -o shell)"                        as EI_URL, EI_GRPC_URL, EI_TOKEN and EI_CA
"""
_PROFILE_DESCRIPTION = """\
Run an ONNX model on an accelerator and tell where the time of a call goes: the way there and
back, and each operator; with the memory that it takes. Inputs are made up: random numbers,
zeros for integers, 1 for dimensions without a size.
"""
_PROFILE_EXAMPLES = """\
examples:
  ei profile model.onnx
  ei profile model.onnx --input image=8,3,224,224 --picture profile.svg
  ei profile model.onnx --accelerator eia1.xlarge --input ids=ids.npy -o json
  EI_TRANSPORT=tls ei profile model.onnx       as another machine would reach it
"""


def add_to(commands: Commands) -> None:
    """Add them."""
    run = commands.add(
        "run", "run a command with accelerators attached", _RUN_DESCRIPTION, _RUN_EXAMPLES
    )
    run.usage = (
        "ei run [--accelerator TYPE[:N][,TYPE...]] [--name NAME] [--role ROLE] [--tag KEY=VALUE]"
        " [--quiet] -- COMMAND..."
    )
    run.add_argument(
        "--accelerator", metavar="TYPE[:N][,TYPE...]",
        help="one or more accelerator types (ei describe types), :2 for two of one; left out on a "
        "registered host",
    )  # fmt: skip
    run.add_argument("--name", default="", help="a name for the instance, to recognise it by")
    run.add_argument("--role", metavar="ROLE", help="its role (default: elastic-inference)")
    add_tags(run)
    run.add_argument("--quiet", action="store_true", help="print no summary at the end")

    up = commands.add("up", "start a pool", _UP_DESCRIPTION, _UP_EXAMPLES)
    up.add_argument("--state", metavar="DIR", help="where its state lies (default: in EI_HOME)")
    up.add_argument(
        "--listen", metavar="HOST:PORT",
        help="address of the endpoint (default: a port on 127.0.0.1, the same at each start)",
    )  # fmt: skip

    token = commands.add(
        "token", "get URL, token and names for another client",
        "Print what a client needs to use an accelerator directly.", _GRANT_EXAMPLES,
    )  # fmt: skip
    token.add_argument(
        "accelerator", nargs="?", metavar="ACCELERATOR",
        help="its id, eia-...; may be left out where there is one only",
    )  # fmt: skip
    token.add_argument(
        "--expires-in", metavar="TIME",
        help="how long the token shall be valid: 30min, 8h (default: EI_TOKEN_LIFETIME)",
    )  # fmt: skip
    add_output(token, "shell")

    profile = commands.add(
        "profile", "see where a model's time goes", _PROFILE_DESCRIPTION, _PROFILE_EXAMPLES
    )
    profile.add_argument("model", metavar="MODEL", help="an ONNX file")
    profile.add_argument(
        "--accelerator", default="eia1.medium", metavar="TYPE|ID",
        help="a type, attached for this command, or one that runs: eia-... (default: eia1.medium)",
    )  # fmt: skip
    profile.add_argument(
        "--input", action="append", default=[], metavar="NAME=SHAPE|FILE.npy",
        help="an input's shape, as 1,3,224,224, or its value; once for each input",
    )  # fmt: skip
    profile.add_argument(
        "--runs", type=int, default=20, metavar="N", help="how many calls (default: 20)"
    )
    profile.add_argument("--picture", metavar="FILE.svg", help="draw it, for a browser")
    add_output(profile)
