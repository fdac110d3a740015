"""An instance's document, as those read it who serve it to the instance."""

from __future__ import annotations

from elastic_inference.compute.document import InstanceDocument, RoleCredentials
from elastic_inference.control.documents import Document


def instance_document(document: Document) -> InstanceDocument:
    """The document that GetInstanceDocument answered."""
    given = document["credentials"]
    return InstanceDocument(
        instance_id=document["instanceId"],
        accelerators=document["accelerators"],
        region=document["region"],
        zone=document["zone"],
        role=document["roleName"],
        private_ip=document["privateIp"],
        subnet_id=document["subnetId"],
        security_groups={each: each for each in document["securityGroupIds"]},
        hostname=document["name"],
        launch_time=document["launchTime"],
        tags=document["tags"],
        user_data=document.get("userData") or None,
        credentials=None
        if given is None
        else RoleCredentials(
            given["accessKeyId"],
            given["secretAccessKey"],
            given["sessionToken"] or "",
            given["expiration"] or 0.0,
        ),
    )
