"""Policies as data: one TOML file each, versioned, with citations (docs/policy.md)."""
