#!/usr/bin/env bash
# Every AWS CLI command of Elastic Inference's guides, as they have it, on a fresh pool of its own;
# then an inference on the instance that they launch, through its accelerator.
#
#   examples/aws/guides.sh          needs aws (the AWS CLI), ei, and onnx in ei's environment
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
region=us-west-2
work=$(mktemp -d)
export EI_HOME="$work/pool" EI_REGION="$region" HOME="$work"
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_DATA_PATH

ei up --listen 127.0.0.1:0 2>"$work/up.log" &
pool=$!
end() {
    status=$?
    if [ -n "${instance:-}" ]; then
        ei terminate "$instance" >/dev/null || true
    fi
    kill "$pool" && wait "$pool" || true
    [ "$status" -eq 0 ] || cat "$work/up.log" >&2
    rm -rf "$work"
    exit "$status"
}
trap end EXIT
until grep -q Ready "$work/up.log"; do
    kill -0 "$pool"
    sleep 0.1
done
eval "$(ei env)"
cd "$work"

say() { printf '\n== %s\n' "$*"; }
# Shows a command, runs it, and keeps what it says in $said.
try() {
    printf '$ %s\n' "$*"
    said=$("$@")
    printf '%s\n' "$said"
}
# A value of what the last command said.
field() { printf '%s' "$said" | python -c "import json, sys; print(json.load(sys.stdin)$1)"; }

say "What there is"
try aws ec2 describe-vpcs --filters Name=is-default,Values=true
vpc=$(field "['Vpcs'][0]['VpcId']")
try aws ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc"
subnet=$(field "['Subnets'][0]['SubnetId']")
try aws ec2 describe-images --owners amazon \
    --filters "Name=name,Values=Deep Learning AMI (Ubuntu*" --query 'Images[:1]'
image=$(field "[0]['ImageId']")

say "Security groups"
try aws ec2 create-security-group --description "for the endpoint" \
    --group-name ei-endpoint --vpc-id "$vpc"
group=$(field "['GroupId']")
try aws ec2 authorize-security-group-ingress --group-id "$group" \
    --protocol tcp --port 443 --cidr 0.0.0.0/0
try aws ec2 authorize-security-group-ingress --group-id "$group" \
    --protocol tcp --port 22 --cidr 0.0.0.0/0
# The first guide writes --protocol https, and --group-name beside --group-id, which the CLI itself
# refuses. Meant is this; that everything may go out is a new group's default.
try aws ec2 authorize-security-group-egress --group-id "$group" \
    --protocol tcp --port 443 --cidr 0.0.0.0/0
try aws ec2 create-security-group --description "for the instances" --group-name ei-instances
instances=$(field "['GroupId']")
try aws ec2 authorize-security-group-ingress --group-id "$instances" \
    --protocol tcp --port 443 --cidr 0.0.0.0/0

say "The endpoint"
try aws ec2 create-vpc-endpoint --vpc-id "$vpc" --vpc-endpoint-type Interface \
    --service-name com.amazonaws.us-west-2.elastic-inference.runtime \
    --subnet-id "$subnet" --security-group-id "$group"

say "The role"
cat >ec2-role-trust-policy.json <<'JSON'
{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
  ]
}
JSON
cat >ei-policy.json <<'JSON'
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "elastic-inference:Connect",
        "iam:List*",
        "iam:Get*",
        "ec2:Describe*",
        "ec2:Get*"
      ],
      "Resource": "*"
    }
  ]
}
JSON
try aws iam create-role --role-name ei-role \
    --assume-role-policy-document file://ec2-role-trust-policy.json
try aws iam create-policy --policy-name ei-policy --policy-document file://ei-policy.json
policy=$(field "['Policy']['Arn']")
try aws iam attach-role-policy --role-name ei-role --policy-arn "$policy"
try aws iam create-instance-profile --instance-profile-name ei-profile
try aws iam add-role-to-instance-profile --instance-profile-name ei-profile --role-name ei-role

say "The instance"
umask 077
aws ec2 create-key-pair --key-name my-key-pair --query KeyMaterial --output text >my-key-pair.pem
try aws ec2 run-instances --image-id "$image" --instance-type m5.large --subnet-id "$subnet" \
    --elastic-inference-accelerator Type=eia1.large --key-name my-key-pair \
    --security-group-ids "$group" --iam-instance-profile Name="ei-profile"
instance=$(field "['Instances'][0]['InstanceId']")
try aws ec2 wait instance-running --instance-ids "$instance"
try aws ec2 describe-instance-status --instance-ids "$instance"
try aws elastic-inference describe-accelerators --filters "name=instance-id,values=$instance"
try EISetupValidator --instance-ids "$instance"

say "Metrics"
try aws cloudwatch list-metrics --namespace " AWS/ElasticInference "

say "An inference"
printf '$ ei exec %s -- python - <infer.py\n' "$instance"
ei exec "$instance" -- python - <"$here/infer.py"
ei describe accelerators -o json >accelerators.json
python - <<'PYTHON'
import json

(one,) = json.load(open("accelerators.json"))["accelerators"]
done = one["usage"]["requests"]
print(f"{one['acceleratorId']} ({one['acceleratorType']}) did {done}")
assert done == 1, one
PYTHON
try aws ec2 terminate-instances --instance-ids "$instance"
try aws ec2 wait instance-terminated --instance-ids "$instance"
