"""Lightning callbacks as a user would write them, chosen by `+callback.NAME._target_=own_callbacks.NAME`."""

from typing import Any

from pytorch_lightning import Callback


class StepLimit(Callback):
    """Ends the training after so many updates."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.steps
