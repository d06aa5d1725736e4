"""The audit log: records in the transaction of the change, numbered and hashed into an RFC 6962 tree afterwards."""
