"""The agent of a registered host: what makes another machine an instance of a pool."""
