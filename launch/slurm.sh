#!/bin/bash
# Starts one process on each node of a Slurm job; all share one work folder. Takes the flags of launch.main:
#
#   sbatch --nodes=4 --gpus-per-node=1 --time=12:00:00 launch/slurm.sh --config=... --workdir=...
#
# Ninety seconds before its time limit, the job saves checkpoints and ends. It is requeued until all images
# are done. PYTHON names the interpreter.

#SBATCH --job-name=deepinternal
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@90

stopping=
# Slurm sends the signal to this shell only; pass it on to the processes of the step.
trap 'stopping=1; scancel --signal=TERM "$SLURM_JOB_ID"' TERM

# The other processes continue when one of them ends or fails.
srun --kill-on-bad-exit=0 --wait=0 "${PYTHON:-.venv/bin/python}" -m launch.main --distributed "$@" &
step=$!
wait "$step"
status=$?
# A signal interrupts `wait`, while the step still runs.
while kill -0 "$step" 2>/dev/null; do
    wait "$step"
    status=$?
done
if [ -n "$stopping" ] && [ "$status" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
