"""The listener: the server our own tool runs, which hosts and proxies connect to."""
