"""What comes before TLS: ways through proxies, from scripted bytes and through real proxies."""
