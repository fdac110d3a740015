"""Instances of this machine: places to run commands, each with its own metadata service."""
