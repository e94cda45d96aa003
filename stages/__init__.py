"""The pipeline: each room is one DVC stage, `python -m stages.ROOM`; what two rooms share is in `stages.core`."""

from stages.core.lifetime import guard_start

guard_start()
