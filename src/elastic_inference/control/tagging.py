"""Tags of instances and accelerators, by which bills may be grouped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from elastic_inference.control.launch import check_tags

if TYPE_CHECKING:
    from elastic_inference.control.plane import ControlPlane


def change_tags(
    plane: ControlPlane, resource_id: str, tags: Mapping[str, str], remove: Sequence[str]
) -> None:
    """Set `tags` on an instance or accelerator and take the keys `remove` away.

    What an accelerator uses from now on is billed under its new tags. An instance's tags go to
    its accelerators too.

    Raises:
        NotFoundError: there is no such thing.
        InvalidRequestError: they are no tags.
    """
    store = plane.store
    with store.transaction():
        if resource_id.startswith("eia-"):
            accelerators = [plane.accelerator(resource_id)]
        else:
            instance = plane.instance(resource_id)
            store.set_instance(instance.id, tags=_changed(instance.tags, tags, remove))
            accelerators = store.accelerators_of(instance.id)
        billed = plane.meter.billed()
        for each in accelerators:
            store.set_accelerator(each.id, tags=_changed(each.tags, tags, remove))
            if each.id in billed:
                plane.meter.end([each.id])
                plane.meter.begin(plane.accelerator(each.id))


def _changed(
    now: Mapping[str, str], tags: Mapping[str, str], remove: Sequence[str]
) -> dict[str, str]:
    changed = {key: value for key, value in {**now, **tags}.items() if key not in remove}
    check_tags(changed)
    return changed
