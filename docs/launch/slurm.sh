#!/usr/bin/env bash
# A Slurm array: each task runs one line of a list of experiments in a clone of its own, and pushes the result back.
# A line is a name and what `dvc exp run` takes, without quotes, such as: full-1 -S method=full -S seed=1
#
# Set before, in the shell that submits:
#   GIT=git@host:me/sizewise.git            the commit on its default branch is what the experiments start from
#   CLONES=/shared/clones                   where the tasks work; a task that was killed goes on there
#   SIZEWISE_DOWNLOADS=/shared/downloads    archives of data sets, kept once for all tasks and at the same path for everybody
#   MLFLOW_TRACKING_URI=http://host:5000    without it, MLflow's curves go with the clone; every number is kept by DVC
# A default DVC remote must be in .dvc/config of that commit, and its credentials where the tasks run. Then:
#   source .venv/bin/activate
#   GIT=... CLONES=... sbatch --array="1-$(wc -l < experiments.txt)" docs/launch/slurm.sh "$PWD/experiments.txt"
#   dvc exp pull origin full-1 && python -m stages.track.table      # in your own clone, when it is done
#SBATCH --job-name=sizewise
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=sizewise-%A-%a.log
set -euo pipefail

read -r -a words <<< "$(sed -n "${SLURM_ARRAY_TASK_ID:?start this with sbatch --array}p" "${1:?name the list of experiments}")"
name=${words[0]:?line $SLURM_ARRAY_TASK_ID of the list is empty}
clone=${CLONES:?set CLONES to a folder}/$name
export SIZEWISE_JOBS=${SLURM_CPUS_PER_TASK:-1}

[[ -d $clone/.git ]] || git clone --quiet "${GIT:?set GIT to the address of the repository}" "$clone"
cd "$clone"
finished=$(dvc exp list --name-only)
grep -Fqx "$name" <<< "$finished" || dvc exp run --pull --allow-missing --name "$name" "${words[@]:1}"
dvc push --run-cache                             # first what the experiment refers to, then the experiment
dvc exp push --no-cache origin "$name"
rm -rf "$clone"
