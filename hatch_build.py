"""Puts `elastic_inference_run.pth` beside the package, in a wheel and in an editable install.

It makes an application that `ei run` starts use its accelerator; without `ei run` it looks at
one environment variable and does nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NAME = "elastic_inference_run.pth"


class RunHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "wheel":
            include = "force_include_editable" if version == "editable" else "force_include"
            build_data[include][str(Path(self.root, "src", _NAME))] = _NAME
