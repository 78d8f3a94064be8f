#!/usr/bin/env bash
# The one thing that is done by hand, once: buckets, roles and the trust in GitHub. Afterwards a commit to main is the deployment.
# Running it again changes nothing that is already there.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: infra/bootstrap.sh --project NAME --repository OWNER/NAME [options]

  --project NAME            prefix of buckets and roles, value of the cluster tag
  --repository OWNER/NAME   GitHub repository that deploys
  --region REGION           default: AWS_REGION, else the CLI's configured region
  --vpc ID                  default: the region's default VPC
  --upload FILE             what workers boot, for the models bucket under bin/ and under its SHA-256 there; may be given several times
  --environment NAME        GitHub environment of the apply (default: production)
  --yes                     do not ask before applying

Needs aws (signed in), gh (signed in) or GITHUB_OWNER_ID and GITHUB_REPOSITORY_ID, and terraform 1.10 or newer.
TEXT
}

die() {
  echo "bootstrap: $*" >&2
  exit 1
}

project="" repository="" region="${AWS_REGION:-}" vpc="" uploads=() environment="production" approve=()
while [ $# -gt 0 ]; do
  case "$1" in
    --project | --repository | --region | --vpc | --upload | --environment)
      [ $# -ge 2 ] || die "$1 needs a value"
      ;;
  esac
  case "$1" in
    --project) project="$2"; shift 2 ;;
    --repository) repository="$2"; shift 2 ;;
    --region) region="$2"; shift 2 ;;
    --vpc) vpc="$2"; shift 2 ;;
    --upload) uploads+=("$2"); shift 2 ;;
    --environment) environment="$2"; shift 2 ;;
    --yes) approve=(-auto-approve); shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown argument $1" ;;
  esac
done

[ -n "$project" ] || { usage >&2; die "--project is missing"; }
[[ "$repository" == */* ]] || die "--repository is OWNER/NAME, not '$repository'"
# Relative to the folder where it was called, before this script changes folders.
for at in "${!uploads[@]}"; do
  [ -f "${uploads[at]}" ] || die "--upload: there is no file ${uploads[at]}"
  uploads[at]="$(cd "$(dirname "${uploads[at]}")" && pwd)/$(basename "${uploads[at]}")"
done
for tool in aws terraform; do
  command -v "$tool" >/dev/null 2>&1 || die "$tool is not on this machine"
done
region="${region:-$(aws configure get region || true)}"
[ -n "$region" ] || die "no region: pass --region or set AWS_REGION"

account="$(aws sts get-caller-identity --query Account --output text)" || die "aws is not signed in"
if [ -z "$vpc" ]; then
  vpc="$(aws ec2 describe-vpcs --region "$region" --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId' --output text)"
  [ "$vpc" != None ] || die "region $region has no default VPC: pass --vpc"
fi

owner_id="${GITHUB_OWNER_ID:-}" repository_id="${GITHUB_REPOSITORY_ID:-}"
if [ -z "$owner_id" ] || [ -z "$repository_id" ]; then
  command -v gh >/dev/null 2>&1 || die "gh is not on this machine: set GITHUB_OWNER_ID and GITHUB_REPOSITORY_ID"
  read -r owner_id repository_id < <(gh api "repos/$repository" --jq '"\(.owner.id) \(.id)"') ||
    die "gh cannot read $repository"
fi

cd "$(dirname "${BASH_SOURCE[0]}")"
# One file whatever the project: Terraform would load those of two projects, and the last would win.
rm -f ./*.auto.tfvars.json
cat >bootstrap.auto.tfvars.json <<JSON
{
  "project": "$project",
  "region": "$region",
  "account_id": "$account",
  "vpc_id": "$vpc",
  "github": {
    "owner": "${repository%%/*}",
    "owner_id": $owner_id,
    "repository": "${repository#*/}",
    "repository_id": $repository_id,
    "environment": "$environment"
  }
}
JSON

bucket="$project-terraform-state"
backend=(-backend-config="bucket=$bucket" -backend-config="key=infra/terraform.tfstate" -backend-config="region=$region")

# The bucket that keeps the state is part of the state. Until it exists the state lives beside this file.
override="bootstrap_override.tf"
trap 'rm -f "$override"' EXIT
# A state file that is still there is from a run that was interrupted before it moved the state: continue that run.
if [ ! -s terraform.tfstate ] && aws s3api head-bucket --bucket "$bucket" --expected-bucket-owner "$account" >/dev/null 2>&1; then
  terraform init -input=false -reconfigure "${backend[@]}"
  terraform apply -input=false ${approve[@]+"${approve[@]}"}
else
  printf 'terraform {\n  backend "local" {}\n}\n' >"$override"
  terraform init -input=false -reconfigure
  terraform apply -input=false ${approve[@]+"${approve[@]}"}
  rm -f "$override"
  terraform init -input=false -migrate-state -force-copy "${backend[@]}"
  rm -f terraform.tfstate terraform.tfstate.backup
fi

# What agents prove themselves to each other with. Made once: another one would part the nodes that run from those that come.
key="/$project/agent-key"
if ! aws ssm get-parameter --region "$region" --name "$key" >/dev/null 2>&1; then
  # By stdin: arguments can be seen by everybody on this machine.
  printf '{"Name": "%s", "Type": "SecureString", "Value": "%s"}' "$key" "$(head -c 32 /dev/urandom | base64)" |
    aws ssm put-parameter --region "$region" --cli-input-json file:///dev/stdin >/dev/null
  echo "made the key of the cluster's agents, $key"
fi

# Pools name programs by checksum, so that a node that boots late gets the version of its pool, whatever was uploaded since.
for file in ${uploads[@]+"${uploads[@]}"}; do
  name="$(basename "$file")" sum="$( (sha256sum "$file" 2>/dev/null || shasum -a 256 "$file") | cut -d " " -f 1)"
  for object in "bin/$sum/$name" "bin/$name"; do
    aws s3 cp "$file" "s3://$project-models/$object" --region "$region" --only-show-errors
  done
  echo "uploaded to s3://$project-models/bin/: $sum  $name"
done

cat <<TEXT

Done. Commit infra/bootstrap.auto.tfvars.json (git add -f: it holds no secret), so that the plans on GitHub know the project. Tell GitHub (Settings, Secrets and variables, Actions, Variables):
  AWS_REGION          $region
  AWS_ACCOUNT_ID      $account
  AWS_PLAN_ROLE_ARN   $(terraform output -raw plan_role_arn)
  TERRAFORM_STATE_BUCKET  $bucket
and in the environment '$environment' (add reviewers and allow only main):
  AWS_APPLY_ROLE_ARN  $(terraform output -raw apply_role_arn)
TEXT
