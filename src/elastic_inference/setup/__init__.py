"""The original's tools: what sets up an account for accelerators, and what checks an instance."""
