"""Rights that ended: begun in their transaction, confirmed step by step, shown."""
