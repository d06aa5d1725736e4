"""Side effects by an outbox: intent in the transaction, an idempotent worker after it (design, rule 5)."""
