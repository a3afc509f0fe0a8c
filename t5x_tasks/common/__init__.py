"""Shared by all packages: errors, loading of configurations and YAML, functions by name, values, output."""
