"""Review: two independent reviewers decide on every file, blind to each other until both have."""
