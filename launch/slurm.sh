#!/bin/bash
# One process per node of a Slurm job, all in one work folder. Arguments are those of launch.main:
#
#   sbatch --nodes=4 --gpus-per-node=1 --time=12:00:00 launch/slurm.sh --config=... --workdir=...
#
# Before its time is up the job saves checkpoints, ends and is queued again, until all is done.

#SBATCH --job-name=deepinternal
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@90

stopping=
# Slurm tells this shell; the processes of the step must hear of it, too.
trap 'stopping=1; scancel --signal=TERM "$SLURM_JOB_ID"' TERM

# A process that has ended, well or not, concerns no other.
srun --kill-on-bad-exit=0 --wait=0 "${PYTHON:-.venv/bin/python}" -m launch.main --distributed "$@" &
step=$!
wait "$step"
status=$?
# A signal ends `wait`, not the step.
while kill -0 "$step" 2>/dev/null; do
    wait "$step"
    status=$?
done
if [ -n "$stopping" ] && [ "$status" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
