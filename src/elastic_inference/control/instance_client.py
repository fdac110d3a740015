"""An instance's document, as those read it who serve it to the instance."""

from __future__ import annotations

from elastic_inference.compute.document import INSTANCE_TYPE, InstanceDocument, RoleCredentials
from elastic_inference.control.documents import Document
from elastic_inference.control.records import ACCOUNT


def instance_document(document: Document) -> InstanceDocument:
    """The document that GetInstanceDocument answered."""
    given = document["credentials"]
    group_ids: list[str] = document["securityGroupIds"]
    group_names: list[str] = document.get("securityGroupNames", group_ids)
    # A pool of an earlier version has no names, nor what EC2's API says.
    ec2 = document.get("ec2", {})
    return InstanceDocument(
        instance_id=document["instanceId"],
        accelerators=document["accelerators"],
        region=document["region"],
        zone=document["zone"],
        role=document["roleName"],
        private_ip=document["privateIp"],
        subnet_id=document["subnetId"],
        security_groups=dict(zip(group_ids, group_names, strict=True)),
        account=document.get("account", ACCOUNT),
        vpc_id=document.get("vpcId", ""),
        instance_type=ec2.get("instanceType", INSTANCE_TYPE),
        image_id=ec2.get("imageId", ""),
        launch_index=ec2.get("launchIndex", 0),
        reservation_id=ec2.get("reservationId", ""),
        profile=ec2.get("profileName", ""),
        profile_id=ec2.get("profileId", ""),
        public_key=ec2.get("publicKey", ""),
        tokens_required=ec2.get("tokensRequired", False),
        tags_hidden=ec2.get("tagsHidden", False),
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
