"""The domain of Broch: ids, errors, actors, actions, rules, life cycles, audit, store, blobs, and the web shell."""
