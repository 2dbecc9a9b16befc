#!/bin/sh
# A job that must not overtake itself: while one run lasts, further ones end at once, and quietly.
# If it is another program that has the port, they say so, and cron sends a mail.
# In a crontab, say:
#
#     */5 * * * * EXAMPLE_PORT=14184 /path/to/cron_job.sh rsync -a notes/ backup/
#
# Each job needs a port of its own: with the same one, the second job ends at once, and quietly. With
# `--wait 60` a run waits a minute for the last one.

# Finds the package in a clone; of no effect once it is installed.
PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$(dirname "$0")/../src"
export PYTHONPATH

exec "${PYTHON:-python3}" -m Socket_Singleton run \
    --port "${EXAMPLE_PORT:-14184}" -- "$@"
