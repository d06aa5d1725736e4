"""Making a Keycloak fit for Broch: a realm that asks for a second factor, groups that give roles, our client."""
