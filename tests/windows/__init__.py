"""The registry as Wine writes it, a program on Wine's WinHTTP, and the collector's script."""
