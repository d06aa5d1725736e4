"""The viewer: files under review as inert pages, on an origin of their own, opened by a ticket."""
