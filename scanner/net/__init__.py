"""The only sockets of the program."""
