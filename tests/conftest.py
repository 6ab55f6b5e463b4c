"""Lies here so that test modules can import the helpers beside it, for example `chat_server`."""

import signal

# A shell's background job inherits Ctrl-C as ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
