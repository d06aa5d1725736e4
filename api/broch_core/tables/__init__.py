"""Tables of the domain that control plane and airlock share. Plain rows: edges validate, the database constrains."""
