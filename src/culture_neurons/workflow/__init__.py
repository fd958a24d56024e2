"""What the workflow needs of the config: checks, settings, costs, manifest, and the queue of a cluster."""
