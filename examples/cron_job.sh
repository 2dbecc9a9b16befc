#!/bin/sh
# A job that must not run twice at the same time: while it is running, further runs exit at once, silently.
# If another program has the address, they print an error, and cron sends a mail. In a crontab:
#
#     */5 * * * * /path/to/cron_job.sh org.example.backup rsync -a notes/ backup/
#
# Each job needs its own name. With `--wait 60`, a run waits up to a minute for the previous one.

# Finds the package in a clone; has no effect once it is installed.
PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$(dirname "$0")/../src"
export PYTHONPATH

name=$1
shift
exec "${PYTHON:-python3}" -m Socket_Singleton run --name "$name" -- "$@"
