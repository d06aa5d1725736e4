"""The airlock door: what a process inside a zone may ask of Broch, and nothing else."""
