"""The command line of the set-up tool."""

from __future__ import annotations

import argparse

_DESCRIPTION = """\
Set up what accelerators need, and launch an instance with one: a role that may connect, a security
group, the network's endpoint. What is there already is used. Whatever is not given is asked for;
--yes takes the usual answer instead, so that one line does it all.
"""
_EXAMPLES = """\
examples:
  amazonei_setup --region us-east-1 --instance-type m5.large
  amazonei_setup --instance-type m5.large --accelerator-type eia2.medium --yes
"""


def parser() -> argparse.ArgumentParser:
    """What it understands."""
    made = argparse.ArgumentParser(
        prog="amazonei_setup",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--region", help="the pool's region (default: as AWS's tools find it)")
    made.add_argument("--instance-type", default="m5.large", help="(default: m5.large)")
    made.add_argument(
        "--operating-system", metavar="OS", help="of the image: amazon-linux or ubuntu"
    )
    made.add_argument("--accelerator-type", metavar="TYPE", help="eia2.medium, …")
    made.add_argument("--key-name", metavar="NAME", help="a key pair; made if there is none of it")
    made.add_argument("--vpc-id", metavar="VPC", help="the network")
    made.add_argument("--subnet-id", metavar="SUBNET", help="a subnet of it")
    made.add_argument(
        "--security-group-id", metavar="GROUP", help="a group that lets in 443 and 22"
    )
    made.add_argument("--endpoint-url", metavar="URL", help="the pool's URL (default: as ei env)")
    made.add_argument("--yes", action="store_true", help="ask nothing")
    return made
