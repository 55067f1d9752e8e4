"""The outbound side, judged: what came to a listener of ours, and what proxies made of it."""
