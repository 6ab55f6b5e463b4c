"""Lies here so that test modules can import the helpers beside it, for example `chat_server`."""

import os
import signal

os.environ["WANDB_MODE"] = "disabled"  # no run of a test is anybody's experiment; tests of tracking undo this

# A shell's background job inherits Ctrl-C as ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
