"""What an instance is told of itself: by its metadata service, wherever that runs."""

from __future__ import annotations

from elastic_inference.control.documents import Document
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import AccessKey, Instance

# A registered host asks again after so many seconds, and is heard of by that.
REFRESH = 10.0


def credentials(key: AccessKey | None) -> Document | None:
    """Credentials as the API has them."""
    if key is None:
        return None
    return {
        "accessKeyId": key.id,
        "secretAccessKey": key.secret,
        "sessionToken": key.session_token,
        "expiration": key.expires_at,
    }


def document_of(plane: ControlPlane, instance: Instance) -> Document:
    """An instance's document for who serves it elsewhere."""
    return {
        "instanceId": instance.id,
        "name": instance.name,
        "state": instance.state,
        "accelerators": {each.id: each.type for each in plane.store.accelerators_of(instance.id)},
        "region": plane.settings.region,
        "zone": plane.network.zone,
        "privateIp": instance.private_ip,
        "subnetId": instance.subnet_id,
        "securityGroupIds": list(instance.group_ids),
        "tags": dict(instance.tags),
        "roleName": instance.role_name,
        "launchTime": instance.launched_at or instance.created_at,
        "credentials": credentials(plane.access.session_of(instance)),
        "refreshSeconds": REFRESH,
    }
