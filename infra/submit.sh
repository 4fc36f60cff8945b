#!/usr/bin/env bash
# Submits a night to a running Ray cluster, by a name that carries its date: Ray refuses the second.
#   RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265 infra/submit.sh DATE VIDEOS LABELS [FLAGS...]
# labels VIDEOS/DATE into LABELS/DATE. RAY_AUTH_MODE=token, with the cluster's token in
# ~/.ray/auth_token or RAY_AUTH_TOKEN. Follows the run; exit code 0: every video has its row.
# A night that failed is taken up again, from where it was, with ATTEMPT=2 (and so on) set.
set -euo pipefail
if [[ $# -lt 3 || ! $1 =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]]; then
  echo "usage: infra/submit.sh DATE VIDEOS LABELS [FLAGS...], with DATE as in 2026-11-26" >&2
  exit 2
fi
date=$1 videos=${2%/} labels=${3%/}
shift 3
cd "$(dirname "$0")/.."
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
exec ray job submit \
  --submission-id "label-k400-$date${ATTEMPT:+-$ATTEMPT}" --working-dir . \
  -- python jobs/label_k400.py "$videos/$date" "$labels/$date" "$@"
