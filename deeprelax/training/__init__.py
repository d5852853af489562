"""The loop and what it needs: the objective, evaluation, records, checkpoints."""
