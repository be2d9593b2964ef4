#!/bin/sh
# What the workflow `submissions` runs, here or there: check every submission to the board, and build
# its site.
#
#   scripts/check_submissions.sh [SUBMISSIONS [TO]]
#
# KNOWN: a folder of the submissions that were accepted before: their rows may not change, and new
# ones are compared with them. HARNESS: the command, if it isn't `harness`.
set -eu
submissions=${1:-results/submissions}
to=${2:-public}
harness=${HARNESS:-harness}
if [ -n "${KNOWN:-}" ]; then
    $harness submit --check "$submissions" --known "$KNOWN"
else
    $harness submit --check "$submissions"
fi
$harness site "$submissions" --to "$to"
