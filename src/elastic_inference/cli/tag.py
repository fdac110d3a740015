"""`ei tag`: tags of instances and accelerators."""

from __future__ import annotations

import argparse

from elastic_inference.cli import arguments
from elastic_inference.cli.connection import pool
from elastic_inference.errors import InvalidRequestError


def main(options: argparse.Namespace) -> int:
    tags = arguments.pairs(options.tags, "the tag")
    if not tags and not options.remove:
        raise InvalidRequestError(
            "There is no tag to set or remove.", next_step="Write KEY=VALUE or --remove KEY."
        )
    client = pool()
    if tags:
        client.call("TagResource", {"resourceId": options.resource, "tags": tags})
    if options.remove:
        client.call("UntagResource", {"resourceId": options.resource, "tagKeys": options.remove})
    print(f"{options.resource} is tagged")
    return 0
