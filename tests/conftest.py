"""Lies here so that test modules can import the helpers beside it, for example `chat_server`."""
