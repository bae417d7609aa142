"""A client's bytes: sockets, frames, messages, acknowledgements."""
